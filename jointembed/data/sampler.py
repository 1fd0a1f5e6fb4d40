"""Which rows make which batch: the same for the same seed and epoch, on any number of workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..objectives import distributed

Rows = NDArray[np.int64]
BatchSpec = tuple[int, int, Rows]  # epoch, number of the batch, row numbers


class RowBatchSampler(Sampler[BatchSpec]):
    """Batches of row numbers for one process among many.

    In training, rows are shuffled by seed and epoch, and an incomplete last batch is left out. Otherwise rows come in
    their order, each exactly once over all processes, and every process gets equally many batches, some perhaps empty.

    Args:
        rows: N row numbers.
        batch_size: rows a batch and process.
        train: shuffle and leave out the rest.
        seed: of the shuffling.
        groups: (N,) a group for each row; each group then gives equally many rows to an epoch, as often as need be.
        epoch_rows: rows an epoch; N if not given.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        train: bool,
        seed: int = 0,
        groups: NDArray[np.int64] | None = None,
        epoch_rows: int | None = None,
    ) -> None:
        self.rows, self.batch_size, self.train, self.seed, self.groups = rows, batch_size, train, seed, groups
        self.total = (epoch_rows or len(rows)) if train else len(rows)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells here which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        step = self.batch_size * distributed.world()
        return max(1, self.total // step) if self.train else -(-self.total // step)

    def __iter__(self) -> Iterator[BatchSpec]:
        order = self._shuffled() if self.train else self.rows
        world = distributed.world()
        rank = distributed.rank()
        step = self.batch_size * world
        for number in range(len(self)):
            chunk = order[number * step : (number + 1) * step]
            yield self.epoch, number, np.array_split(chunk, world)[rank]

    def _shuffled(self) -> Rows:
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.groups is None:
            return _cycled(self.rows, self.total, rng)
        kinds = np.unique(self.groups)
        shares = [self.total // len(kinds) + (number < self.total % len(kinds)) for number in range(len(kinds))]
        parts = [_cycled(self.rows[self.groups == kind], share, rng) for kind, share in zip(kinds, shares, strict=True)]
        order: Rows = rng.permutation(np.concatenate(parts))
        return order


def _cycled(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """`count` of the rows: each once in random order, then all of them again."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]
