"""The weighted sums of table rows that `Bag` is made of, and their gradient, fast on a CPU."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
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
    those bags that it lies in, and sorting the things by row makes it so: about three times as fast.
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
        things = values.numpy()
        # A stable sort of 16-bit numbers is a radix sort.
        order = torch.from_numpy(np.argsort(things.astype(np.int16) if ctx.rows < 2**15 else things, kind="stable"))
        bounds = np.append(starts.numpy(), len(things))
        owners = torch.from_numpy(np.repeat(np.arange(len(starts)), np.diff(bounds)))
        first = np.zeros(ctx.rows, np.int64)
        np.cumsum(np.bincount(things, minlength=ctx.rows)[:-1], out=first[1:])
        made = F.embedding_bag(
            owners[order], gradient.contiguous(), torch.from_numpy(first), mode="sum", per_sample_weights=weights[order]
        )
        return made, None, None, None
