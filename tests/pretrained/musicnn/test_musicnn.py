"""The space of musicnn, from a wheel with random weights of the published shapes."""

import copy
import hashlib
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
import transformers
from tensor_bundle import random_musicnn, write_checkpoint, write_wheel
from tiny_models import shaken, words
from torch.nn import functional as F

from jointembed import BagOfWords, EmbeddingBag, Index, Space
from jointembed.__main__ import main
from jointembed.errors import DamagedError, MismatchError
from jointembed.pretrained import wheels
from jointembed.pretrained.musicnn.adopt import TAGS, convert
from jointembed.pretrained.musicnn.encoder import make_reader
from jointembed.pretrained.musicnn.network import NORM
from jointembed.pretrained.musicnn.tensor_bundle import read_tensors
from jointembed.pretrained.musicnn.words import read_names


@pytest.fixture(scope="module")
def tensors():
    return random_musicnn()


@pytest.fixture(scope="module")
def space(tensors, tmp_path_factory):
    return convert(write_wheel(tmp_path_factory.mktemp("wheel") / "musicnn.whl", tensors))


@pytest.fixture(scope="module")
def sounds():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, seconds * 16000).astype(np.float32) for seconds in (3, 7)]


def reference_logits(tensors, frames):
    """The logits (50,) of a window (187, 96), layer by layer as the publication describes them, in float64."""
    double = {name: torch.from_numpy(array.astype(np.float64)) for name, array in tensors.items()}

    def norm(x, number, axis):
        name = f"{NORM}_{number}" if number else NORM
        beta, gamma, mean, variance = (
            double[f"{name}/{part}"] for part in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        shape = [-1 if place == axis else 1 for place in range(x.ndim)]
        return (x - mean.view(shape)) / (variance.view(shape) + 1e-3).sqrt() * gamma.view(shape) + beta.view(shape)

    def convolve(x, number):
        name = f"conv2d_{number}" if number else "conv2d"
        return F.relu(F.conv2d(x, double[f"{name}/kernel"].permute(3, 2, 0, 1), double[f"{name}/bias"]))

    x = norm(torch.from_numpy(frames.astype(np.float64))[None, None], 0, 1)
    parts = []
    for number, size in enumerate((7, 7, 128, 64, 32)):
        y = convolve(F.pad(x, (0, 0, (size - 1) // 2, size // 2)), number)
        parts.append(norm(y, number + 1, 1).amax(3))
    layers = [torch.cat(parts, 1)]
    h = layers[0]
    for number in range(3):  # the features are the bands of an image (1, 1, T, F)
        image = F.pad(h.transpose(1, 2)[:, None], (0, 0, 3, 3))
        y = norm(convolve(image, 5 + number)[..., 0], 6 + number, 1)
        h = y + h if number else y
        layers.append(h)
    h = torch.cat(layers, 1)[0]
    pooled = torch.stack([h.amax(1), h.mean(1)], 1).flatten()[None]
    dense = F.relu(norm(pooled, 9, 1) @ double["dense/kernel"] + double["dense/bias"])
    return (norm(dense, 10, 1) @ double["dense_1/kernel"] + double["dense_1/bias"])[0].numpy()


def test_the_cosine_of_a_song_and_a_tag_is_the_logit_of_the_network(space, tensors, sounds):
    space = copy.deepcopy(space)
    space.encoder("audio").length_of_songs = 100.0  # features of random weights are longer than those of musicnn
    reader = make_reader()
    logits = []
    for sound in sounds:
        decades = [window / np.log(10) + 4 for window in reader.windows(sound)]
        logits.append(np.mean([reference_logits(tensors, window) for window in decades], 0))
    scores = space.embed("audio", sounds) @ space.embed("tag", TAGS).T
    factor = (scores / np.array(logits)).mean()
    assert factor > 0 and np.allclose(scores / factor, logits, atol=5e-4)


def test_a_song_has_the_same_bits_alone_and_after_a_reload(space, sounds, tmp_path):
    space.save(tmp_path / "music.ckpt")
    loaded = Space.load(tmp_path / "music.ckpt")
    assert loaded.fingerprint == space.fingerprint
    both = space.embed("audio", sounds)
    assert np.array_equal(loaded.embed("audio", sounds[1:])[0], both[1])


def test_a_flipped_bit_of_a_tensor_is_found(tensors):
    index, data = write_checkpoint(tensors)
    read = read_tensors("x", index, data)
    assert set(read) == {name for name in tensors if "Adam" not in name}
    assert all(np.array_equal(read[name], tensors[name]) for name in read)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    with pytest.raises(DamagedError, match="checksum of"):
        read_tensors("x", index, bytes(damaged))
    for broken in (b"", index[:-1], index[100:], bytes([index[0] ^ 1]) + index[1:]):
        with pytest.raises(DamagedError):
            read_tensors("x", broken, data)
    with pytest.raises(DamagedError, match="bytes"):
        read_tensors("x", index, data[:-4])


def test_another_package_is_refused_in_one_line(tensors, tmp_path):
    (tmp_path / "text.whl").write_text("no archive")
    with pytest.raises(DamagedError, match="not the wheel of musicnn"):
        convert(tmp_path / "text.whl")
    smaller = {**tensors, "dense/kernel": tensors["dense/kernel"][:, :10]}
    with pytest.raises(MismatchError, match="another network"):
        convert(write_wheel(tmp_path / "small.whl", smaller))


def test_tags_are_read_off_a_vector_of_any_length(space, sounds):
    encoder = space.encoder("audio")
    with torch.inference_mode():
        logits = encoder.tag_logits(torch.from_numpy(space.embed("audio", sounds, normalize=False)))
        assert torch.allclose(encoder.tag_logits(torch.from_numpy(space.embed("audio", sounds))), logits, atol=1e-3)
    for row, tags in zip(logits.sigmoid(), space.derive_cells("audio", space.embed("audio", sounds)), strict=True):
        expected = sorted((-float(row[at]), tag) for at, tag in enumerate(TAGS) if row[at] >= 0.1)
        assert tags == {"tags": [tag for _, tag in expected]} and 0 < len(expected) < len(TAGS)


def write_text_wheel(path, folder):
    """A wheel of MiniLM with a tiny random network."""
    settings = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 1}  # fmt: skip
    shaken(transformers.BertModel(transformers.BertConfig(**settings))).save_pretrained(folder)
    words(folder)
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{path.name.split('-')[0]}/model/{file.name}")
    return path


def test_adopted_model_indexes_a_folder_with_its_tags(tensors, sounds, tmp_path, monkeypatch, capsys):
    files = {"MUSICNN": write_wheel(tmp_path / wheels.MUSICNN.file, tensors),
             "MINILM": write_text_wheel(tmp_path / wheels.MINILM.file, tmp_path / "text")}  # fmt: skip
    for name, file in files.items():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        monkeypatch.setattr(wheels, name, replace(getattr(wheels, name), sha256=digest))
    model, music, index = tmp_path / "music.ckpt", tmp_path / "music", tmp_path / "songs.index"
    music.mkdir()
    for number, sound in enumerate([*sounds, sounds[0][::-1]]):
        soundfile.write(music / f"{number}.wav", sound, 16000)
    assert main(["adopt", "music", str(model), "--from", str(tmp_path)]) == 0
    assert f"next: jointembed index {model} FOLDER songs.index" in capsys.readouterr().out
    assert main(["index", str(model), str(music), str(index)]) == 0
    with Index.open(index) as opened:
        tags = opened.row("0.wav")["tags"]
        ids, vectors = opened.vectors()
        derived = Space.load(model).derive_cells("audio", vectors)
        assert [opened.row(id)["tags"] for id in ids] == [cells["tags"] for cells in derived]
        assert opened.count(f"tags has '{tags[0]}'") >= 1 and "jazz" in opened.vocabulary("audio")[0]
    capsys.readouterr()
    assert main(["search", str(index), tags[0], "--column", "tag", "--where", f"tags has '{tags[0]}'", "--json"]) == 0
    assert "0.wav" in capsys.readouterr().out
    assert main(["search", str(index), "a slow sad piano", "-k", "2"]) == 0  # by its column of texts
    assert ".wav" in capsys.readouterr().out


def test_a_text_means_the_tags_whose_names_it_resembles(tensors, sounds, tmp_path):
    torch.manual_seed(0)
    text = EmbeddingBag(BagOfWords(), width=64)
    text.reader.fit([name for names in read_names(TAGS) for name in names])
    text.build(64)
    space = convert(write_wheel(tmp_path / "musicnn.whl", tensors), text)
    scores = space.embed("text", ["jazz", "melancholic"]) @ space.embed("tag", TAGS).T
    assert [TAGS[number] for number in scores.argmax(1)] == ["jazz", "sad"]  # the latter is another name of it
    space.save(tmp_path / "music.ckpt")
    assert np.array_equal(Space.load(tmp_path / "music.ckpt").embed("text", ["jazz"]), space.embed("text", ["jazz"]))
