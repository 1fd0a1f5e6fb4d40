"""Assigns rows to batches, deterministically by seed and epoch, on any number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler, SequentialSampler

from ..objectives import distributed

Rows = NDArray[np.int64]
BatchSpec = tuple[int, int, Rows]  # epoch, number of the batch among those of all processes, row numbers


@dataclass
class Neighborhoods:
    """Rows that come into the same batches of an epoch.

    Args:
        places: (N,) the place of each row of the table in an order in which similar rows are near each other; None for
            random batches.
        size: rows that come together; a batch has several such neighborhoods.
    """

    places: NDArray[np.int64] | None = None
    size: int = 1


class RowBatchSampler(DistributedSampler[BatchSpec], SequentialSampler):
    """Batches of row numbers for one process of a distributed run.

    By its base classes, Lightning neither divides the batches once more, nor replaces the sampler to overfit.

    In training, rows are shuffled by seed and epoch, and an incomplete last batch is dropped. Otherwise rows keep their
    order, each is seen exactly once over all processes, and every process gets the same number of batches, including
    empty ones.

    Args:
        rows: N row numbers.
        batch_size: rows in a batch of one process.
        train: shuffle, and drop an incomplete last batch.
        seed: the seed of the shuffling.
        groups: (N,) a group for each row; every group contributes equally many rows to an epoch, repeated if needed.
        epoch_rows: rows in an epoch; N by default.
        same_batches: in training, every epoch has the batches of the first.
        neighborhoods: which rows come together in training; see `Neighborhoods`.
        num_replicas: processes that train together; by default those of torch's process group.
        rank: the number of this process among them.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        train: bool,
        seed: int = 0,
        groups: NDArray[np.int64] | None = None,
        epoch_rows: int | None = None,
        same_batches: bool = False,
        neighborhoods: Neighborhoods | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        self.rows, self.batch_size, self.train, self.seed, self.groups = rows, batch_size, train, seed, groups
        self.same_batches, self.neighborhoods = same_batches, neighborhoods
        self.total = (epoch_rows or len(rows)) if train else len(rows)
        self.num_replicas = distributed.world() if num_replicas is None else num_replicas
        self.rank = distributed.rank() if rank is None else rank
        self.epoch = 0
        self.start = (0, 0)  # the epoch in which a run goes on, and its first batch; other epochs begin at 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which Lightning does at its start."""
        self.epoch = epoch

    def __len__(self) -> int:
        step = self.batch_size * self.num_replicas
        return max(1, self.total // step) if self.train else -(-self.total // step)

    def __iter__(self) -> Iterator[BatchSpec]:  # type: ignore[override]
        order = self._shuffle() if self.train else self.rows
        step = self.batch_size * self.num_replicas
        start_epoch, first = self.start
        for number in range(first if self.epoch == start_epoch else 0, len(self)):
            chunk = order[number * step : (number + 1) * step]
            part = np.array_split(chunk, self.num_replicas)[self.rank]
            # No two processes get the same number, which seeds the augmentation of the rows.
            yield self.epoch, number * self.num_replicas + self.rank, part

    def _shuffle(self) -> Rows:
        rng = np.random.default_rng([self.seed, 0 if self.same_batches else self.epoch])
        order = self._draw(rng)
        if self.neighborhoods is None or self.neighborhoods.places is None:
            return order
        size = self.neighborhoods.size
        order = order[np.argsort(self.neighborhoods.places[order], kind="stable")]
        blocks = np.split(order, range(size, len(order), size))
        return np.concatenate([blocks[number] for number in rng.permutation(len(blocks))])

    def _draw(self, rng: np.random.Generator) -> Rows:
        if self.groups is None:
            return _repeat_shuffled(self.rows, self.total, rng)
        names = np.unique(self.groups)
        shares = [self.total // len(names) + (number < self.total % len(names)) for number in range(len(names))]
        parts = [
            _repeat_shuffled(self.rows[self.groups == name], share, rng)
            for name, share in zip(names, shares, strict=True)
        ]
        order: Rows = rng.permutation(np.concatenate(parts))
        return order


def _repeat_shuffled(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """`count` rows: all of them in random order, then all of them again in another."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]
