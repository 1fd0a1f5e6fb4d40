"""The vectors of a field at one version: a base that many versions share, and what has changed since.

Letters: N rows, D dimension, M queries, K results, n rows of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .search.base import Exclusions, Float32s, NearestNeighbors, Positions, Queries, Scores
from .search.exact import ExactSearch, SubsetSearch
from .search.ivf import IvfIndex
from .search.vectors import Vectors

Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_RECALL = 0.98  # recall@10 below which an approximate search is not used
_MAX_EXCLUDED = 256  # removed rows up to which results are fetched in excess; of more, all others are listed


class Segment:
    """Vectors in row order and their exact search, with all that it has prepared to be fast.

    Args:
        version: the version of the index that the vectors are of.
        keys: (n,) the keys of the rows, ascending.
        vectors: (n, D).
    """

    def __init__(self, version: str, keys: Keys, vectors: Vectors) -> None:
        self.version, self.keys, self.vectors = version, keys, vectors
        self.exact = ExactSearch(vectors)
        self.nearest: NearestNeighbors = self.exact

    @cached_property
    def euclidean(self) -> ExactSearch:
        """The search by distance, whatever the metric."""
        return ExactSearch(self.vectors.euclidean)


class VectorField:
    """The vectors of a field at one version. A position is that of a row among the rows with a vector, in row order.

    Args:
        base: the vectors of an earlier version, or of this one.
        changed: the rows that were written since, with their vectors.
        removed: the keys of the rows whose vectors were removed since.
    """

    def __init__(self, base: Segment, changed: Segment, removed: Keys) -> None:
        self.base, self.metric = base, base.vectors.metric
        self.approximate: NearestNeighbors | None = None
        dead = np.isin(base.keys, np.concatenate([removed, changed.keys])) if len(removed) + len(changed.keys) else None
        self.is_whole = dead is None
        if dead is None:
            self.keys = base.keys
            return
        keys = np.concatenate([base.keys[~dead], changed.keys])
        order = np.argsort(keys, kind="stable")
        self.keys = keys[order]
        position = np.empty(len(keys), np.intp)
        position[order] = np.arange(len(keys))
        alive = np.flatnonzero(~dead)
        self._parts = [
            _Part(base, alive, position[: len(alive)], np.flatnonzero(dead), len(keys)),
            _Part(changed, np.arange(len(changed.keys)), position[len(alive) :], np.empty(0, np.intp), len(keys)),
        ]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.base.vectors.values.shape[1])

    @cached_property
    def vectors(self) -> Vectors:
        """All vectors in one array (N, D), which is copied if there are changes."""
        return self.base.vectors if self.is_whole else Vectors(self.take(np.arange(len(self)), np.float32), self.metric)

    def positions_of(self, keys: npt.ArrayLike) -> Positions:
        """The ascending positions of rows; rows without a vector have none."""
        row_keys = np.asarray(keys, np.int64)
        positions = np.searchsorted(self.keys, row_keys)
        inside = positions < len(self.keys)
        positions = positions[inside]
        return np.sort(positions[self.keys[positions] == row_keys[inside]])

    def take(self, positions: Positions, dtype: Any = np.float64) -> Any:
        """The vectors (n, D) at some positions."""
        if self.is_whole:
            return self.base.vectors.values[positions].astype(dtype)
        values = np.empty((len(positions), self.dim), dtype)
        for part in self._parts:
            rows = part.rows_at(positions)
            values[rows >= 0] = part.segment.vectors.values[rows[rows >= 0]]
        return values

    def rescore(self, positions: Positions, query: Floats) -> Floats:
        """The exact scores (n,) of the rows at some positions with a query (D,)."""
        return Vectors(self.take(positions, np.float32), self.metric).rescore(np.arange(len(positions)), query)

    @property
    def rms_length(self) -> float:
        """The unit of length; see `Vectors.rms_length`. It is that of the base, unless this is empty."""
        return (
            self.base if len(self.base.keys) else self._parts[1].segment if not self.is_whole else self.base
        ).vectors.rms_length

    @property
    def nearest(self) -> NearestNeighbors:
        """The search of all rows: exact, unless there is a good approximate one."""
        return self.approximate or self._join("nearest")

    @cached_property
    def exact(self) -> NearestNeighbors:
        """The exact search of all rows."""
        return self._join("exact")

    @cached_property
    def euclidean(self) -> NearestNeighbors:
        """The exact search of all rows by distance, whatever the metric."""
        return self._join("euclidean")

    def searcher(self, allowed: Positions | None, torch: Any) -> NearestNeighbors:
        """An exact search for many queries among the rows at some positions; of torch see `ExactSearch`."""
        if allowed is not None:
            return SubsetSearch(self.vectors, allowed, torch)
        return self.exact if torch is None else ExactSearch(self.vectors, torch)

    def build_ivf(self) -> float:
        """Search the base by an inverted file from now on if that finds enough; return its recall@10."""
        ivf = IvfIndex.build(self.base.vectors, self.base.exact)
        if ivf.recall_at_10 >= MIN_RECALL:
            self.base.nearest = ivf
        return ivf.recall_at_10

    def _join(self, kind: str) -> NearestNeighbors:
        if self.is_whole:
            search: NearestNeighbors = getattr(self.base, kind)
            return search
        return _JoinedSearch(self._parts, [getattr(part.segment, kind) for part in self._parts], len(self))


class _Part:
    """The rows of a segment that a version still has.

    Args:
        segment: n rows.
        alive: ascending rows of the segment.
        positions: their positions in the field.
        dead: the other rows of the segment.
        count: N.
    """

    def __init__(self, segment: Segment, alive: Positions, positions: Positions, dead: Positions, count: int) -> None:
        self.segment, self.alive, self.dead = segment, alive, dead
        self.position = np.full(len(segment.keys) + 1, -1, np.intp)  # the last one is that of row -1
        self.position[alive] = positions
        self._row = np.full(count, -1, np.intp)
        self._row[positions] = alive

    def rows_at(self, positions: Positions) -> Positions:
        """The rows of the segment at some positions, -1 for those of another segment."""
        return self._row[positions]

    def search(
        self, nearest: NearestNeighbors, queries: Queries, k: int, allowed: Positions | None, exclude: Exclusions | None
    ) -> tuple[Positions, Scores]:
        """The best rows of this part, as positions in the field."""
        dead: Positions | None = self.dead
        if allowed is not None:
            rows = self.rows_at(allowed)
            allowed, dead = rows[rows >= 0], None
        elif len(self.dead) > _MAX_EXCLUDED:
            allowed, dead = self.alive, None
        excluded: list[Positions] | None = None
        if exclude is not None:
            excluded = [rows[rows >= 0] for rows in map(self.rows_at, exclude)]
        if dead is not None and len(dead):
            excluded = [np.concatenate([dead, rows]) for rows in excluded or [dead[:0]] * len(queries)]
        if not len(self.alive) or (allowed is not None and not len(allowed)):
            return np.empty((len(queries), 0), np.intp), np.empty((len(queries), 0))
        rows, scores = nearest.search(queries, k, allowed, excluded)
        return self.position[rows], scores


@dataclass(frozen=True)
class _JoinedSearch:
    """A search over the parts of a field whose results are those of a search over one array."""

    parts: Sequence[_Part]
    searches: Sequence[NearestNeighbors]
    count: int

    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """See `NearestNeighbors.search`."""
        k = min(k, self.count if allowed is None else len(allowed))
        results = [
            part.search(nearest, queries, max(k, 1), allowed, exclude)
            for part, nearest in zip(self.parts, self.searches, strict=True)
        ]
        positions = np.concatenate([positions for positions, _ in results], 1)
        scores = np.concatenate([scores for _, scores in results], 1)
        order = np.lexsort((positions, -scores), axis=1)[:, :k]
        positions, scores = np.take_along_axis(positions, order, 1), np.take_along_axis(scores, order, 1)
        return positions, scores


def empty_segment(version: str, dim: int, metric: str) -> Segment:
    """A segment without rows."""
    return Segment(version, np.empty(0, np.int64), Vectors(np.empty((0, dim), np.float32), metric))


def make_segment(version: str, keys: Keys, values: Float32s, metric: str) -> Segment:
    """A segment of read-only arrays."""
    for array in (keys, values):
        array.flags.writeable = False
    return Segment(version, keys, Vectors(values, metric))
