"""A pool with a memory that is carried from piece to piece."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..ragged import Ragged
from .causal_transformer import CausalTransformer
from .encoder import to_float32

# P pieces, D dimension of the space


class GRU(CausalTransformer):
    """A gated recurrent unit over the last pieces of a row (GRU, Cho et al. 2014; as in GRU4Rec, Hidasi et al. 2016).

    It takes and returns what `CausalTransformer` does. The vector of a row is the state at its last piece, or the mean
    of all states.

    Args:
        length: pieces that are read.
        layers: how many.
        dropout: share of values dropped before the first layer and after each, in training.
        mean: the vector of a row is the mean of its states.
    """

    def __init__(self, length: int = 200, layers: int = 1, dropout: float = 0.2, mean: bool = False) -> None:
        super().__init__(length, layers, dropout=dropout)
        self.mean = mean

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""
        self.network = nn.GRU(dim, dim, self.layers, batch_first=True, dropout=self.dropout.p * (self.layers > 1))

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P', D) -> the state at each of them (P', D)."""
        h = to_float32(h)
        place = torch.arange(len(h), device=h.device) - x.starts[:-1][x.rows]
        filled = h.new_zeros(len(x), int(self.steps(x).max()) if len(x) else 1, h.shape[1])
        filled[x.rows, place] = h
        # In bfloat16 what is carried would lose a little at each of many steps.
        with torch.autocast(h.device.type, enabled=False):
            out, _ = self.network(self.dropout(filled))
            return cast(Tensor, self.dropout(out[x.rows, place]))

    def last(self, states: Tensor, x: Ragged) -> Tensor:
        """States (P', D) -> the vector of each row (B, D), and 0 for a row without pieces."""
        return x.mean(states) if self.mean else super().last(states, x)
