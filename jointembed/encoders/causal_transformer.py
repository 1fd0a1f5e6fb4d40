"""A Transformer over a list in its order."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import Count, Dropout
from ..ragged import Ragged
from .encoder import to_float32
from .sequence_encoder import SequenceEncoder
from .text_transformer import Block, check_heads

# P pieces, D dimension of the space


class CausalTransformer(SequenceEncoder):
    """A causal Transformer over the last pieces of a row (SASRec, Kang and McAuley 2018).

    Positions are counted from the end.

    Args:
        length: pieces that are read.
        layers: number of layers.
        heads: of the attention.
        dropout: share of values dropped, in training.
    """

    def __init__(self, length: Count = 200, layers: Count = 2, heads: Count = 2, dropout: Dropout = 0.2) -> None:
        super().__init__(length)
        self.layers, self.heads = layers, heads
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""
        check_heads("CausalTransformer", dim, self.heads)
        self.positions = nn.Parameter(torch.zeros(self.length, dim))
        nn.init.normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, self.heads, self.dropout.p, causal=True) for _ in range(self.layers))
        self.norm = nn.LayerNorm(dim)

    def read(self, h: Tensor) -> Tensor:
        """Vectors (B, T, D) -> (B, D); see `SequenceEncoder.read`."""
        h = h[:, -self.length :]
        out = h * h.shape[2] ** 0.5 + self.positions[self.length - h.shape[1] :]
        for block in self.blocks:
            out = block(out)
        return cast(Tensor, self.norm(out[:, -1]))

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P, D) -> the state at each of them (P, D)."""
        from_end = torch.arange(len(h), device=h.device) - x.starts[1:][x.rows]
        # What is absent stands at the end, where no earlier step looks.
        out, step = self.pad(to_float32(h) * h.shape[1] ** 0.5 + self.positions[from_end], x)
        # On a CPU the gradient of attention takes more than twice as long in bfloat16 as in float32.
        half = torch.is_autocast_enabled(h.device.type) and h.device.type != "cpu"
        with torch.autocast(h.device.type, enabled=half):
            out = self.dropout(out)
            for block in self.blocks:
                out = block(out)
            return cast(Tensor, self.norm(out[x.rows, step]))
