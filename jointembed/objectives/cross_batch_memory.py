"""Negatives from the last batches, for large numbers of them with small batches."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from ..arguments import Count, Natural
from ..ragged import Ragged
from ..space.encoded import Encoded, Mix
from ..space.space import Space
from .in_batch import InBatch
from .losses import Loss
from .pairs import Pairs

# B queries, P targets, M pairs in memory, D dimension of the space


class CrossBatchMemory(InBatch):
    """The targets of the batch, and those of the last batches as they were encoded then (XBM, Wang et al. 2020).

    Vectors change slowly once a training has settled, so that those of the last batches serve as candidates, as the
    queue of MoCo does (He et al. 2020): many wrong candidates with the encoders' work of a small batch. Keys and labels
    are remembered too, so that equal targets match. Mixed vectors are not remembered. `dev/loss` is that of the batch
    alone.

    Args:
        size: M, the last pairs of query and target that are remembered, of all processes together.
        warmup: first steps of the training, in which the vectors change fast and the batch is alone.
        log_q: see `InBatch`.
    """

    def __init__(self, size: Count = 4096, warmup: Natural = 100, log_q: bool = False) -> None:
        super().__init__(log_q)
        self.size, self.warmup = size, warmup
        # What was remembered before the batch of these queries, which are scored once for each nested dimension.
        self._before: tuple[weakref.ref[Tensor], list[Tensor]] | None = None

    def build_in_batch(self, space: Space, loss: Loss, name: str) -> None:
        """Make the memory; see `InBatch`."""
        super().build_in_batch(space, loss, name)
        self.register_buffer("queries", torch.zeros(self.size, space.dim))
        self.register_buffer("targets", torch.zeros(self.size, space.dim))
        self.register_buffer("keys", torch.zeros(self.size, 3, dtype=torch.int64))  # of query, target and label
        self.register_buffer("progress", torch.zeros(2, dtype=torch.int64))  # steps, and pairs stored so far

    def pair(self, query: Encoded, target: Encoded, x: Ragged | None, labels: Tensor | None) -> Pairs:
        """The pairs of the batch with those in memory behind them, which they join in training."""
        pairs = super().pair(query, target, x, labels)
        if not self.training:
            return pairs
        if self._before is None or self._before[0]() is not query.z:
            self._before = weakref.ref(query.z), self._recall()
            self._store(pairs)
        queries, targets, keys = self._before[1]
        query_keys, target_keys, label_keys = keys.unbind(1)

        def join(present: Tensor, mix: Mix | None) -> tuple[Tensor, Mix | None]:
            if mix is None:
                return torch.cat([present, present.new_ones(len(keys))]), None
            own = torch.arange(len(keys), device=keys.device) + len(present)
            mix = Mix(torch.cat([mix.partner, own]), torch.cat([mix.share, mix.share.new_ones(len(keys))]))
            return torch.cat([present, present.new_zeros(len(keys))]), mix

        queries_present, query_mix = join(pairs.queries_present, pairs.query_mix)
        targets_present, target_mix = join(pairs.targets_present, pairs.target_mix)
        rows = torch.arange(len(keys), device=keys.device) + len(pairs.queries)
        return replace(
            pairs,
            queries=torch.cat([pairs.queries, queries.to(pairs.queries.dtype)]),
            queries_present=queries_present,
            query_mix=query_mix,
            query_keys=torch.cat([pairs.query_keys, query_keys]),
            labels=None if pairs.labels is None else torch.cat([pairs.labels, label_keys]),
            targets=torch.cat([pairs.targets, targets.to(pairs.targets.dtype)]),
            targets_present=targets_present,
            target_mix=target_mix,
            target_keys=torch.cat([pairs.target_keys, target_keys]),
            target_rows=torch.cat([pairs.target_rows, rows]),
        )

    def _recall(self) -> list[Tensor]:
        """Copies of the queries (M, D), targets (M, D) and keys (M, 3) in memory, none of them during the warmup."""
        steps, stored = cast(Tensor, self.progress).tolist()
        count = min(stored, self.size) if steps >= self.warmup else 0
        return [cast(Tensor, part)[:count].clone() for part in (self.queries, self.targets, self.keys)]

    @torch.no_grad()
    def _store(self, pairs: Pairs) -> None:
        """Write the pairs of the batch over the oldest ones."""
        rows, progress = pairs.target_rows, cast(Tensor, self.progress)
        counted = pairs.targets_present & pairs.queries_present[rows]
        targets = counted.nonzero().squeeze(1)[-self.size :]
        rows = rows[targets]
        labels = torch.zeros_like(rows) if pairs.labels is None else pairs.labels[rows]
        places = (torch.arange(len(targets), device=rows.device) + progress[1]) % self.size
        cast(Tensor, self.queries)[places] = pairs.queries[rows].to(cast(Tensor, self.queries).dtype)
        cast(Tensor, self.targets)[places] = pairs.targets[targets].to(cast(Tensor, self.targets).dtype)
        keys = torch.stack([pairs.query_keys[rows], pairs.target_keys[targets], labels], 1)
        cast(Tensor, self.keys)[places] = keys
        progress += torch.tensor([1, len(targets)], device=progress.device)
