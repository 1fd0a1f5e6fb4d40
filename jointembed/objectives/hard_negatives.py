"""Hard negatives: scalable cross entropy (SCE), whose candidates are near their queries, in buckets of both."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import Count, Positive
from ..space.chunks import compute_in_chunks
from ..space.space import Space
from . import distributed
from .candidates import Candidates, Queries, Targets
from .losses import Loss

# P targets and their queries, K ids of a vocabulary, D dimension, G buckets, Q queries and C candidates of a bucket


class Buckets(Candidates):
    """The ids that score highest in a bucket of similar queries: hard negatives without scoring all of them.

    Centers are random combinations of the queries of a batch. A bucket holds the queries and the ids that score highest
    with its center, and each of its queries is scored against each of its ids. A query pays the highest of its losses,
    and nothing if it is in no bucket (Mezentsev et al. 2024). A query with several targets counts as several queries.
    Each process fills buckets of its own.

    Args:
        count: C, ids of a bucket.
        alpha: P queries fill `2 * sqrt(P) * alpha` buckets of `sqrt(P) / alpha` queries, so that each is in about two.
            A larger alpha gives more buckets, of fewer and more similar queries.
    """

    supports_mixup = False

    def __init__(self, count: Count = 256, alpha: Positive = 1.0) -> None:
        super().__init__()
        self.count, self.alpha = count, alpha

    def forward(self, loss: Loss, query: Queries, targets: Targets, space: Space, dim: int | None) -> Tensor:
        """The mean loss of the queries that are in a bucket; see `Candidates.forward`."""
        table = space.vocabulary_vectors(targets.column)  # (K, D)
        counted = (targets.ids < len(table)) & query.present[targets.rows]
        rows, ids = targets.rows[counted], targets.ids[counted]
        z = query.z[rows]  # (P, D)
        near_queries, near_ids = self._fill(*space.score_factors(z.detach(), table.detach(), dim))
        own = space.pair_scores(z, table, torch.arange(len(ids), device=ids.device), ids, dim)

        def compute(buckets: Tensor) -> Tensor:
            queries, candidates = near_queries[buckets], near_ids[buckets]  # (G, Q), (G, C)
            scores = space.score(F.embedding(queries, z), F.embedding(candidates, table), dim)  # (G, Q, C)
            scores = torch.cat([own[queries][..., None], scores], 2).flatten(0, 1)  # (G * Q, 1 + C)
            positives = torch.zeros_like(scores)
            positives[:, 0] = 1
            is_other = (candidates[:, None] != ids[queries][..., None]).flatten(0, 1)
            losses = loss(scores, positives, torch.cat([positives[:, :1] > 0, is_other], 1))
            return losses.view(queries.shape)

        losses = compute_in_chunks(compute, len(near_queries), query.chunks, ids.device)
        places = near_queries.flatten()
        highest = losses.new_zeros(len(ids)).scatter_reduce(0, places, losses.flatten(), "amax", include_self=False)
        weights = torch.zeros_like(highest)
        weights[places] = (1 / torch.bincount(rows, minlength=len(query.z))[rows[places]]).to(weights.dtype)
        return distributed.mean(highest, weights)

    @torch.no_grad()
    def _fill(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The queries (G, Q) of a (P, E) and the ids (G, C) of b (K, E) that score highest with random centers."""
        root = max(1.0, math.sqrt(len(a))) * self.alpha
        centers = torch.randn(math.ceil(2 * root), len(a), dtype=a.dtype, device=a.device) @ a
        queries = min(len(a), math.ceil(len(a) / root))
        return (
            (centers @ a.T).topk(queries, sorted=False).indices,
            (centers @ b.T).topk(min(self.count, len(b)), sorted=False).indices,
        )
