"""A pool that looks at all pieces before each one."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..config import Configurable
from ..ragged import Ragged, ranges
from .encoder import to_float32
from .text_transformer import Block

# B rows, P pieces, T steps, D dimension of the space


class CausalTransformer(Configurable, nn.Module):
    """A causal Transformer over the last pieces of a row (SASRec, Kang and McAuley 2018).

    The vector of a row is the state at its last piece; the state at any piece knows that piece and those before it.
    Places are counted from the end. In training, a row that is longer gives a stretch from anywhere in it.

    Args:
        length: pieces that are read.
        layers: how many.
        heads: of the attention.
        dropout: share of values dropped, in training.
    """

    def __init__(self, length: int = 200, layers: int = 2, heads: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        self.length, self.layers, self.heads = length, layers, heads
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""
        self.places = nn.Parameter(torch.zeros(self.length, dim))
        nn.init.normal_(self.places, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, self.heads, self.dropout.p, causal=True) for _ in range(self.layers))
        self.norm = nn.LayerNorm(dim)

    def seen(self, x: Ragged) -> Ragged:
        """The pieces of x that are read."""
        counts = x.counts.clamp(max=self.length)
        first = x.starts[1:] - counts
        if self.training:
            spare = x.counts - counts
            first = first - (torch.rand(len(spare), device=spare.device) * (spare + 1)).long()
        kept = ranges(first, counts)
        marks = None if x.piece_keys is None else x.piece_keys[kept]
        pieces = x.take(kept)
        return Ragged(pieces.values, x.rows[kept], x.row_keys, pieces.offsets, pieces.weights, marks)

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P', D) -> the state at each of them (P', D)."""
        steps = int(self.steps(x).max()) if len(x) else 1
        numbers = torch.arange(len(h), device=h.device)
        place = numbers - x.starts[:-1][x.rows]
        h = to_float32(h)
        filled = h.new_zeros(len(x), steps, h.shape[1])
        # What is absent stands at the end, where no step looks that comes before.
        filled[x.rows, place] = h * h.shape[1] ** 0.5 + self.places[numbers - x.starts[1:][x.rows]]
        # On a CPU the gradient of attention takes bfloat16 more than twice as long as float32.
        half = torch.is_autocast_enabled(h.device.type) and h.device.type != "cpu"
        with torch.autocast(h.device.type, enabled=half):
            out = self.dropout(filled)
            for block in self.blocks:
                out = block(out)
            return cast(Tensor, self.norm(out[x.rows, place]))

    def steps(self, x: Ragged) -> Tensor:
        """(B,) how many steps each row is computed with: the power of two that holds what is read of it."""
        sizes = x.counts.clamp(1, self.length)
        return (2 ** torch.ceil(torch.log2(sizes.double())).long()).clamp(max=self.length)

    def last(self, states: Tensor, x: Ragged) -> Tensor:
        """States (P', D) -> the one at each row's last piece (B, D), and 0 for a row without pieces."""
        ends = (x.starts[1:] - 1).clamp(min=0)
        if not len(states):
            return states.new_zeros(len(x), states.shape[1]) + 0 * states.sum()
        return states[ends] * x.present[:, None]
