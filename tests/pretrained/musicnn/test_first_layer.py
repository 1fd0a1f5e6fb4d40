"""The fast forms of musicnn's first layer, against its convolutions."""

import pytest
import torch
from torch.nn import functional as F

from jointembed.pretrained.musicnn.first_layer import TemporalFilters, TimbralFilters
from jointembed.pretrained.musicnn.network import BANDS, FRAMES
from jointembed.space.int8 import RangeRecorder


def random_filters(kind, *sizes):
    torch.manual_seed(0)
    filters = kind(*sizes)
    with torch.no_grad():
        filters.signs[::2] = -1.0
        filters.norm.weight[::2] = -0.5
        filters.norm.bias.normal_()
    return filters.requires_grad_(False)


def reference(filters, x):
    """The convolution of a window as an image, ReLU, the normalisation, then the maximum, in float64."""
    weight = (filters.convolution.weight.permute(0, 3, 2, 1) * filters.signs[:, None, None, None]).double()
    x = F.pad(x.double()[:, None], (0, 0, (filters.frames - 1) // 2, filters.frames // 2))
    y = F.relu(F.conv2d(x, weight, (filters.convolution.bias * filters.signs).double()))
    return (y * filters.norm.weight.double()[:, None, None] + filters.norm.bias.double()[:, None, None]).amax(3)


@pytest.mark.parametrize(
    "filters",
    [
        random_filters(TimbralFilters, 10, 7, 38),
        random_filters(TimbralFilters, 10, 7, 67),
        random_filters(TimbralFilters, 3, 4, BANDS),
        random_filters(TimbralFilters, 3, 4, BANDS - 1),
        random_filters(TimbralFilters, 3, 1, 1),
        random_filters(TemporalFilters, 5, 128),
        random_filters(TemporalFilters, 5, 31),
    ],
)
def test_all_forms_equal_the_publication(filters):
    x = torch.randn(3, FRAMES, BANDS)
    expected = reference(filters, x)
    convolved = filters(x)
    with torch.inference_mode():
        fast = filters(x)
        alone = torch.cat([filters(window[None]) for window in x])
    assert not torch.equal(fast, convolved) or isinstance(filters, TemporalFilters)  # the two forms are not the same
    assert torch.allclose(convolved.double(), expected, atol=1e-5)
    assert torch.allclose(fast.double(), expected, atol=1e-5)
    assert torch.equal(alone, fast)


def test_gradients_and_low_precision_take_the_convolution():
    filters = random_filters(TimbralFilters, 10, 7, 38)
    x = torch.randn(2, FRAMES, BANDS)
    filters.requires_grad_()
    filters(x).square().sum().backward()
    assert filters.convolution.weight.grad.abs().sum() > 0
    with torch.inference_mode():
        exact = filters(x)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = filters(x)
        low = filters.bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16
    for y in (rounded, low.float()):
        assert 1e-4 < (y - exact).abs().max() < 0.1


def test_ranges_of_the_first_layer_are_recorded_for_8_bit_integers():
    filters = random_filters(TimbralFilters, 10, 7, 38)
    recorder, x = RangeRecorder(), torch.randn(2, FRAMES, BANDS)
    with torch.inference_mode(), recorder.record(filters):
        filters(x)
    assert set(recorder.ranges) == {"convolution"}
    assert recorder.ranges["convolution"] == pytest.approx((float(x.min()), float(x.max())), rel=1e-6)
