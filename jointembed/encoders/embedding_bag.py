"""Bags of words, of pixels, of ids: weighted sums of the rows of a table, fast on a CPU."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..arguments import Count, Dropout
from ..errors import UsageError
from ..ragged import Ragged, repeat_index, take
from ..readers import Reader
from .encoder import Encoder, make_mlp

# B rows or bags, P pieces, V items inside pieces, W width, D dimension of the space, K items of the vocabulary


class EmbeddingBag(Encoder):
    """The mean of learned vectors of the items in a piece (words, ids), or the weighted sum for pixels.

    Blank pixels and absent words are never touched. Without `width` it gives vectors of the space itself, so that an id
    or a word is a point of the space.

    Args:
        reader: turns cells into numbered items.
        width: of the vectors; the dimension of the space if not given.
        hidden: layers of a network after the bag, if any.
        item_dropout: share of the items in a bag that are left out in training, to learn to complete sets.
        sparse: give gradients for the touched rows only; by default from 50,000 rows on, where that is faster.
    """

    def __init__(
        self,
        reader: Reader,
        width: Count | None = None,
        hidden: list[Count] | None = None,
        item_dropout: Dropout = 0.0,
        sparse: bool | None = None,
    ) -> None:
        super().__init__(reader, width or 0)
        if item_dropout and hidden:
            raise UsageError(
                "EmbeddingBag",
                "`item_dropout` cannot be combined with `hidden`",
                "leave out one of them",
            )
        self.hidden, self.item_dropout, self.sparse = list(hidden or []), item_dropout, sparse

    def build(self, dim: int) -> None:
        """Make the table of `reader.size` + 1 vectors: the last is that of unknown items."""
        if not self.reader.size:
            raise UsageError(
                type(self.reader).__name__,
                "its vocabulary is empty: no training row has such a cell",
                "check the column and the split of the table",
            )
        self.width = self.width or dim
        rows = self.reader.size + 1
        sparse = rows > 50_000 if self.sparse is None else self.sparse
        self.table = nn.EmbeddingBag(rows, self.width, mode="sum", sparse=sparse)
        summed = self.reader.size if self.reader.has_weights else 1  # a sum of many begins as small as a mean
        nn.init.normal_(self.table.weight, std=(self.width * summed) ** -0.5)
        self.after = make_mlp(self.width, self.hidden, self.width) if self.hidden else nn.Identity()

    def _table_rows(self) -> Tensor:
        """The table (K + 1, width). Of a pruned one, torch applies the mask before a call, and not where it is read."""
        for hook in self.table._forward_pre_hooks.values():
            hook(self.table, ())
        return self.table.weight

    def _sum(self, values: Tensor, starts: Tensor, counts: Tensor, weights: Tensor | None) -> Tensor:
        """Bags with weights are summed by them, others averaged."""
        if weights is None:
            weights = take((1 / counts.clamp(min=1)).to(self.table.weight.dtype), repeat_index(counts))
        if self.training and self.item_dropout:
            bags, mask = repeat_index(counts), (torch.rand_like(weights) >= self.item_dropout).to(weights.dtype)
            left = mask.new_zeros(len(counts)).index_add_(0, bags, mask)
            weights = weights * mask * take(counts / left.clamp(min=1), bags)
        return embedding_bag_sum(self._table_rows(), values, starts, weights, self.table.sparse)

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, width)."""
        if x.offsets is not None:
            return cast(Tensor, self.after(self._sum(x.values, x.offsets[:-1], x.offsets.diff(), x.weights)))
        return cast(Tensor, self.after(F.embedding(x.values, self._table_rows(), sparse=self.table.sparse)))

    def forward(self, x: Ragged) -> Tensor:
        """One vector per row (B, width), in one step if each piece is a single item."""
        if x.offsets is None and not self.hidden:
            return self._sum(x.values, x.starts[:-1], x.counts, None)
        return super().forward(x)

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Bitmaps (P, ...) -> (P, width)."""
        return cast(Tensor, self.after(values.flatten(1) @ self.table.weight[: self.reader.size]))

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The ids of one element, or those of a list of categories, (B, T) -> (B, width)."""
        rows, share = self.table.weight[ids], mask[..., None].to(self.table.weight.dtype)  # (B, T, W)
        rows = self.after(rows) if self.reader.tokens_are_pieces else rows
        mean = (rows * share).sum(1) / share.sum(1).clamp(min=1)
        return mean if self.reader.tokens_are_pieces else cast(Tensor, self.after(mean))

    def vocabulary_vectors(self) -> Tensor:
        """The vectors (K, width) of all K known items, without the one of everything unknown."""
        weight = self._table_rows()
        if self.table.sparse:
            weight = cast(Tensor, _WithSparseGradient.apply(weight))
        return cast(Tensor, self.after(weight[: self.reader.size]))


def embedding_bag_sum(table: Tensor, values: Tensor, starts: Tensor, weights: Tensor, sparse: bool) -> Tensor:
    """The weighted sum of table rows for each bag: (B, W).

    Args:
        table: (K, W).
        values: (V,) int64, rows of the table, bag by bag.
        starts: (B,) start of each bag.
        weights: (V,) weight of each item.
        sparse: give gradients for the touched rows only.
    """
    weights = weights.to(table.dtype)
    if sparse or not table.is_cpu:
        return F.embedding_bag(values, table, starts, mode="sum", per_sample_weights=weights, sparse=sparse)
    return cast(Tensor, _Sum.apply(table, values, starts, weights))


class _Sum(torch.autograd.Function):
    """Weighted sums whose gradient is a weighted sum too.

    torch adds one item at a time. But the gradient of a table row is a bag itself, of the gradients
    of the bags that it is in: a product with the transpose of the sparse matrix of the bags.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, values: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(values, starts, weights)
        ctx.rows = len(table)
        return F.embedding_bag(values, table, starts, mode="sum", per_sample_weights=weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, starts, weights = ctx.saved_tensors
        bounds = np.append(starts.numpy(), len(values))
        bags = csr_matrix((weights.numpy(), values.numpy(), bounds), (len(starts), ctx.rows))
        transposed = bags.tocsc()  # the same numbers by table row: O(V), without a sort
        gradients = F.embedding_bag(
            torch.from_numpy(transposed.indices),
            gradient.contiguous(),
            torch.from_numpy(transposed.indptr[:-1]),
            mode="sum",
            per_sample_weights=torch.from_numpy(transposed.data),
        )
        return gradients, None, None, None


class _WithSparseGradient(torch.autograd.Function):
    """The same tensor with a gradient of rows, as DDP expects of a table whose other gradients are of that kind."""

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        return table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to_sparse(1)
