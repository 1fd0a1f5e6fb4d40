"""The network of musicnn, written anew for torch.

Source: Pons and Serra 2019, "musicnn: Pre-trained convolutional neural networks for music audio tagging".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

# P windows, T frames, F bands, C channels

BANDS, FRAMES = 96, 187
TIMBRAL_BANDS, TEMPORAL_FRAMES = (38, 67), (128, 64, 32)  # the long sides of its first filters
TIMBRAL_CHANNELS, TEMPORAL_CHANNELS, CHANNELS = 204, 51, 64
PENULTIMATE, TAGS = 200, 50
FEATURES = PENULTIMATE + 2 * CHANNELS
TEXTURE_WEIGHT = 2.0  # of the first middle layer beside the penultimate one; 1.5 to 4 make little difference
TIMBRAL_PLACES, TEMPORAL_PLACES = 12, 16  # computed at once: the fastest numbers, with and without matrix units (AMX)
EPSILON = 1e-3  # of its batch normalisations
NORM = "batch_normalization"

Weights = Mapping[str, NDArray[np.float32]]


class Affine(nn.Module):
    """A batch normalisation with the statistics of training: each channel times a weight, plus a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, ...) -> the same shape."""
        shape = (-1, *[1] * (x.ndim - 2))
        return x * self.weight.view(shape) + self.bias.view(shape)

    def load_tensors(self, tensors: Weights, number: int) -> None:
        """Load the batch normalisation of this number."""
        name, (mean, deviation) = _numbered(NORM, number), _statistics(tensors, number)
        weight = tensors[f"{name}/gamma"] / deviation
        _copy(self.weight, weight)
        _copy(self.bias, tensors[f"{name}/beta"] - mean * weight)

    def load_statistics(self, tensors: Weights, number: int, part: slice = slice(None), scale: float = 1.0) -> None:
        """Load only the statistics of this number, of a part of its channels: mean 0, standard deviation `scale`."""
        mean, deviation = (values[part] for values in _statistics(tensors, number))
        _copy(self.weight, scale / deviation)
        _copy(self.bias, -mean * scale / deviation)


class _Front(nn.Module):
    """A first filter, then ReLU, batch normalisation and the maximum over its places along the bands.

    The maximum is taken first: ReLU changes no order, and channels that the normalisation would turn upside down are
    computed with the opposite sign. The bands under a filter are its input channels, which lie next to each other in
    memory, as the output channels do: so both the product and the maximum run at the speed of the memory. They run over
    a few places at a time, whose outputs stay in the cache: that is twice as fast in bfloat16, with the same bits.

    Args:
        channels: C.
        frames: of the filter; as many zeros as needed stand before and after the window.
        bands: of the filter.
    """

    signs: Tensor

    def __init__(self, channels: int, frames: int, bands: int) -> None:
        super().__init__()
        self.frames, self.bands = frames, bands
        self.places = TEMPORAL_PLACES if bands == 1 else TIMBRAL_PLACES
        self.convolution = nn.Conv2d(bands, channels, (frames, 1)).to(memory_format=torch.channels_last)
        self.register_buffer("signs", torch.ones(channels))
        self.norm = Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(P, T, F) -> (P, C, T)."""
        x = F.pad(x, (0, 0, (self.frames - 1) // 2, self.frames // 2)).unfold(2, self.bands, 1).permute(0, 3, 1, 2)
        places = x.shape[3] if torch.compiler.is_exporting() else self.places
        highest = torch.stack([self._find_highest(part) for part in torch.split(x, places, 3)]).amax(0)
        normalized: Tensor = self.norm(F.relu(highest.transpose(1, 2) * self.signs[:, None]))
        return normalized

    def _find_highest(self, x: Tensor) -> Tensor:
        """The bands under the filter at some places (P, F, T, F') -> the maxima over them (P, T, C)."""
        y = self.convolution(x.contiguous(memory_format=torch.channels_last))  # (P, C, T, F')
        return cast(Tensor, y.permute(0, 2, 3, 1).amax(2))

    def load_tensors(self, tensors: Weights, number: int) -> None:
        """Load the convolution of this number, and the normalisation that follows it."""
        self.norm.load_tensors(tensors, number + 1)
        kernel, bias = _convolution(tensors, number)  # (frames, bands, 1, C)
        signs = np.where(self.norm.weight.detach().numpy() < 0, -1, 1).astype(np.float32)
        _copy(self.signs, signs)
        _copy(self.convolution.weight, kernel.transpose(3, 1, 0, 2) * signs[:, None, None, None])
        _copy(self.convolution.bias, bias * signs)


class MusicnnNetwork(nn.Module):
    """Windows of log10(10,000 mel energy + 1) (P, 187, 96) -> standardised features (P, 328).

    The features are the penultimate layer (200) and the maximum and the mean over time of the first middle layer (128,
    twice as large), each with mean 0 and variance 1 over the windows of the Million Song Dataset with which it was
    trained: its batch normalisations without their own scale and shift. Songs of one soundtrack are nearer to each
    other by both together than by either.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input = Affine(1)
        fronts = [_Front(TIMBRAL_CHANNELS, 7, bands) for bands in TIMBRAL_BANDS]
        fronts += [_Front(TEMPORAL_CHANNELS, frames, 1) for frames in TEMPORAL_FRAMES]
        self.front: Any = nn.ModuleList(fronts)
        width = len(TIMBRAL_BANDS) * TIMBRAL_CHANNELS + len(TEMPORAL_FRAMES) * TEMPORAL_CHANNELS
        self.middle = nn.ModuleList(nn.Conv1d(before, CHANNELS, 7, padding=3) for before in (width, CHANNELS, CHANNELS))
        self.middle_norms: Any = nn.ModuleList(Affine(CHANNELS) for _ in self.middle)
        pooled = 2 * (width + len(self.middle) * CHANNELS)
        self.texture = slice(2 * width, 2 * (width + CHANNELS))  # of what is pooled: the first middle layer
        self.texture_norm = Affine(2 * CHANNELS)
        self.pooled_norm = Affine(pooled)
        self.dense = nn.Linear(pooled, PENULTIMATE)
        self.dense_norm = Affine(PENULTIMATE)

    def forward(self, x: Tensor) -> Tensor:
        """(P, 187, 96) -> (P, 328)."""
        x = self.input(x[:, None])[:, 0]
        h = torch.cat([front(x) for front in self.front], 1)  # (P, 561, T)
        layers = [h]
        for number, (layer, norm) in enumerate(zip(self.middle, self.middle_norms, strict=True)):
            h = norm(F.relu(layer(h))) + (h if number else 0)
            layers.append(h)
        h = torch.cat(layers, 1)  # (P, 753, T)
        pooled = torch.stack([h.amax(2), h.mean(2)], 2).flatten(1)
        penultimate = self.dense_norm(F.relu(self.dense(self.pooled_norm(pooled))))
        return torch.cat([penultimate, self.texture_norm(pooled[:, self.texture])], 1)

    def load_tensors(self, tensors: Weights) -> None:
        """Load the tensors of the published checkpoint.

        Raises:
            KeyError: one is missing.
            ValueError: one has another shape.
        """
        self.input.load_tensors(tensors, 0)
        for number, front in enumerate(self.front):
            front.load_tensors(tensors, number)
        for number, (layer, norm) in enumerate(zip(self.middle, self.middle_norms, strict=True), len(self.front)):
            kernel, bias = _convolution(tensors, number)  # (frames, channels, 1, C)
            _copy(layer.weight, kernel[:, :, 0].transpose(2, 1, 0))
            _copy(layer.bias, bias)
            norm.load_tensors(tensors, number + 1)
        self.texture_norm.load_statistics(tensors, 9, self.texture, TEXTURE_WEIGHT)
        self.pooled_norm.load_tensors(tensors, 9)
        _copy(self.dense.weight, tensors["dense/kernel"].T)
        _copy(self.dense.bias, tensors["dense/bias"])
        self.dense_norm.load_statistics(tensors, 10)


def tag_layer(tensors: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights (50, 200) and biases (50,) with which standardised features become the logits of the tags."""
    scale, shift = (tensors[f"{_numbered(NORM, 10)}/{name}"] for name in ("gamma", "beta"))
    weights = tensors["dense_1/kernel"].T
    return weights * scale, tensors["dense_1/bias"] + weights @ shift


def _statistics(tensors: Weights, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean and the standard deviation of the inputs of a batch normalisation in training."""
    name = _numbered(NORM, number)
    return tensors[f"{name}/moving_mean"], np.sqrt(tensors[f"{name}/moving_variance"] + EPSILON)


def _convolution(tensors: Weights, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    name = _numbered("conv2d", number)
    return tensors[f"{name}/kernel"], tensors[f"{name}/bias"]


def _numbered(name: str, number: int) -> str:
    """TensorFlow's name of a layer: the first of a kind has no number."""
    return f"{name}_{number}" if number else name


def _copy(parameter: Any, values: NDArray[Any]) -> None:
    if tuple(parameter.shape) != values.shape:
        raise ValueError(f"expected the shape {tuple(parameter.shape)}, got {values.shape}")
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))
