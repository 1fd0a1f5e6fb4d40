"""The network of musicnn, written anew for torch.

Source: Pons and Serra 2019, "musicnn: Pre-trained convolutional neural networks for music audio tagging".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

    def max_of_relu(self, x: Tensor) -> Tensor:
        """(P, C, T, F) -> (P, C, T): the norm of ReLU, and its maximum over the bands, without computing all of it."""
        extreme = torch.where(self.weight.view(-1, 1) < 0, x.amin(3), x.amax(3))
        normalized: Tensor = self(F.relu(extreme))
        return normalized


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
        shapes = [(TIMBRAL_CHANNELS, 7, bands) for bands in TIMBRAL_BANDS]
        shapes += [(TEMPORAL_CHANNELS, frames, 1) for frames in TEMPORAL_FRAMES]
        self.front_frames = [frames for _, frames, _ in shapes]
        self.front = nn.ModuleList(nn.Conv2d(1, channels, (frames, bands)) for channels, frames, bands in shapes)
        self.front_norms: Any = nn.ModuleList(Affine(channels) for channels, _, _ in shapes)
        width = sum(channels for channels, _, _ in shapes)
        self.middle = nn.ModuleList(nn.Conv1d(before, CHANNELS, 7, padding=3) for before in (width, CHANNELS, CHANNELS))
        self.middle_norms = nn.ModuleList(Affine(CHANNELS) for _ in self.middle)
        pooled = 2 * (width + len(self.middle) * CHANNELS)
        self.texture = slice(2 * width, 2 * (width + CHANNELS))  # of what is pooled: the first middle layer
        self.texture_norm = Affine(2 * CHANNELS)
        self.pooled_norm = Affine(pooled)
        self.dense = nn.Linear(pooled, PENULTIMATE)
        self.dense_norm = Affine(PENULTIMATE)

    def forward(self, x: Tensor) -> Tensor:
        """(P, 187, 96) -> (P, 328)."""
        x = self.input(x[:, None])
        parts = []
        for layer, norm, frames in zip(self.front, self.front_norms, self.front_frames, strict=True):
            y = layer(F.pad(x, (0, 0, (frames - 1) // 2, frames // 2)))  # (P, C, T, F')
            parts.append(norm.max_of_relu(y))
        h = torch.cat(parts, 1)  # (P, 561, T)
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
        for number, norm in enumerate([self.input, *self.front_norms, *self.middle_norms, self.pooled_norm]):
            mean, deviation = _statistics(tensors, number)
            weight = tensors[_numbered(NORM, number) + "/gamma"] / deviation
            _copy(norm.weight, weight)
            _copy(norm.bias, tensors[_numbered(NORM, number) + "/beta"] - mean * weight)
        for number, layer in enumerate([*self.front, *self.middle]):
            kernel = tensors[_numbered("conv2d", number) + "/kernel"].transpose(3, 2, 0, 1)  # (C, 1, frames, bands)
            _copy(layer.weight, kernel if number < len(self.front) else kernel[:, 0].transpose(0, 2, 1))
            _copy(layer.bias, tensors[_numbered("conv2d", number) + "/bias"])
        _copy(self.dense.weight, tensors["dense/kernel"].T)
        _copy(self.dense.bias, tensors["dense/bias"])
        mean, deviation = _statistics(tensors, 10)
        _copy(self.dense_norm.weight, 1 / deviation)
        _copy(self.dense_norm.bias, -mean / deviation)
        mean, deviation = (values[self.texture] for values in _statistics(tensors, 9))
        _copy(self.texture_norm.weight, TEXTURE_WEIGHT / deviation)
        _copy(self.texture_norm.bias, -mean * TEXTURE_WEIGHT / deviation)


def tag_layer(tensors: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights (50, 200) and biases (50,) with which standardised features become the logits of the tags."""
    scale, shift = (tensors[f"{_numbered(NORM, 10)}/{name}"] for name in ("gamma", "beta"))
    weights = tensors["dense_1/kernel"].T
    return weights * scale, tensors["dense_1/bias"] + weights @ shift


def _statistics(tensors: Weights, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean and the standard deviation of the inputs of a batch normalisation in training."""
    name = _numbered(NORM, number)
    return tensors[f"{name}/moving_mean"], np.sqrt(tensors[f"{name}/moving_variance"] + EPSILON)


def _numbered(name: str, number: int) -> str:
    """TensorFlow's name of a layer: the first of a kind has no number."""
    return f"{name}_{number}" if number else name


def _copy(parameter: Any, values: NDArray[Any]) -> None:
    if tuple(parameter.shape) != values.shape:
        raise ValueError(f"expected the shape {tuple(parameter.shape)}, got {values.shape}")
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))
