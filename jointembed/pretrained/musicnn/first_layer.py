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

FOURIER_FRAMES = 17  # transformed at once: their products stay in the cache
PRODUCT_BANDS = 16  # multiplied at once, likewise
PRODUCT_CHANNELS = 8  # products are faster where the number of channels is a multiple of it
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
    place of a filter wraps around. The transforms of the filters are such that the middle one of their places is 0.
    Then the places d and -d are the sum and the difference of the same two products with cosines and sines, and the
    higher of them is the sum of the first and the absolute value of the second. That takes a quarter of the
    multiplications of the convolution.
    """

    def __init__(self, channels: int, frames: int, bands: int) -> None:
        super().__init__(channels, frames, bands, TIMBRAL_PLACES)

    def _find_highest_in_float32(self, x: Tensor) -> Tensor:
        period, channels = x.shape[2], self.convolution.out_channels
        middle = (period - self.bands) / 2  # of the places 0 to period - bands
        frequencies = torch.arange(period // 2 + 1)
        cosines, sines = waves(frequencies, torch.arange(period), period)
        transform = torch.stack([cosines, -sines], 1)  # (N, 2, F): real and imaginary parts
        real_filters, imaginary_filters = self._transform_filters(frequencies, middle, period)
        # The transform of real numbers leaves out the negative frequencies: the others count twice.
        counts = torch.where((frequencies == 0) | (2 * frequencies == period), 1.0, 2.0) / period
        inverse_cosines, inverse_sines = waves(torch.arange(middle % 1, middle + 1), frequencies, period)
        inverse_cosines, inverse_sines = inverse_cosines * counts, inverse_sines * counts
        highest = []
        for window in x:  # one by one, so that each is computed by products of the same shapes
            spectra = (transform.flatten(0, 1) @ window.T).view(len(frequencies), 2, -1)
            spectra = spectra.unfold(2, self.frames, 1).transpose(1, 2).flatten(2)  # (N, T, 2 K)
            for part in spectra.split(FOURIER_FRAMES, 1):
                real = torch.bmm(part, real_filters).flatten(1)  # (N, frames C)
                imaginary = torch.bmm(part, imaginary_filters).flatten(1)
                sums = inverse_cosines @ real + (inverse_sines @ imaginary).abs_()
                highest.append(sums.amax(0).view(-1, channels))
        return torch.cat(highest).view(len(x), -1, channels) + cast(Tensor, self.convolution.bias)

    def _transform_filters(self, frequencies: Tensor, middle: float, period: int) -> tuple[Tensor, Tensor]:
        """The conjugate transforms of the filters, begun `middle` bands before them, as products with transforms.

        They are matrices (N, 2 K, C) from the real and the imaginary part to the real one and to the imaginary one.
        """
        weight = self.convolution.weight[..., 0]  # (C, F, K)
        cosines, sines = waves(frequencies, torch.arange(self.bands) + middle, period)
        real, imaginary = (torch.einsum("cfk,nf->nkc", weight, part) for part in (cosines, sines))
        return torch.cat([real, -imaginary], 1).contiguous(), torch.cat([imaginary, real], 1).contiguous()


class TemporalFilters(FirstFilters):
    """First filters over many frames of one band.

    In float32 they are one product for some bands, with a copy of the frames under each place of the filters.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__(channels, frames, 1, TEMPORAL_PLACES)

    def _find_highest_in_float32(self, x: Tensor) -> Tensor:
        channels = self.convolution.out_channels
        weight = F.pad(self.convolution.weight[:, 0, :, 0].T, (0, -channels % PRODUCT_CHANNELS)).contiguous()
        highest = []
        for window in x:
            frames = window.T.contiguous().unfold(1, self.frames, 1)  # (F, T, K)
            parts = [(part.flatten(0, 1) @ weight).view(*part.shape[:2], -1) for part in frames.split(PRODUCT_BANDS)]
            highest.append(torch.stack([part.amax(0) for part in parts]).amax(0)[:, :channels])
        return torch.stack(highest) + cast(Tensor, self.convolution.bias)


def waves(frequencies: Tensor, positions: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """The cosines and the sines of some frequencies at some positions, as float32 matrices."""
    angles = 2 * math.pi / period * torch.outer(frequencies.double(), positions.double())
    return angles.cos().float(), angles.sin().float()
