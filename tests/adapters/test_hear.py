"""The audio of a trained model behind the API of the HEAR benchmark."""

import importlib
import sys
import types

import numpy as np
import pytest
import torch

from jointembed import BagOfWords, ConvNet, EmbeddingBag, LogMel, Space
from jointembed.adapters import hear
from jointembed.errors import UsageError


@pytest.fixture
def run(tmp_path, one_thread):
    torch.manual_seed(0)
    encoder = ConvNet(LogMel(8000, 0.5, 16, 256, 128), channels=[4], width=8)
    space = Space(6, {"sound": encoder, "words": EmbeddingBag(BagOfWords())})
    space.reader("words").fit(["a b"])
    space.build()
    space.save(tmp_path / "best.ckpt")
    return tmp_path


def noise(count, seconds, rate):
    return torch.rand(count, int(seconds * rate), generator=torch.manual_seed(1)) * 2 - 1


def test_scenes_are_the_vectors_of_whole_sounds(run):
    model = hear.load_model(run)
    assert model.sample_rate == 16000, "the lowest rate of the benchmark that loses nothing"
    sounds = noise(3, 1.3, model.sample_rate)
    scenes = hear.get_scene_embeddings(sounds, model)
    assert scenes.shape == (3, model.scene_embedding_size) and scenes.dtype == torch.float32
    expected = Space.load(run).embed("sound", [{"array": sounds[1].numpy(), "sampling_rate": 16000}])
    np.testing.assert_array_equal(scenes[1:2].numpy(), expected)


def test_timestamps_tell_when_something_sounds(run):
    model = hear.load_model(run)
    sounds = torch.zeros(2, 4 * model.sample_rate)
    sounds[1, 2 * model.sample_rate :] = noise(1, 2, model.sample_rate)[0]
    vectors, times = hear.get_timestamp_embeddings(sounds, model)
    assert vectors.shape == (2, 80, model.timestamp_embedding_size) and times.shape == (2, 80)
    assert torch.equal(times[0], torch.arange(80) * 50.0)
    differs = (vectors[0] - vectors[1]).abs().sum(1) > 1e-4
    # The windows reach half a second beyond each timestamp.
    assert not differs[times[0] < 1450].any() and differs[times[0] > 1550].all()


def test_a_model_without_sound_is_refused(tmp_path):
    space = Space(4, {"words": EmbeddingBag(BagOfWords())})
    space.reader("words").fit(["a b"])
    space.build()
    space.save(tmp_path / "words.ckpt")
    with pytest.raises(UsageError, match="none of its columns reads sounds"):
        hear.load_model(tmp_path / "words.ckpt")
    with pytest.raises(UsageError, match="no model is given"):
        hear.load_model()


@pytest.mark.slow
def test_the_validator_of_the_benchmark_passes(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(Module=type("Module", (), {})))
    pytest.importorskip("hearvalidator", reason="hearvalidator is not installed")
    validate = importlib.import_module("hearvalidator.validate")
    validate.ValidateModel("jointembed.adapters.hear", str(run), "cpu")()
