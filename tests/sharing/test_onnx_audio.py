"""The feature extractors of transformers as tensors, alone and in ONNX graphs: samples in, the vectors of torch out."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
import torch
import transformers
from tiny_models import shaken, sound, tiny_model, words

from jointembed import Space
from jointembed.__main__ import main
from jointembed.index.index import Index
from jointembed.pretrained.huggingface.adopt import convert_model
from jointembed.pretrained.huggingface.audio_features import (
    AstFeatures,
    ClapFeatures,
    Gemma4Features,
    PeAudioFeatures,
    Wav2Vec2Features,
    WhisperFeatures,
)

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from onnx_sounds import compare  # noqa: E402

from jointembed.sharing import onnx_graphs  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
TOLERANCE = 1e-5
RATE = 1600
GEMMA = {"feature_size": 8, "sampling_rate": RATE, "max_frequency": RATE / 2}
EMPHASIS = {"preemphasis": 0.9, "per_bin_mean": list(range(8)), "per_bin_stddev": [2.0] * 8, "input_scale_factor": 0.5}
WINDOWED = {
    "clap": lambda: (ClapFeatures, tiny_model("clap")[1], {}),
    "clap, repeated": lambda: (ClapFeatures, tiny_model("clap")[1], {"padding": "repeat"}),
    "clap, padded": lambda: (ClapFeatures, tiny_model("clap")[1], {"padding": "pad"}),
    "ast": lambda: (AstFeatures, tiny_model("ast")[1], {}),
    "ast, as it is": lambda: (AstFeatures, tiny_model("ast")[1], {"do_normalize": False}),
    "whisper": lambda: (WhisperFeatures, tiny_model("whisper")[1], {}),
    "gemma4": lambda: (Gemma4Features, transformers.Gemma4AudioFeatureExtractor(**GEMMA), {}),
    "gemma4, emphasised": lambda: (
        Gemma4Features,
        transformers.Gemma4AudioFeatureExtractor(**GEMMA, **EMPHASIS),
        {"per_bin_mean": EMPHASIS["per_bin_mean"], "per_bin_stddev": EMPHASIS["per_bin_stddev"]},
    ),
    "gemma4, emphasised otherwise": lambda: (
        Gemma4Features,
        transformers.Gemma4AudioFeatureExtractor(**GEMMA),
        {"preemphasis": 0.9, "preemphasis_htk_flavor": False, "fft_overdrive": True},
    ),
}
SINGLE = {
    "wav2vec2": lambda: (Wav2Vec2Features, tiny_model("wav2vec2")[1], {}),
    "hubert": lambda: (Wav2Vec2Features, tiny_model("hubert")[1], {}),
    "pe_audio": lambda: (
        PeAudioFeatures,
        transformers.PeAudioFeatureExtractor(sampling_rate=RATE, hop_length=40),
        {},
    ),
}


def make_reader(make):
    kind, extractor, changes = make()
    return kind({name: getattr(extractor, name) for name in kind.setting_names} | changes)


@pytest.mark.parametrize("name", list(WINDOWED))
def test_windows_of_sounds_of_any_length_equal_those_of_the_feature_extractor(name):
    reader = make_reader(WINDOWED[name])
    front_end, full = reader.front_end(), reader.window_length
    for length in (1, 100, full // 3, full - 1, full, full + full // 2 - 1, full + full // 2, 3 * full + 5):
        samples = np.stack([sound(1, length, seed) for seed in (length, length + 1)])
        exact = [np.stack(reader.windows({"array": row, "sampling_rate": reader.sample_rate})) for row in samples]
        pieces = front_end(torch.from_numpy(samples)).numpy()
        assert pieces.shape == (2, *exact[0].shape), length
        assert np.abs(pieces - np.stack(exact)).max() <= TOLERANCE * max(1, np.abs(exact).max()), length
        assert front_end.in_pieces() is front_end


@pytest.mark.parametrize("name", list(SINGLE))
def test_a_window_of_samples_equals_that_of_the_feature_extractor(name):
    reader = make_reader(SINGLE[name])
    front_end = reader.front_end()
    for length in (1, 2, 39, 40, 41, 500, reader.window_length):
        [tensors] = reader.tensor_blocks({"array": sound(1, length, length), "sampling_rate": reader.sample_rate})
        piece = reader.prepare_window(sound(1, length, length))
        exact = piece[np.isfinite(piece)]
        own = front_end(torch.from_numpy(np.concatenate([tensors["samples"]] * 2)))
        assert own.shape == (2, 1, len(exact)), length
        assert np.abs(own.numpy() - exact).max() <= TOLERANCE, length


def test_blocks_of_a_long_sound_have_its_windows():
    reader = make_reader(WINDOWED["clap"])
    front_end = reader.front_end()
    cell = {"array": sound(20.6, reader.sample_rate), "sampling_rate": reader.sample_rate}
    for most in (None, 3, 20):
        blocks = list(reader.tensor_blocks(cell, max_windows=most))
        pieces = [front_end(torch.from_numpy(block["samples"]))[0].numpy() for block in blocks]
        assert np.abs(np.concatenate(pieces) - np.stack(reader.windows(cell, most))).max() <= TOLERANCE
        assert max(map(len, pieces)) <= 8


def save_tiny(kind, folder):
    model, extractor = tiny_model(kind)
    shaken(model).save_pretrained(folder)
    extractor.save_pretrained(folder)
    if kind in ("clap", "fused"):
        words(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clap", "ast", "wav2vec2", "hubert", "wavlm", "whisper"])
def test_graphs_give_the_vectors_of_torch_for_any_batch_and_length(kind, tmp_path):
    assert compare(convert_model(save_tiny(kind, tmp_path / "model"), kind), tmp_path / "onnx") <= TOLERANCE


def test_clap_that_fuses_spectrograms_is_left_out_in_one_line(tmp_path):
    space = convert_model(save_tiny("fused", tmp_path / "model"), "clap")
    space.columns = {"audio": "audio"}
    [result] = onnx_graphs.write_graphs(space, {}, tmp_path / "onnx")
    assert "fusion" in result.refusal and "\n" not in str(result)


@pytest.mark.slow
def test_an_index_of_songs_is_made_and_searched_with_adopted_graphs_without_torch(tmp_path):
    save_tiny("clap", tmp_path / "model")
    assert main(["adopt", str(tmp_path / "model"), str(tmp_path / "m.ckpt")]) == 0
    assert main(["export", str(tmp_path / "m.ckpt"), str(tmp_path / "out"), "--onnx"]) == 0
    (tmp_path / "music").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "music" / f"{number}.wav", sound(1.4 + 4.3 * number, 8000, number), 8000)
    graphs, music, path = (str(tmp_path / name) for name in ("out/onnx", "music", "i"))
    script = f"""
        import sys
        sys.modules.update(dict.fromkeys(["torch", "lightning", "torchaudio", "transformers"]))
        from jointembed.__main__ import main

        assert main(["index", {graphs!r}, {music!r}, {path!r}]) == 0
        assert main(["search", {path!r}, "a slow waltz"]) == 0
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Index.open(path) as index:
        ids, vectors = index.vectors()
        exact = Space.load(tmp_path / "m.ckpt").embed("audio", [str(tmp_path / "music" / id) for id in ids])
        assert len(ids) == 3 and np.abs(vectors - exact).max() <= TOLERANCE
