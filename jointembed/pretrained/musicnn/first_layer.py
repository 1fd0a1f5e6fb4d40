"""The first layer of musicnn: tall filters for timbre, long ones for tempo, and their maxima along the bands.

Three quarters of the work of the network are here. Where float32 is all that is needed, the filters are computed with
fewer multiplications or larger products than a convolution has, with the same result but for its last bits.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .weights import Affine, Weights, copy_values, read_convolution

# P windows, T frames, F bands, C channels, K frames under a filter, N frequencies of a Fourier transform

FOURIER_FRAMES = 11  # transformed at once: their products stay in the cache
PRODUCT_BANDS = 16  # multiplied at once, likewise
TIMBRAL_PLACES, TEMPORAL_PLACES = 12, 16  # convolved at once: the fastest numbers, with and without matrix units (AMX)


class FirstFilters(nn.Module):
    """First filters of one size, then ReLU, batch normalisation and the maximum over their places along the bands.

    The maximum is taken first: ReLU changes no order, and channels that the normalisation would turn upside down are
    computed with the opposite sign. The bands under a filter are its input channels, which lie next to each other in
    memory, as the output channels do: so both the product and the maximum run at the speed of the memory. They run over
    a few places at a time, whose outputs stay in the cache: that is twice as fast in bfloat16, with the same bits.

    Args:
        channels: C.
        frames: of a filter; as many zeros as needed stand before and after the window.
        bands: of a filter.
        places: of a filter along the bands, computed at once as a convolution.
    """

    signs: Tensor

    def __init__(self, channels: int, frames: int, bands: int, places: int) -> None:
        super().__init__()
        self.frames, self.bands, self.places = frames, bands, places
        self.convolution = nn.Conv2d(bands, channels, (frames, 1)).to(memory_format=torch.channels_last)
        self.register_buffer("signs", torch.ones(channels))
        self.norm = Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(P, T, F) -> (P, C, T)."""
        x = F.pad(x, (0, 0, (self.frames - 1) // 2, self.frames // 2))
        highest = self._find_highest_in_float32(x) if self._needs_only_float32(x) else self._find_highest(x)
        normalized: Tensor = self.norm(F.relu(highest.transpose(1, 2) * self.signs[:, None]))
        return normalized

    def _needs_only_float32(self, x: Tensor) -> bool:
        """Whether only float32 outputs on a CPU are needed: no gradients, no graph, no inputs of the convolution."""
        convolution = self.convolution
        return (
            type(convolution) is nn.Conv2d  # not its copy in 8-bit integers, or with LoRA
            and not convolution._forward_hooks
            and x.device.type == "cpu"
            and x.dtype == convolution.weight.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_exporting()
        )

    def _find_highest(self, x: Tensor) -> Tensor:
        """Windows with zeros around them (P, T + K - 1, F) -> the maxima over the places of the filters (P, T, C)."""
        x = x.unfold(2, self.bands, 1).permute(0, 3, 1, 2)
        places = x.shape[3] if torch.compiler.is_exporting() else self.places
        highest = []
        for part in torch.split(x, places, 3):
            y = self.convolution(part.contiguous(memory_format=torch.channels_last))  # (P, C, T, places)
            highest.append(cast(Tensor, y.permute(0, 2, 3, 1).amax(2)))
        return torch.stack(highest).amax(0)

    def _find_highest_in_float32(self, x: Tensor) -> Tensor:
        """The same as `_find_highest`, faster, from the weights and biases of the convolution."""
        raise NotImplementedError

    def load_tensors(self, tensors: Weights, number: int) -> None:
        """Load the convolution of this number, and the normalisation that follows it."""
        self.norm.load_tensors(tensors, number + 1)
        kernel, bias = read_convolution(tensors, number)  # (frames, bands, 1, C)
        signs = np.where(self.norm.weight.detach().numpy() < 0, -1, 1).astype(np.float32)
        copy_values(self.signs, signs)
        copy_values(self.convolution.weight, kernel.transpose(3, 1, 0, 2) * signs[:, None, None, None])
        copy_values(self.convolution.bias, bias * signs)


class TimbralFilters(FirstFilters):
    """First filters over many bands and a few frames.

    In float32 they run over the bands as products of Fourier transforms: with the bands of a window as the period, no
    place of a filter wraps around. Only the places that there are are transformed back, by a product with that part of
    the inverse transform: that takes a third to a half of the multiplications of the convolution.
    """

    def __init__(self, channels: int, frames: int, bands: int) -> None:
        super().__init__(channels, frames, bands, TIMBRAL_PLACES)

    def _find_highest_in_float32(self, x: Tensor) -> Tensor:
        transform, inverse = fourier_transforms(x.shape[2])
        filters = self._transform_filters(transform)
        inverse = inverse[: x.shape[2] - self.bands + 1]
        count, channels = len(transform), self.convolution.out_channels
        windows = []
        for window in x:  # one by one, so that each is computed by products of the same shapes
            spectra = (transform.flatten(0, 1) @ window.T).view(count, 2, -1)
            spectra = spectra.unfold(2, self.frames, 1).transpose(1, 2).flatten(2)  # (N, T, 2 K)
            for part in spectra.split(FOURIER_FRAMES, 1):
                products = torch.bmm(part, filters).view(count, -1, 2, channels)
                products = products.transpose(1, 2).reshape(2 * count, -1)
                windows.append((inverse @ products).amax(0).view(-1, channels))
        bias = cast(Tensor, self.convolution.bias)
        return torch.cat(windows).view(len(x), -1, channels) + bias

    def _transform_filters(self, transform: Tensor) -> Tensor:
        """The transforms of the filters, conjugate, as matrices (N, 2 K, 2 C) between real and imaginary parts."""
        weight = self.convolution.weight[..., 0]  # (C, F, K)
        real, imaginary = torch.einsum("cfk,nzf->znkc", weight, transform[..., : self.bands])
        matrices = torch.cat([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1)
        return matrices.contiguous()


class TemporalFilters(FirstFilters):
    """First filters over many frames of one band.

    In float32 they are one product for some bands with a copy of the frames under each place of the filters.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__(channels, frames, 1, TEMPORAL_PLACES)

    def _find_highest_in_float32(self, x: Tensor) -> Tensor:
        weight = self.convolution.weight[:, 0, :, 0].T.contiguous()
        windows = []
        for window in x:
            frames = window.T.contiguous().unfold(1, self.frames, 1)  # (F, T, K)
            parts = [(part.flatten(0, 1) @ weight).view(*part.shape[:2], -1) for part in frames.split(PRODUCT_BANDS)]
            windows.append(torch.stack([part.amax(0) for part in parts]).amax(0))
        return torch.stack(windows) + cast(Tensor, self.convolution.bias)


def fourier_transforms(period: int) -> tuple[Tensor, Tensor]:
    """The Fourier transform of real numbers as a matrix (N, 2, period), and its inverse (period, 2 N), in float32.

    N is period / 2 + 1; the 2 are the real and the imaginary parts.
    """
    frequencies = torch.arange(period // 2 + 1, dtype=torch.float64)
    angles = 2 * math.pi / period * torch.outer(frequencies, torch.arange(period, dtype=torch.float64))
    transform = torch.stack([angles.cos(), -angles.sin()], 1)
    # A frequency counts for its negative too, which the transform of real numbers leaves out.
    counts = torch.where((frequencies == 0) | (2 * frequencies == period), 1.0, 2.0)
    inverse = (transform * (counts / period)[:, None, None]).flatten(0, 1).T
    return transform.float(), inverse.float().contiguous()
