"""The score: how near two vectors of a space are. Training, ranking and evaluation all use it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .pair_products import pair_products

Metric = Literal["cosine", "dot", "euclidean"]


def _prepare(z: Tensor, metric: Metric, dim: int | None) -> Tensor:
    z = z if dim is None else z[..., :dim]
    return F.normalize(z, dim=-1) if metric == "cosine" else z


def score(a: Tensor, b: Tensor, metric: Metric, dim: int | None = None) -> Tensor:
    """How near each of a (..., N, D) is to each of b (..., M, D), as (..., N, M); see `Space.score`."""
    a, b = _prepare(a, metric, dim), _prepare(b, metric, dim)
    if metric != "euclidean":
        return a @ b.mT
    return 2 * a @ b.mT - a.square().sum(-1)[..., :, None] - b.square().sum(-1)[..., None, :]


def score_factors(a: Tensor, b: Tensor, metric: Metric, dim: int | None = None) -> tuple[Tensor, Tensor]:
    """Two matrices (N, E), (M, E) whose product is the score, apart from a constant for each row of a (N, D)."""
    a, b = _prepare(a, metric, dim), _prepare(b, metric, dim)
    if metric != "euclidean":
        return a, b
    return torch.cat([2 * a, -torch.ones_like(a[:, :1])], 1), torch.cat([b, b.square().sum(1, keepdim=True)], 1)


def pair_scores(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, metric: Metric, dim: int | None = None) -> Tensor:
    """How near row `rows[i]` of a (N, D) is to row `columns[i]` of b (M, D), as (P,); `rows` are non-decreasing."""
    left, right = score_factors(a, b, metric, dim)
    scores = pair_products(left, right, rows, columns)
    return scores - a[:, :dim].square().sum(1)[rows] if metric == "euclidean" else scores
