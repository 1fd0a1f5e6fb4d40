"""Adopted models give the vectors of transformers, in any batch and in any process."""

import json
import pickle
import shutil

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import KINDS_OF_MODEL, SECONDS, TEXTS, fresh, rate, sound, theirs
from torch.nn import functional as F

from jointembed import Index, Space
from jointembed.__main__ import main
from jointembed.errors import UserError
from jointembed.pretrained.huggingface.audio import WINDOWS_IN_BATCH
from jointembed.pretrained.huggingface.audio_features import (
    AstFeatures,
    ClapFeatures,
    Wav2Vec2Features,
    WhisperFeatures,
)
from jointembed.pretrained.huggingface.tokenizer import PretrainedTokenizer


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_vectors_of_sounds_equal_those_of_transformers(home, spaces, name):
    model, extractor, _ = home[1][name]
    space = spaces[name]
    full = SECONDS.get(name, 10.0)
    vectors = []
    for share in (0.1, 0.37, 0.9999, 1.0):
        samples = sound(full, rate(space))[: round(full * share * rate(space))]
        vectors.append(theirs(name, model, extractor, samples))
        assert np.abs(space.embed("audio", [samples])[0] - vectors[-1]).max() <= 1e-5, share
    assert np.abs(vectors[0] - vectors[-1]).max() > 1e-3, "the vectors tell sounds apart"
    assert space.dim == len(vectors[0]) and isinstance(space.projections["audio"], torch.nn.Identity)


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_vector_of_a_long_sound_is_the_mean_of_its_windows(home, spaces, name):
    model, extractor, _ = home[1][name]
    space, reader = spaces[name], spaces[name].reader("audio")
    span = reader.window_length
    samples = sound(2.7 * span / rate(space), rate(space), 1)
    windows = [samples[:span], samples[span : 2 * span], samples[2 * span :]]
    with torch.inference_mode():
        h = space.encoder("audio").pieces(reader.encode([samples]))
    expected = [theirs(name, model, extractor, window) for window in windows]
    assert np.abs(F.normalize(h, dim=-1).numpy() - expected).max() <= 1e-5
    mean = F.normalize(h.mean(0), dim=-1).numpy()
    assert np.abs(space.embed("audio", [samples])[0] - mean).max() <= 1e-6
    assert np.array_equal(space.embed("audio", [samples]), space.embed("audio", [samples]))
    assert len(reader.pieces(samples[: int(2.4 * span)])) == 2, "a short rest is left out"
    assert len(reader.windows(samples, 1)) == 1
    assert np.array_equal(reader.windows(samples, 1)[0], reader.pieces(samples)[1])


@pytest.mark.parametrize("name", ["clap", "fused"])
def test_vectors_of_texts_equal_those_of_transformers(home, spaces, name):
    model, _, tokenizer = home[1][name]
    for texts in ([TEXTS[0]], TEXTS):
        inputs = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            out = model.get_text_features(**inputs)
        expected = F.normalize(getattr(out, "pooler_output", out), dim=-1).numpy()
        assert np.abs(spaces[name].embed("caption", texts) - expected).max() <= 1e-5
    long = spaces[name].embed("caption", ["jazz " * 200])
    assert np.isfinite(long).all(), "a text longer than the model reads is cut off"


def test_score_of_a_text_and_a_sound_equals_that_of_clap(home, spaces):
    model, extractor, tokenizer = home[1]["clap"]
    sounds = [sound(1.0, 8000, n) for n in range(3)]
    inputs = extractor(sounds, sampling_rate=8000, return_tensors="pt")
    texts = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        logits = model(**inputs, **texts).logits_per_audio / model.logit_scale_a.exp()
    space = spaces["clap"]
    scores = space.embed("audio", sounds) @ space.embed("caption", TEXTS).T
    assert np.abs(scores - logits.numpy()).max() <= 1e-5


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_vector_does_not_depend_on_its_batch(spaces, name):
    space = spaces[name]
    sounds = [sound(seconds, rate(space), n) for n, seconds in enumerate([0.3, 1.1, 0.02, 2.3, 0.7])]
    together = space.embed("audio", sounds)
    assert np.array_equal(np.concatenate([space.embed("audio", [samples]) for samples in sounds]), together)
    assert np.array_equal(space.embed("audio", sounds[::-1])[::-1], together)
    for pieces in (1, 3, 4):
        assert np.array_equal(space.embed("audio", sounds, batch_size=pieces), together)
    rough = space.embed("audio", sounds, precision="bfloat16")
    assert np.array_equal(
        np.concatenate([space.embed("audio", [samples], precision="bfloat16") for samples in sounds]), rough
    )
    assert np.array_equal(space.embed("audio", sounds[::-1], precision="bfloat16")[::-1], rough)
    if "caption" in space.columns:
        texts = space.embed("caption", TEXTS)
        assert np.array_equal(np.concatenate([space.embed("caption", [text]) for text in TEXTS]), texts)


def test_padding_of_a_batch_is_not_computed(spaces):
    for name in ("ast", "wav2vec2"):
        calls = []
        hook = spaces[name].encoder("audio").network.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        spaces[name].embed("audio", [sound(0.5, rate(spaces[name]))])
        hook.remove()
        assert len(calls) == 1


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_full_windows_are_computed_in_batches_and_bfloat16_returns_float32(spaces, name):
    space, shapes = spaces[name], []
    encoder = space.encoder("audio")
    x = encoder.reader.encode([sound(9 * encoder.reader.window_length / rate(space), rate(space))])
    hook = encoder.network.register_forward_pre_hook(
        lambda _, args, named: shapes.append((args or [named["input_features"]])[0].shape), with_kwargs=True
    )
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        h = encoder.pieces(x)
    hook.remove()
    assert h.shape == (9, encoder.width) and h.dtype == torch.float32
    assert len(shapes) == 3 and set(shapes) == {shapes[0]} and len(shapes[0]) > 1 and shapes[0][0] == WINDOWS_IN_BATCH


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_clap_spectrogram_equals_that_of_transformers(truncation, padding):
    reader = ClapFeatures({"truncation": truncation, "padding": padding})
    tone = 0.5 * np.sin(np.arange(200_000) / 48000 * 2 * np.pi * 440).astype(np.float32)
    for samples in (sound(10, 48000), sound(3.3, 48000), tone, np.zeros(100_000, np.float32), tone[:100]):
        expected = reader.extractor(samples, sampling_rate=48000, return_tensors="np")["input_features"][0]
        spectrogram = reader.prepare_window(samples)
        assert spectrogram.dtype == np.float32 and spectrogram.shape == expected.shape == reader.shape
        assert np.abs(spectrogram - expected).max() <= 1e-4, "decibels"


@pytest.mark.slow
def test_another_process_computes_the_same_bits_without_the_source_or_the_network(home, tmp_path):
    """Neither adopting nor embedding opens a connection, and buffers that are not in the weights are correct."""
    sources = tmp_path / "sources"
    shutil.copytree(home[0], sources)
    script = f"""
        from jointembed.__main__ import main
        for name in {KINDS_OF_MODEL!r}:
            assert main(["adopt", {str(sources)!r} + "/" + name, {str(tmp_path)!r} + "/" + name]) == 0
    """
    process = fresh(script)
    assert process.returncode == 0, process.stderr
    assert "next: jointembed index" in process.stdout and "LOAD REPORT" not in process.stderr
    shutil.rmtree(sources)
    expected = {}
    for name in KINDS_OF_MODEL:
        space = Space.load(tmp_path / name)
        vectors = {"audio": space.embed("audio", [sound(1.3, rate(space))])}
        if "caption" in space.columns:
            vectors["caption"] = space.embed("caption", TEXTS)
        expected[name] = {column: array.tolist() for column, array in vectors.items()} | {"is": space.fingerprint}
        assert space.description.startswith(f"adopted from {name} (")
        again = Space.load(tmp_path / name)
        assert all(np.array_equal(again.embed("audio", [sound(1.3, rate(space))]), vectors["audio"]) for _ in range(2))
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    script = f"""
        import json
        import numpy as np
        from jointembed import Space
        for name, expected in json.load(open({str(tmp_path / "expected.json")!r})).items():
            space = Space.load({str(tmp_path)!r} + "/" + name)
            rate = space.reader("audio").sample_rate
            samples = np.random.default_rng(0).normal(0, 0.1, round(1.3 * rate)).astype(np.float32)
            assert np.array_equal(space.embed("audio", [samples]), np.array(expected["audio"], np.float32)), name
            if "caption" in expected:
                vectors = np.array(expected["caption"], np.float32)
                assert np.array_equal(space.embed("caption", {TEXTS!r}), vectors), name
            assert space.fingerprint == expected["is"], name
        print("the same")
    """
    process = fresh(script, HF_HUB_OFFLINE="1")
    assert process.returncode == 0 and "the same" in process.stdout, process.stderr


def test_adopted_model_searches_songs_by_sound_and_by_text(home, tmp_path, capsys):
    rows = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", sound(1.5, 8000, number % 3), 8000)
        rows.append({"id": f"s{number}", "audio": f"{number}.wav", "title": f"Tune {number}"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    model, index = str(tmp_path / "clap.ckpt"), str(tmp_path / "songs.index")
    assert main(["adopt", str(home[0] / "clap"), model]) == 0
    assert "adopted from clap (ClapModel); audio and caption, 24 dimensions, cosine" in capsys.readouterr().out
    assert main(["index", model, str(tmp_path), index]) == 0
    capsys.readouterr()
    assert main(["similar", index, "s0", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert hits[0]["id"] == "s3" and hits[0]["score"] == pytest.approx(1, abs=1e-5), "the same sound"
    assert main(["similar", index, str(tmp_path / "1.wav"), "-k1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "s1"
    assert main(["search", index, "a slow waltz", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    space = Space.load(model)
    with Index.open(index) as opened:
        ids, vectors = opened.vectors()
    scores = vectors @ space.embed("caption", ["a slow waltz"])[0]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)


def test_cells_of_the_wrong_type_are_refused(spaces):
    for column, cell in (("caption", 3), ("audio", "nowhere.wav"), ("audio", {"array": [1.0]})):
        with pytest.raises(UserError) as error:
            spaces["clap"].embed(column, [cell])
        assert "\n" not in str(error.value)


def test_readers_use_the_defaults_of_transformers(spaces):
    assert ClapFeatures({}).shape == (4, 1001, 64) and AstFeatures({}).shape == (1024, 128)
    assert WhisperFeatures({"feature_size": 128}).shape == (129, 3000) and Wav2Vec2Features({}).shape == (160000,)
    assert isinstance(spaces["clap"].reader("caption"), PretrainedTokenizer)
    for name in KINDS_OF_MODEL:
        reader = spaces[name].reader("audio")
        assert reader.pieces(np.ones(7, np.float32))[0].shape == reader.shape, name
        assert type(reader)(reader.settings).settings == reader.settings, name
        again = pickle.loads(pickle.dumps(reader))  # data workers get a copy
        assert np.array_equal(again.pieces(np.ones(900, np.float32))[0], reader.pieces(np.ones(900, np.float32))[0])
    words = pickle.loads(pickle.dumps(spaces["clap"].reader("caption")))
    assert words.token_ids(TEXTS[1]) == spaces["clap"].reader("caption").token_ids(TEXTS[1])


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_training_sees_the_same_vectors_and_gradients_reach_the_network(spaces, name):
    space = spaces[name]
    cells = {"audio": [sound(0.7, rate(space)), None, sound(1.4, rate(space))], "caption": [TEXTS[0], TEXTS[1], None]}
    batch = {column: space.reader(column).encode(cells[column]) for column in space.columns}
    codes = space(batch)
    for column in space.columns:
        present = [cell for cell in cells[column] if cell is not None]
        z = F.normalize(codes[column].z[codes[column].present]).detach().numpy()
        assert np.abs(z - space.embed(column, present)).max() <= 1e-5
    rough, exact = (space.embed("audio", [cells["audio"][0]], precision=name)[0] for name in ("bfloat16", "float32"))
    assert rough @ exact > 0.95
    codes["audio"].z.square().sum().backward()
    gradients = [value.grad for value in space.encoder("audio").parameters() if value.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    space.zero_grad(set_to_none=True)
