"""The nearest rows of many queries, each with its own exclusions, in blocks.

Letters: M queries, D dimension, N rows, K results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from . import batch
from .vectors import Matrix

Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Wanted:
    """The rows that may be found, and at most one of them for each of some labels.

    Args:
        matrix: all vectors.
        pool: ascending places of the rows that may be found; all if None.
        labels: (N,) of every row a number: of equal ones one is found; no such bound if None.
    """

    matrix: Matrix
    pool: Places | None = None
    labels: npt.NDArray[np.int64] | None = None

    def nearest(
        self, queries: npt.NDArray[np.float64], k: int, excluded: Sequence[npt.NDArray[np.int64]]
    ) -> list[tuple[Places, npt.NDArray[np.float32]]]:
        """The places and scores of the k best for each query (M, D), the best first; of fewer rows, all.

        Args:
            queries: as `query.vector` makes them.
            k: results a query.
            excluded: of each query the places that are not wanted, ascending.
        """
        nothing = np.empty(0, np.intp), np.empty(0, np.float32)
        found = [nothing] * len(queries)
        left = np.arange(len(queries))
        ahead = k + max((len(one) for one in excluded), default=0)
        ahead = ahead * (1 if self.labels is None else 4)
        while len(left):
            places, scores = batch.nearest(self.searched, queries[left], ahead)
            if self.pool is not None:
                places = self.pool[places]
            short = []
            for at, near, score in zip(left.tolist(), places, scores, strict=True):
                kept = ~np.isin(near, excluded[at])
                near, score = near[kept], score[kept]
                if self.labels is not None:
                    first = np.sort(np.unique(self.labels[near], return_index=True)[1])
                    near, score = near[first], score[first]
                found[at] = near[:k], score[:k]
                if len(near) < k and ahead < len(self.searched.numbers):
                    short.append(at)
            left, ahead = np.array(short, np.intp), ahead * 4
        return found

    @cached_property
    def searched(self) -> Matrix:
        """The vectors that may be found."""
        return self.matrix if self.pool is None else self.matrix.only(self.pool)
