"""The network gives what the published one gives, which TensorFlow ran once on the same samples.

`published.npz` was made so: in an environment of its own with tensorflow-cpu 2.21 and tf_keras 2.21, `models.py` of the
wheel built the graph MSD_musicnn (with the functions of `tf_keras.src.legacy_tf_layers` as `tf.compat.v1.layers`, which
Keras 3 lacks) and a `tf.compat.v1.train.Saver` restored its checkpoint. Its input was `log10(10000 m + 1)` of
`m = librosa.feature.melspectrogram(y=samples, sr=16000, hop_length=256, n_fft=512, n_mels=96).T` of librosa 0.11 in
float32, in windows of 187 frames side by side. The `extractor.py` of the wheel rounds m to half precision, in which
10000 m is infinite for loud sounds; that was left out.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published_wheels import require_wheel

from jointembed.audio import load
from jointembed.pretrained.musicnn.adopt import convert
from jointembed.pretrained.musicnn.network import PENULTIMATE
from jointembed.pretrained.musicnn.tensor_bundle import read_tensors
from jointembed.pretrained.wheels import MUSICNN

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def wheel():
    return require_wheel(MUSICNN)


@pytest.fixture(scope="module")
def space(wheel):
    return convert(wheel)


def synthetic_sound():
    time = np.arange(6 * 16000) / 16000
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(2 * np.pi * 2 * time)) / 2
    sweep = 0.2 * np.sin(2 * np.pi * time * (300 + 200 * time))
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(time))
    return (tone + sweep + noise).astype(np.float32)


def check(space, wheel, name, samples):
    published = np.load(Path(__file__).parent / "data" / "published.npz")
    logits, penultimate = published[f"{name}_logits"], published[f"{name}_penultimate"]
    encoder = space.encoder("audio")
    windows = torch.from_numpy(np.stack(encoder.reader.windows(samples)[: len(logits)]))
    with torch.inference_mode():
        features = encoder.network(windows / np.log(10) + 4)[:, :PENULTIMATE]
        ours = features @ encoder.tag_weights.T + encoder.tag_biases
    with zipfile.ZipFile(wheel) as archive:
        folder = "musicnn/MSD_musicnn/"
        parts = [archive.read(folder + part) for part in (".index", ".data-00000-of-00001")]
    tensors = read_tensors(str(wheel), *parts)
    scale, shift = (tensors[f"batch_normalization_10/{part}"] for part in ("gamma", "beta"))
    assert np.abs(ours.numpy() - logits).max() <= TOLERANCE
    assert np.abs(features.numpy() * scale + shift - penultimate).max() <= TOLERANCE
    assert logits.std() > 1, "the reference tells tags apart"
    return logits


@pytest.mark.slow
def test_synthetic_sound_gives_the_published_vectors(space, wheel):
    check(space, wheel, "synthetic", synthetic_sound())


@pytest.mark.slow
@pytest.mark.real
def test_track_gives_the_published_vectors_and_its_vector_their_mean(space, wheel, data):
    path = data / "games" / "audio" / "blupi-music000.ogg"
    logits = check(space, wheel, "track", load(path, 16000))
    z = torch.from_numpy(space.embed("audio", [str(path)]))
    assert np.abs(space.encoder("audio").tag_logits(z)[0].numpy() - logits.mean(0)).max() <= TOLERANCE
