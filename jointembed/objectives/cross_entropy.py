"""Cross entropy over a large table without the matrix of its scores, and over a sample of the table."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

# B rows, D dimension, K ids of the table, C candidates

CPU_BLOCK_SCORES = 2**18  # scores at once on a CPU: they stay in its cache
GPU_BLOCK_ROWS, GPU_BLOCK_IDS = 1024, 8192  # scored at once elsewhere, where many small steps would be slow


def exact(a: Tensor, b: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the cross entropies of softmax(a @ b.T), a number.

    The matrix of scores (B, K) is computed in parts, which are used for the gradients and freed. A large table
    is read twice: for the logarithm of the sum of all exponentials, updated part by part (Milakov and Gimelshein
    2018), and for the gradients.

    Args:
        a: queries (B, D).
        b: the table, (K, D).
        target: (B,) int64, which row of the table is right.
        weights: (B,) of each row in the sum; no gradient flows into them.
    """
    with torch.autocast(a.device.type, enabled=False):  # the gradients are products, too
        dtype = torch.promote_types(a.dtype, b.dtype)
        return cast(Tensor, _Exact.apply(a.to(dtype), b.to(dtype), target, weights))


def block(b: Tensor) -> tuple[int, int]:
    """How many rows and ids are scored at once."""
    if not b.is_cpu:
        return GPU_BLOCK_ROWS, GPU_BLOCK_IDS
    wide = len(b) if len(b) <= 4096 else 512
    return CPU_BLOCK_SCORES // wide, wide


class _Exact(torch.autograd.Function):
    """Gradients are computed in the forward pass, where each part of the scores is at hand."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        losses = a.new_zeros(())
        ga, gb = torch.zeros_like(a), torch.zeros_like(b)
        rows, wide = block(b)
        parts = [(b[first : first + wide], gb[first : first + wide]) for first in range(0, len(b), wide)]
        for first in range(0, len(a), rows):
            batch = slice(first, first + rows)
            queries, right, shares = a[batch], b[target[batch]], weights[batch, None]
            own = (queries * right).sum(1)
            norm = own.new_full((len(queries), 1), -torch.inf)
            scores = queries.new_empty(0)
            for part, _ in parts:
                scores = queries @ part.T
                peak = scores.amax(1, keepdim=True)
                total = scores.sub_(peak).exp_().sum(1, keepdim=True)
                norm = torch.logaddexp(norm, peak + total.log())
            losses += ((norm[:, 0] - own) * weights[batch]).sum()
            # Of a single part the exponentials are there already, apart from their sum.
            shared = shares / total if len(parts) == 1 else shares
            scaled, ga_batch = queries * shared, ga[batch]
            for part, gb_part in parts:
                scores = scores if len(parts) == 1 else (queries @ part.T).sub_(norm).exp_()
                ga_batch.addmm_(scores, part)
                gb_part.addmm_(scores.T, scaled)
            ga_batch.mul_(shared).sub_(right * shares)
            gb.index_add_(0, target[batch], queries * -shares)
        ctx.gradients = ga, gb
        return losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        # Not kept as saved tensors are, so that the table's is there once, and is handed on without a copy.
        (ga, gb), ctx.gradients = ctx.gradients, None
        return ga.mul_(gradient), gb.mul_(gradient), None, None


def sampled(
    a: Tensor, own: Tensor, rows: Tensor, negatives: Tensor, expected: Tensor, accidental_hits: Tensor, weights: Tensor
) -> Tensor:
    """The weighted sum of the cross entropies of targets, a number.

    The candidates of a query are its own targets, and those negatives that are not among them:
    softmax([own, a @ negatives.T - expected]).

    Args:
        a: queries (B, D).
        own: (P,) the score of each target.
        rows: (P,) the query of each target.
        negatives: candidates for all queries, (C, D).
        expected: (C,) the logarithm of how often each is expected among the candidates; without a gradient.
        accidental_hits: (B, C) whether a candidate is a target of the query, and so does not count.
        weights: (P,) of each target in the sum; no gradient flows into them.
    """
    with torch.autocast(a.device.type, enabled=False):  # the gradients are products, too
        a, own, negatives = (x.to(torch.promote_types(a.dtype, own.dtype)) for x in (a, own, negatives))
        return cast(Tensor, _Sampled.apply(a, own, rows, negatives, expected, accidental_hits, weights))


class _Sampled(torch.autograd.Function):
    """Gradients are computed in the forward pass, so that the scores (B, C) are held once and never copied."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        own: Tensor,
        rows: Tensor,
        negatives: Tensor,
        expected: Tensor,
        accidental_hits: Tensor,
        weights: Tensor,
    ) -> Tensor:
        scores = torch.addmm(-expected, a, negatives.T)
        peak = scores.amax(1).scatter_reduce(0, rows, own, "amax")
        # Hits are masked after the exponential, which is several times slower on infinities.
        scores = scores.sub_(peak[:, None]).exp_().masked_fill_(accidental_hits, 0)
        right = (own - peak[rows]).exp_()
        total = scores.sum(1).index_add_(0, rows, right)
        row_weights = torch.zeros_like(total).index_add_(0, rows, weights)
        shares = row_weights / torch.where(row_weights > 0, total, 1)
        scores.mul_(shares[:, None])
        ctx.save_for_backward(scores @ negatives, right.mul_(shares[rows]).sub_(weights), scores.T @ a)
        norms = torch.where(row_weights > 0, total, 1).log() + peak
        return (norms * row_weights).sum() - (own * weights).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ga, gown, gothers = ctx.saved_tensors
        return ga * gradient, gown * gradient, None, gothers * gradient, None, None, None
