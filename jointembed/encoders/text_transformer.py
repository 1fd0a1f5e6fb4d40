"""Transformers over text."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import Count, Dropout
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import TokenReader
from .encoder import Encoder, make_mlp
from .lengths import compute_by_length, round_up

# P pieces, T steps, W width


def check_heads(name: str, width: int, heads: int) -> None:
    """Check that attention can be split into heads.

    Raises:
        UsageError: the width is not a multiple of them.
    """
    if width % heads:
        wrong = f"vectors of {width} numbers cannot be split into {heads} heads"
        raise UsageError(f"{name}.heads", wrong, f"use a divisor of {width}")


class Block(nn.Module):
    """One layer of a Transformer: attention, then a network per step, each after a LayerNorm (pre-norm).

    Args:
        width: of the vectors.
        heads: of the attention.
        dropout: share of values dropped, in training.
        causal: a step sees only itself and earlier steps; it needs no mask, as padding stands at the end.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.network = make_mlp(width, [4 * width], width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps h (N, T, W) and their mask (N, T), True where there is a step, if any is absent -> (N, T, W)."""
        q, k, v = self.qkv(self.norms[0](h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if mask is not None:
            # A row without steps would attend to nothing and give NaN, so each step sees itself.
            mask = mask[:, None, None, :] | torch.eye(h.shape[1], dtype=torch.bool, device=h.device)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        h = h + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return cast(Tensor, h + self.dropout(self.network(self.norms[1](h))))


class TextTransformer(Encoder):
    """A Transformer (Vaswani et al. 2017) over the sub-words of a text; its vector is the mean over them.

    Args:
        reader: of token ids with a `max_length`, such as `Subwords`.
        width: of the vectors.
        layers: how many.
        heads: of the attention.
        dropout: share of values dropped, in training.
    """

    reader: TokenReader

    def __init__(
        self, reader: TokenReader, width: Count = 128, layers: Count = 2, heads: Count = 4, dropout: Dropout = 0.1
    ) -> None:
        super().__init__(reader, width)
        check_heads("TextTransformer", width, heads)
        self.layers, self.heads, self.dropout = layers, heads, dropout

    def build(self, dim: int) -> None:
        """Make the network.

        Raises:
            UsageError: the reader has no `max_length`.
        """
        if self.reader.max_length < 1:
            wrong = "TextTransformer needs a reader with a max_length"
            raise UsageError(type(self.reader).__name__, wrong, "read the column with Subwords")
        self.table = nn.Embedding(self.reader.size + 2, self.width)  # unknown, and the empty place after it
        self.positions = nn.Parameter(torch.zeros(self.reader.max_length, self.width))
        for weight in (self.table.weight, self.positions):
            nn.init.normal_(weight, std=0.02)
        self.blocks = nn.ModuleList(Block(self.width, self.heads, self.dropout) for _ in range(self.layers))
        self.norm = nn.LayerNorm(self.width)

    def length(self, x: Ragged) -> Tensor:
        """(P,) the steps each piece is computed with: its sub-words, rounded up by an eighth at most."""
        assert x.offsets is not None
        return round_up(x.offsets.diff(), self.reader.max_length)

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, width)."""
        return compute_by_length(self._embed, x, self.length(x))

    def _embed(self, x: Ragged) -> Tensor:
        """The vectors (P, width) of texts that are padded to the longest."""
        empty = self.reader.size + 1
        steps = int(self.length(x).max()) if len(x.rows) else 1
        ids = x.pad_tokens(steps, empty)  # (P, T)
        return self.embed_tokens(ids, ids != empty)

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Sub-words (P, T) -> (P, width)."""
        ids = ids.masked_fill(~mask, self.reader.size + 1)
        h = self.table(ids) + self.positions[: ids.shape[1]]  # (P, T, W)
        for block in self.blocks:
            h = block(h, mask)
        present = mask.unsqueeze(-1).to(h.dtype)
        return cast(Tensor, (self.norm(h) * present).sum(1) / present.sum(1).clamp(min=1))
