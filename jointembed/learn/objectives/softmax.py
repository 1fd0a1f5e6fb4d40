"""The softmax over all of a large table, without the matrix of its scores; and over a sample of it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

# B rows, D dimension, K known things, C candidates

ROWS = 1024  # scored at once
WIDE = 8192  # known things scored at once


def cross_entropy(a: Tensor, b: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the cross entropies of softmax(a @ b.T), a number.

    The matrix of scores (B, K) is never there as a whole: a part of it at a time is computed, used for the gradients
    and let go. A table of more than `WIDE` rows is gone through twice: once for the logarithm of the sum of all
    exponentials, kept up to date part by part (Milakov and Gimelshein 2018), once for the gradients.

    Args:
        a: what asks, (B, D).
        b: the table, (K, D).
        target: (B,) int64, which row of the table is right.
        weights: (B,) of each row in the sum; no gradient flows into them.
    """
    return cast(Tensor, _Exact.apply(a, b, target, weights))


class _Exact(torch.autograd.Function):
    """Its gradients are made in the forward pass, where each part of the scores is at hand."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        losses = a.new_zeros(())
        ga, gb = torch.zeros_like(a), torch.zeros_like(b)
        for first_row in range(0, len(a), ROWS):
            block = slice(first_row, first_row + ROWS)
            asks, right, shares = a[block], b[target[block]], weights[block, None]
            own = (asks * right).sum(1)
            norm = own.new_full((len(asks), 1), -torch.inf)
            parts = [(first, b[first : first + WIDE]) for first in range(0, len(b), WIDE)]
            scores = asks.new_empty(0)
            for _, part in parts:
                scores = asks @ part.T
                peak = scores.amax(1, keepdim=True)
                total = scores.sub_(peak).exp_().sum(1, keepdim=True)
                norm = torch.logaddexp(norm, peak + total.log())
            losses += ((norm[:, 0] - own) * weights[block]).sum()
            for first, part in parts:
                # Of a single part the exponentials are there already, apart from their sum.
                scores = (
                    scores.mul_(shares / total) if len(parts) == 1 else (asks @ part.T).sub_(norm).exp_().mul_(shares)
                )
                ga[block].addmm_(scores, part)
                gb[first : first + WIDE].addmm_(scores.T, asks)
            ga[block].sub_(right * shares)
            gb.index_add_(0, target[block], asks * -shares)
        ctx.save_for_backward(ga, gb)
        return losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        ga, gb = ctx.saved_tensors
        return ga * gradient, gb * gradient, None, None


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
