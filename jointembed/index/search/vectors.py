"""All vectors of one column as one array, and the exact nearest among them.

Letters: N rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from . import bfloat16
from .bfloat16 import BFloat16Vectors
from .ivf import IvfIndex
from .mapped import leave, passing
from .pca_prefilter import Prefix, build, least
from .rounding import TINY, share, unflagged

_CHUNK = 8_192  # rows scored a second time at once
_FEW = 6  # of so many vectors one, picked out, costs as much as all of them in a row
_MANY = 20_000  # vectors from which on it pays to look at a prefix first
_LISTED = 200  # results up to which a graph is asked
_SOON = 12  # candidates a result up to which it is soonest to score them all in float64
_OFTEN = 3  # queries after which that is worth its making


@dataclass
class Matrix:
    """The vectors of one column of one generation, in the order in which their rows came.

    Args:
        state: which commit of the store they are of.
        numbers: (N,) int64, the rows' numbers, ascending.
        values: (N, D) float32, read only.
        metric: `cosine`, `dot` or `euclidean`.
        graph: what tells of a few vectors that they may be near, instead of a look at all; it may err.
        prefix: what tells of most vectors at once that they are not near; None if nothing does, or not yet.
        turns: counts the queries.
        codes: of cells by their names, what `rows.labels` makes of those of these rows.
    """

    state: str
    numbers: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    metric: str
    graph: IvfIndex | None = field(default=None, repr=False, compare=False)
    prefix: Prefix | None = field(default=None, repr=False, compare=False)
    turns: Iterator[int] = field(default_factory=count, repr=False, compare=False)
    codes: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def squares(self) -> npt.NDArray[np.float32]:
        """The squared lengths (N,), each more by the same that is next to nothing; see `rounding.py`."""
        squares = np.empty(len(self.values), np.float32)
        for rows in passing(self.values):
            squares[rows] = np.einsum("nd,nd->n", self.values[rows], self.values[rows])
        return squares + np.float32(TINY)

    @cached_property
    def scale(self) -> float:
        """How far apart the vectors lie: 1 if the metric is cosine, else the root of the mean square of a sample's.

        With the metric dot they are lengths, with euclidean distances from the mean.
        """
        if self.metric == "cosine" or not len(self.values):
            return 1.0
        some = self.values[:: max(1, len(self.values) // _CHUNK)].astype(np.float64)
        some = some - some.mean(0) if self.metric == "euclidean" else some
        return float(np.sqrt(np.square(some).sum(1).mean())) or 1.0

    @cached_property
    def half(self) -> BFloat16Vectors | None:
        """The vectors in bfloat16; None where that is no gain."""
        return bfloat16.made(self.values, self.metric)

    def only(self, places: npt.NDArray[np.intp]) -> Matrix:
        """The vectors at some ascending places, copied."""
        return Matrix(self.state, self.numbers[places], self.values[places], self.metric)

    def find(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The places of these rows' vectors, ascending; rows without a vector here have none."""
        places = np.searchsorted(self.numbers, numbers)
        inside = places < len(self.numbers)
        places = places[inside]
        return np.sort(places[self.numbers[places] == numbers[inside]])

    @unflagged
    def nearest(
        self,
        query: npt.NDArray[np.float64],
        k: int,
        pool: npt.NDArray[np.intp] | None = None,
        metric: str | None = None,
        without: npt.NDArray[np.intp] | None = None,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The k best of the vectors, or of those at the places `pool`, exactly; equals stay in their order.

        Float32 products find all that may be among the best, given their rounding error (see `rounding.py`); these few
        are scored again in float64. Of many vectors that are asked more than a few times, the first numbers alone tell
        of most that they are not; see `prefix.py`.

        Args:
            query: (D,); of length 1 if the metric is cosine.
            k: how many.
            pool: ascending places, all if None.
            metric: another one than that of the vectors.
            without: places of a few that are not wanted.

        Returns:
            Places and scores, the best first. The score is minus the squared distance if the metric is euclidean,
            else the product.
        """
        if without is not None and len(without):
            places, scores = self.nearest(query, k + len(without), pool, metric)
            wanted = ~np.isin(places, without)
            return places[wanted][:k], scores[wanted][:k]
        metric, single = metric or self.metric, query.astype(np.float32)
        k = min(k, len(self.numbers) if pool is None else len(pool))
        if k == 0:
            return np.empty(0, np.intp), np.empty(0)
        few: npt.NDArray[np.intp] | None = None
        first = False
        if pool is None and metric == self.metric and self.graph is not None and k <= _LISTED:
            few = self.graph.may(query, k)
        elif pool is None and metric == self.metric:
            turn = next(self.turns)
            if turn == _OFTEN and len(self.numbers) >= _MANY:  # in one of the threads that share them
                self.prefix = build(self)
            first = turn < _OFTEN
            if turn % _OFTEN**3 == 0:  # of rows that are picked out, much of their neighbourhood is read with them
                leave(self.values)
            if self.prefix is not None:
                few = self.prefix.may(self, query, k)
        if few is None or len(few) < k:
            places = self._may(single, k, pool, metric, first)
        else:
            places = few if len(few) <= _SOON * k else self._may(single, k, few, metric)
        exact = np.concatenate(
            [self._exact(places[at : at + _CHUNK], query, metric) for at in range(0, len(places), _CHUNK)]
        )
        best = np.argsort(-exact, kind="stable")[:k]
        return places[best], exact[best]

    def _may(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        pool: npt.NDArray[np.intp] | None,
        metric: str,
        first: bool = False,
    ) -> npt.NDArray[np.intp]:
        """The ascending places of all that may be among the k best; a first look keeps nothing in memory."""
        few = pool is not None and len(pool) < len(self.numbers) // _FEW
        if first:
            scores = np.concatenate([self.values[rows] @ query for rows in passing(self.values)])
        else:
            scores = (self.values[pool] if few else self.values) @ query
        if pool is not None and not few:
            scores = scores[pool]
        wide: Any = np.float32(share(len(query)))
        if metric != "cosine":
            squares, length = self.squares if pool is None else self.squares[pool], query @ query + np.float32(TINY)
            if metric == "dot":
                wide = wide * np.sqrt(length) * np.sqrt(squares)  # their product may have no float32
            else:
                wide = 2 * wide * (squares + length)
                scores *= 2
                scores -= squares
        if np.ndim(wide):
            places = np.flatnonzero(scores + wide >= least(scores - wide, k))
        else:
            places = np.flatnonzero(scores >= least(scores, k) - 2 * wide)
        return places if pool is None else pool[places]

    def error(self, queries: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """How far the rough scores of queries (B, D) may be from the true ones, for each (B,)."""
        most = 1.0 if self.metric == "cosine" else float(self.squares.max(initial=0))
        lengths = np.square(queries).sum(1) + TINY
        wide = 2 * (most + lengths) if self.metric == "euclidean" else np.sqrt(most * lengths)
        return np.asarray(share(queries.shape[1]) * wide, np.float32)

    def roughly(
        self, rows: slice, queries: npt.NDArray[np.float32], room: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Scores (C, B) of some rows with queries (D, B), less what is the same for all rows; see `error`.

        They are written into `room`, which holds at least as many.
        """
        some = self.values[rows]
        scores = np.matmul(some, queries, out=room[: len(some)])
        if self.metric == "euclidean":
            scores *= 2
            scores -= self.squares[rows, None]
        return scores

    def rough(self, places: npt.NDArray[np.intp], query: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Scores (n,) of the vectors at some places, less what is the same for all rows; see `error`."""
        scores = self.values[places] @ query.astype(np.float32)
        return 2 * scores - self.squares[places] if self.metric == "euclidean" else scores

    def pairs(
        self, places: npt.NDArray[np.intp], queries: npt.NDArray[np.float64], who: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """The scores (n,) in float64 of pairs: the vectors at some places, and for each the number of a query."""
        made = np.empty(len(places))
        for at in range(0, len(places), _CHUNK):
            part = slice(at, at + _CHUNK)
            made[part] = self._exact(places[part], queries[who[part]], self.metric)
        return made

    def scored(self, places: npt.NDArray[np.intp], query: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The scores (n,) of the vectors at some places, in float64."""
        return self._exact(places, query, self.metric)

    def _exact(
        self, places: npt.NDArray[np.intp], query: npt.NDArray[np.float64], metric: str
    ) -> npt.NDArray[np.float64]:
        values = self.values[places].astype(np.float64)
        if metric == "euclidean":
            return np.asarray(-np.square(values - query).sum(1))
        return np.asarray((values * query).sum(1))
