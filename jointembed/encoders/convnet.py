"""Convolutional networks over spectrograms, bitmaps and pictures."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import Count, Dropout
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import Reader
from .encoder import Encoder, to_float32

# P pieces, T steps, F bands, C channels


class ConvNet(Encoder):
    """A convolutional network over windows of a spectrogram, over bitmaps or over pictures in colour.

    Each stage is a 3 x 3 convolution that halves both sides and one that refines what it gave, with a shortcut round it
    (He et al. 2016) and GroupNorm (Wu and He 2018) after each. After the last stage the time axis is pooled by mean and
    by maximum, so that both sustained and momentary sounds count; pitches stay separate, because pitch matters.

    Args:
        reader: what turns cells into windows, bitmaps or pictures.
        channels: of each stage.
        width: of the vectors.
        dropout: share of values dropped before the last layer, in training.
        axis: which side of the input is pooled: 0 for the frames of a spectrogram, 1 for the steps of a piano roll.
            None keeps all places: for bitmaps, where it matters where something is.
        stem_stride: by how much the first convolution shortens both sides. With 4 it has a 7 x 7 kernel, as the stem of
            a ResNet, and a stage less reaches the same size: for spectrograms, whose largest stage is the slowest.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        reader: Reader,
        channels: list[Count] | None = None,
        width: Count = 128,
        dropout: Dropout = 0.0,
        axis: Literal[0, 1] | None = 0,
        stem_stride: Literal[2, 4] = 2,
    ) -> None:
        super().__init__(reader, width)
        self.channels = list(channels or [32, 64, 128])
        self.dropout, self.axis, self.stem_stride = dropout, axis, stem_stride

    def build(self, dim: int) -> None:
        """Make the network; the statistics of the reader's bands become the scale of its input.

        Raises:
            UsageError: the reader gives something else.
        """
        if len(self.reader.shape) not in (2, 3):
            wrong = "ConvNet needs windows, bitmaps or pictures, and it gives none"
            raise UsageError(type(self.reader).__name__, wrong, "read the column with LogMel, Image or SparseImage")
        self.register_buffer("mean", torch.tensor(self.reader.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(self.reader.std, dtype=torch.float32))
        stages = []
        before, height, width = (1, *self.reader.shape)[-3:]
        for number, channels in enumerate(self.channels):
            stages.append(_Stage(before, channels, 2 if number else self.stem_stride))
            before = channels
        self.stages = nn.Sequential(*stages).to(memory_format=torch.channels_last)
        stride = self.stem_stride * 2 ** (len(self.channels) - 1)
        sides = [-(-side // stride) for side in (height, width)]
        inside = before * (sides[0] * sides[1] if self.axis is None else sides[1 - self.axis] * 2)
        self.head = nn.Sequential(nn.LayerNorm(inside), nn.Dropout(self.dropout), nn.Linear(inside, self.width))

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, width)."""
        return self.embed_arrays(x.dense(self.reader.shape))

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Windows, bitmaps or pictures -> (P, width)."""
        image = (values - self.mean) / self.std  # (P, T, F) or (P, 3, T, F)
        image = image.reshape(-1, *(1, *self.reader.shape)[-3:])  # (P, 1 or 3, T, F)
        h = self.stages(image.contiguous(memory_format=torch.channels_last))  # (P, C, T', F')
        if self.axis is not None:
            h = torch.cat([h.mean(2 + self.axis), h.amax(2 + self.axis)], 1)  # (P, 2 C, F')
        return cast(Tensor, self.head(to_float32(h.flatten(1))))


class _Stage(nn.Module):
    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        groups = next(count for count in range(max(1, channels // 16), 0, -1) if channels % count == 0)
        size = 3 if stride == 2 else 7
        self.halve = nn.Conv2d(before, channels, size, stride, size // 2, bias=False)
        self.refine = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norms[0](self.halve(x)))
        return F.gelu(x + self.norms[1](self.refine(x)))
