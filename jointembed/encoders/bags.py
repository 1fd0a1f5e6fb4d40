"""The weighted sums of table rows that `EmbeddingBag` is made of, and their gradient, fast on a CPU."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# V things inside B bags, K rows of the table, W width


def summed(table: Tensor, values: Tensor, starts: Tensor, weights: Tensor, sparse: bool) -> Tensor:
    """The weighted sum of table rows for each bag: (B, W).

    Args:
        table: (K, W).
        values: (V,) int64, rows of the table, bag after bag.
        starts: (B,) where each bag begins.
        weights: (V,) weight of each thing.
        sparse: give a gradient of the touched rows only.
    """
    weights = weights.to(table.dtype)
    if sparse or not table.is_cpu:
        return F.embedding_bag(values, table, starts, mode="sum", per_sample_weights=weights, sparse=sparse)
    return cast(Tensor, _Sum.apply(table, values, starts, weights))


class _Sum(torch.autograd.Function):
    """Weighted sums whose gradient is made of weighted sums too.

    torch's own backward adds one thing at a time. But the gradient of a table row is a bag itself, of the gradients of
    those bags that it lies in: the bags are a sparse matrix, and its transpose is what they are multiplied with.
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
        turned = bags.tocsc()  # the same numbers by table row: O(V), without a sort
        made = F.embedding_bag(
            torch.from_numpy(turned.indices),
            gradient.contiguous(),
            torch.from_numpy(turned.indptr[:-1]),
            mode="sum",
            per_sample_weights=torch.from_numpy(turned.data),
        )
        return made, None, None, None
