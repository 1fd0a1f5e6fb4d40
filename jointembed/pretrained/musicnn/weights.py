"""The tensors of musicnn's checkpoint by TensorFlow's names, and the layer that its batch normalisations become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
        name, (mean, deviation) = numbered(NORM, number), read_statistics(tensors, number)
        weight = tensors[f"{name}/gamma"] / deviation
        copy_values(self.weight, weight)
        copy_values(self.bias, tensors[f"{name}/beta"] - mean * weight)

    def load_statistics(self, tensors: Weights, number: int, part: slice = slice(None), scale: float = 1.0) -> None:
        """Load only the statistics of this number, of a part of its channels: mean 0, standard deviation `scale`."""
        mean, deviation = (values[part] for values in read_statistics(tensors, number))
        copy_values(self.weight, scale / deviation)
        copy_values(self.bias, -mean * scale / deviation)


def read_statistics(tensors: Weights, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean and the standard deviation of the inputs of a batch normalisation in training."""
    name = numbered(NORM, number)
    return tensors[f"{name}/moving_mean"], np.sqrt(tensors[f"{name}/moving_variance"] + EPSILON)


def read_convolution(tensors: Weights, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The kernel, with the output channels last, and the biases of a convolution."""
    name = numbered("conv2d", number)
    return tensors[f"{name}/kernel"], tensors[f"{name}/bias"]


def numbered(name: str, number: int) -> str:
    """TensorFlow's name of a layer: the first of a kind has no number."""
    return f"{name}_{number}" if number else name


def copy_values(parameter: Any, values: NDArray[Any]) -> None:
    """Overwrite a parameter or a buffer; ValueError if the values have another shape."""
    if tuple(parameter.shape) != values.shape:
        raise ValueError(f"expected the shape {tuple(parameter.shape)}, got {values.shape}")
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))
