"""The softmax over all of a large table, without the matrix of its scores; and over a sample of it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

# B rows, D dimension, K known things, C candidates

CELLS = 2**18  # scores at once on a CPU: they stay in its own cache
ROWS, WIDE = 1024, 8192  # scored at once elsewhere, where many small steps would wait for each other


def cross_entropy(a: Tensor, b: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the cross entropies of softmax(a @ b.T), a number.

    The matrix of scores (B, K) is never there as a whole: a part of it at a time is computed, used for the gradients
    and let go. A large table is gone through twice: once for the logarithm of the sum of all exponentials, kept up to
    date part by part (Milakov and Gimelshein 2018), once for the gradients.

    Args:
        a: what asks, (B, D).
        b: the table, (K, D).
        target: (B,) int64, which row of the table is right.
        weights: (B,) of each row in the sum; no gradient flows into them.
    """
    return cast(Tensor, _Exact.apply(a, b, target, weights))


def block(b: Tensor) -> tuple[int, int]:
    """How many rows and known things are scored at once."""
    if not b.is_cpu:
        return ROWS, WIDE
    wide = len(b) if len(b) <= 4096 else 512
    return CELLS // wide, wide


class _Exact(torch.autograd.Function):
    """Its gradients are made in the forward pass, where each part of the scores is at hand."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        losses = a.new_zeros(())
        ga, gb = torch.zeros_like(a), torch.zeros_like(b)
        rows, wide = block(b)
        parts = [(b[first : first + wide], gb[first : first + wide]) for first in range(0, len(b), wide)]
        for first in range(0, len(a), rows):
            some = slice(first, first + rows)
            asks, right, shares = a[some], b[target[some]], weights[some, None]
            own = (asks * right).sum(1)
            norm = own.new_full((len(asks), 1), -torch.inf)
            scores = asks.new_empty(0)
            for part, _ in parts:
                scores = asks @ part.T
                peak = scores.amax(1, keepdim=True)
                total = scores.sub_(peak).exp_().sum(1, keepdim=True)
                norm = torch.logaddexp(norm, peak + total.log())
            losses += ((norm[:, 0] - own) * weights[some]).sum()
            # Of a single part the exponentials are there already, apart from their sum.
            shared = shares / total if len(parts) == 1 else shares
            asked, found = asks * shared, ga[some]
            for part, made in parts:
                scores = scores if len(parts) == 1 else (asks @ part.T).sub_(norm).exp_()
                found.addmm_(scores, part)
                made.addmm_(scores.T, asked)
            found.mul_(shared).sub_(right * shares)
            gb.index_add_(0, target[some], asks * -shares)
        ctx.made = ga, gb
        return losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        # Not kept as saved tensors are, so that the table's is there once, and is handed on without a copy.
        (ga, gb), ctx.made = ctx.made, None
        return ga.mul_(gradient), gb.mul_(gradient), None, None


def sampled(a: Tensor, own: Tensor, others: Tensor, expected: Tensor, hit: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the cross entropies of softmax([a * own, a @ others.T - expected]), a number.

    Args:
        a: what asks, (B, D).
        own: what is right for each, (B, D).
        others: candidates that are wrong for all, (C, D).
        expected: (C,) the logarithm of how often each is expected among the candidates; without a gradient.
        hit: (B, C) whether a candidate is what is right, and so does not count.
        weights: (B,) of each row in the sum; no gradient flows into them.
    """
    return cast(Tensor, _Sampled.apply(a, own, others, expected, hit, weights))


class _Sampled(torch.autograd.Function):
    """Its gradients are made in the forward pass, so that the scores (B, C) are kept in one place and never copied."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, own: Tensor, others: Tensor, expected: Tensor, hit: Tensor, weights: Tensor
    ) -> Tensor:
        mine = (a * own).sum(1, keepdim=True)
        scores = torch.addmm(-expected, a, others.T)
        peak = torch.maximum(scores.amax(1, keepdim=True), mine)
        # What does not count is put out after the exponential, which is several times as slow where it meets infinity.
        scores, first = scores.sub_(peak).exp_().masked_fill_(hit, 0), (mine - peak).exp()
        total = scores.sum(1, keepdim=True) + first
        shares = weights[:, None] / total
        scores.mul_(shares)
        right = first * shares - weights[:, None]
        ctx.save_for_backward(torch.addcmul(scores @ others, right, own), right * a, scores.T @ a)
        return ((total.log() + peak - mine)[:, 0] * weights).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ga, gown, gothers = ctx.saved_tensors
        return ga * gradient, gown * gradient, gothers * gradient, None, None, None
