"""A recurrent network over a list in its order."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import Count, Dropout
from ..ragged import Ragged
from .sequence_encoder import SequenceEncoder

# P pieces, D dimension of the space


class GRU(SequenceEncoder):
    """A gated recurrent unit over the last pieces of a row (GRU, Cho et al. 2014; as in GRU4Rec, Hidasi et al. 2016).

    Args:
        length: pieces that are read.
        layers: number of layers.
        dropout: share of values dropped before the first layer and after each, in training.
        mean: the vector of a row is the mean of its states, and not the last one.
    """

    def __init__(self, length: Count = 200, layers: Count = 1, dropout: Dropout = 0.2, mean: bool = False) -> None:
        super().__init__(length)
        self.layers, self.mean = layers, mean
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""
        self.network = nn.GRU(dim, dim, self.layers, batch_first=True, dropout=self.dropout.p * (self.layers > 1))

    def read(self, h: Tensor) -> Tensor:
        """Vectors (B, T, D) -> (B, D); see `SequenceEncoder.read`."""
        out, _ = self.network(h[:, -self.length :])
        return cast(Tensor, out.mean(1) if self.mean else out[:, -1])

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P, D) -> the state at each of them (P, D)."""
        padded, step = self.pad(h, x)
        # In bfloat16 the memory would lose a little at each of many steps.
        with torch.autocast(h.device.type, enabled=False):
            out, _ = self.network(self.dropout(padded))
            return cast(Tensor, self.dropout(out[x.rows, step]))

    def last(self, states: Tensor, x: Ragged) -> Tensor:
        """States (P, D) -> the vector of each row (B, D), and 0 for a row without pieces."""
        return x.mean(states) if self.mean else super().last(states, x)
