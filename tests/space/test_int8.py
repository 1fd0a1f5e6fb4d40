"""Encoders in 8-bit integers."""

import numpy as np
import pytest
import torch
from torch import nn

from jointembed import ConvNet, Encoder, LogMel, Numbers, Space
from jointembed.index.index import Index
from jointembed.indexing.index_encoder import IndexEncoder
from jointembed.space.int8 import RangeRecorder, quantize
from jointembed.space.precision import fast_precisions


class Layers(Encoder):
    """One layer of each kind, each in a shape that is easy to get wrong."""

    def build(self, dim):
        self.conv1d = nn.Conv1d(2, 6, 5, stride=2, padding=1, dilation=2, groups=2)
        self.conv2d = nn.Conv2d(1, 4, (3, 5), stride=(2, 1), padding=(0, 2), bias=False)
        self.linear = nn.Linear(60, 8)

    def compute(self, x):
        """(P, 60) -> what each layer gives."""
        return [
            self.conv1d(x.view(-1, 2, 30)),
            self.conv2d(x.view(-1, 1, 6, 10) - 0.5),
            self.linear(x),
        ]


@pytest.fixture(scope="module")
def sounds():
    rng = np.random.default_rng(0)
    return [(0.3 * np.sin(np.arange(3 * 8000) * pitch) + 0.05 * rng.normal(size=24000)).astype(np.float32)
            for pitch in (0.05, 0.2, 0.5)]  # fmt: skip


@pytest.fixture(scope="module")
def space(sounds):
    torch.manual_seed(0)
    reader = LogMel(sample_rate=8000, n_mels=32, n_fft=256, hop_length=80, seconds=1.0)
    reader.fit(sounds)
    space = Space(16, {"audio": ConvNet(reader, [32, 64], 32)})
    space.build()
    return space.eval()


@pytest.mark.parametrize("limit", ["default", "avx2"])
def test_every_kind_of_layer_is_computed_to_a_hundredth(monkeypatch, limit):
    """An index made where the processor multiplies 8-bit integers is searched where it does not, too."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    torch.manual_seed(0)
    encoder = Layers(Numbers(["a"]))
    encoder.build(8)
    x = torch.randn(5, 60) + 1
    recorder = RangeRecorder()
    with torch.inference_mode(), recorder.record(encoder):
        exact = encoder.compute(x)
    assert set(recorder.ranges) == {"conv1d", "conv2d", "linear"}
    with torch.inference_mode():
        assert quantize(encoder, recorder.ranges).conv1d.stride == (2,)  # some networks read it
        for rounded, expected in zip(quantize(encoder, recorder.ranges).compute(x), exact, strict=True):
            assert rounded.shape == expected.shape and not torch.equal(rounded, expected)
            assert torch.linalg.norm(rounded - expected) < 0.02 * torch.linalg.norm(expected)


def test_int8_vectors_are_nearly_exact_and_the_same_alone_and_in_a_batch(space, sounds):
    exact, ranges = space.calibrate_int8("audio", sounds)
    vectors = space.embed("audio", sounds, precision=ranges)
    assert not np.array_equal(vectors, exact) and (vectors * exact).sum(1).min() > 0.999
    alone = [space.embed("audio", [sound], precision=ranges) for sound in sounds]
    assert np.array_equal(np.concatenate(alone), vectors)
    assert np.array_equal(space.embed("audio", sounds), exact)  # the space itself stays in float32


def test_layers_without_much_work_stay_in_float32(space, sounds):
    assert set(space.calibrate_int8("audio", sounds)[1]) == {f"stages.{n}.{name}" for n in (0, 1)
                                                          for name in ("halve", "refine")}  # fmt: skip


def test_an_index_remembers_its_ranges_for_later_queries(space, sounds, tmp_path):
    space.save(tmp_path / "model.ckpt")
    encoder = IndexEncoder(tmp_path / "model.ckpt")
    encoder.column, encoder.precision = "audio", space.calibrate_int8("audio", sounds)[1]
    with encoder.create(tmp_path / "songs.index") as index:
        vectors = encoder.embed("audio", sounds)
        index.add([{"id": str(n)} for n in range(3)], vectors, "audio")
    with Index.open(tmp_path / "songs.index") as index:
        later = IndexEncoder(tmp_path / "model.ckpt")
        later.attach(index)
        assert np.array_equal(later.embed("audio", sounds[1:2])[0], vectors[1])


def test_a_limit_of_onednn_is_a_limit_of_the_precisions(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert fast_precisions(torch.device("cpu")) == []
