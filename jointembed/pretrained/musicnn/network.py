"""The network of musicnn, written anew for torch.

Source: Pons and Serra 2019, "musicnn: Pre-trained convolutional neural networks for music audio tagging".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .first_layer import TemporalFilters, TimbralFilters
from .weights import NORM, Affine, Weights, copy_values, numbered, read_convolution

# P windows, T frames, F bands, C channels

BANDS, FRAMES = 96, 187
TIMBRAL_FRAMES, TIMBRAL_BANDS, TEMPORAL_FRAMES = 7, (38, 67), (128, 64, 32)  # the sizes of its first filters
TIMBRAL_CHANNELS, TEMPORAL_CHANNELS, CHANNELS = 204, 51, 64
PENULTIMATE, TAGS = 200, 50
FEATURES = PENULTIMATE + 2 * CHANNELS
TEXTURE_WEIGHT = 2.0  # of the first middle layer beside the penultimate one; 1.5 to 4 make little difference


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
        timbral = [TimbralFilters(TIMBRAL_CHANNELS, TIMBRAL_FRAMES, bands) for bands in TIMBRAL_BANDS]
        temporal = [TemporalFilters(TEMPORAL_CHANNELS, frames) for frames in TEMPORAL_FRAMES]
        self.front: Any = nn.ModuleList([*timbral, *temporal])
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
            kernel, bias = read_convolution(tensors, number)  # (frames, channels, 1, C)
            copy_values(layer.weight, kernel[:, :, 0].transpose(2, 1, 0))
            copy_values(layer.bias, bias)
            norm.load_tensors(tensors, number + 1)
        self.texture_norm.load_statistics(tensors, 9, self.texture, TEXTURE_WEIGHT)
        self.pooled_norm.load_tensors(tensors, 9)
        copy_values(self.dense.weight, tensors["dense/kernel"].T)
        copy_values(self.dense.bias, tensors["dense/bias"])
        self.dense_norm.load_statistics(tensors, 10)


def tag_layer(tensors: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights (50, 200) and biases (50,) with which standardised features become the logits of the tags."""
    scale, shift = (tensors[f"{numbered(NORM, 10)}/{name}"] for name in ("gamma", "beta"))
    weights = tensors["dense_1/kernel"].T
    return weights * scale, tensors["dense_1/bias"] + weights @ shift
