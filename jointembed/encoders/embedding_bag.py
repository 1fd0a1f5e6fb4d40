"""Bags of words, of pixels, of ids: sums of rows of a table."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ..ragged import Ragged, repeat_index, take
from ..readers import Reader
from .bags import summed
from .encoder import Encoder, make_mlp

# B rows, P pieces, V things inside pieces, W width, D dimension of the space, K known things


class EmbeddingBag(Encoder):
    """The mean of learned vectors of the things in a piece: words, ids; their weighted sum for the pixels of a bitmap.

    One fused EmbeddingBag: blank pixels and absent words are never touched. Without `width` it gives vectors of the
    space itself, so that an id or a word is a point there.

    Args:
        reader: what turns cells into things with numbers.
        width: of the vectors; the dimension of the space if not given.
        hidden: layers of a network after the bag, if any.
        drop: share of the things in a bag that are left out in training: what learns to complete a set from a part.
        sparse: give gradients of the touched rows only. By default from 50,000 rows on: for narrow tables dense
            gradients are faster, for wide ones row-wise ones are by far.
    """

    def __init__(
        self,
        reader: Reader,
        width: int | None = None,
        hidden: list[int] | None = None,
        drop: float = 0.0,
        sparse: bool | None = None,
    ) -> None:
        super().__init__(reader, width or 0)
        if drop and hidden:
            raise UsageError(
                "EmbeddingBag",
                "with `hidden` the things of a row are no sum from which `drop` could leave some out",
                "give one",
            )
        self.hidden, self.drop, self.sparse = list(hidden or []), drop, sparse

    def build(self, dim: int) -> None:
        """Make the table of `reader.size` + 1 vectors: the last one is that of everything unknown."""
        if not self.reader.size:
            raise UsageError(
                type(self.reader).__name__,
                "it knows nothing: no training row has such a cell",
                "check the column and the split of the table",
            )
        self.width = self.width or dim
        rows = self.reader.size + 1
        sparse = rows > 50_000 if self.sparse is None else self.sparse
        self.table = nn.EmbeddingBag(rows, self.width, mode="sum", sparse=sparse)
        nn.init.normal_(self.table.weight, std=self.width**-0.5)
        self.after = make_mlp(self.width, self.hidden, self.width) if self.hidden else nn.Identity()

    def _summed(self, values: Tensor, starts: Tensor, counts: Tensor, weights: Tensor | None) -> Tensor:
        """Bags with weights are summed by them, others averaged."""
        if weights is None:
            weights = take((1 / counts.clamp(min=1)).to(self.table.weight.dtype), repeat_index(counts))
        if self.training and self.drop:
            bags, kept = repeat_index(counts), (torch.rand_like(weights) >= self.drop).to(weights.dtype)
            left = kept.new_zeros(len(counts)).index_add_(0, bags, kept)
            weights = weights * kept * take(counts / left.clamp(min=1), bags)
        return summed(self.table.weight, values, starts, weights, self.table.sparse)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a piece: (P, width)."""
        if x.offsets is not None:
            return cast(Tensor, self.after(self._summed(x.values, x.offsets[:-1], x.offsets.diff(), x.weights)))
        return cast(Tensor, self.after(F.embedding(x.values, self.table.weight, sparse=self.table.sparse)))

    def forward(self, x: Ragged) -> Tensor:
        """A vector a row (B, width), without one a piece on the way where each piece is one thing."""
        if x.offsets is None and not self.hidden:
            return self._summed(x.values, x.starts[:-1], x.counts, None)
        return super().forward(x)

    def vocabulary_vectors(self) -> Tensor:
        """The vectors (K, width) of all K known items, without the one of everything unknown."""
        return cast(Tensor, self.after(self.table.weight[: self.reader.size]))
