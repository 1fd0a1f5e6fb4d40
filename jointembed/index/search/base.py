"""The protocol of a nearest-neighbor search.

Letters: N rows, M queries, D dimension, K results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.intp]
Queries = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Exclusions = Sequence[Positions]


class NearestNeighbors(Protocol):
    """Finds the rows whose vectors have the highest scores with a query."""

    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """Return the K = min(k, number of allowed rows) best rows for each query, best first.

        Args:
            queries: (M, D); of length 1 if the metric is cosine.
            k: number of results, at least 1.
            allowed: ascending positions of the rows to search; all rows if None.
            exclude: for each query, positions that must not be returned; none if None.

        Returns:
            Positions and float64 scores, both (M, K). Equal scores stand in row order. A query left with fewer than K
            rows by `exclude` is padded with position -1 and score -inf.
        """
        ...


def contains(ascending: Positions, positions: Positions) -> npt.NDArray[np.bool_]:
    """Return for each of a few positions whether it is among many ascending ones."""
    if not len(ascending):
        return np.zeros(len(positions), bool)
    nearest = ascending[np.minimum(np.searchsorted(ascending, positions), len(ascending) - 1)]
    return np.equal(nearest, positions)


def fetch_count(k: int, exclude: Exclusions | None) -> int:
    """Return how many results to fetch so that k are left after the exclusions."""
    return k + max(map(len, exclude), default=0) if exclude is not None else k


def drop_excluded(positions: Positions, scores: Scores, k: int, exclude: Exclusions | None) -> tuple[Positions, Scores]:
    """Remove each query's exclusions from its results (M, n), and return the best min(k, n) of the rest, padded."""
    if exclude is None or not any(map(len, exclude)):
        return positions[:, :k], scores[:, :k]
    if len(positions) == 1:  # the usual case, in a third of the time
        kept_columns = np.flatnonzero(~np.isin(positions[0], exclude[0]))[:k]
        if len(kept_columns) == min(k, positions.shape[1]):
            return positions[:, kept_columns], scores[:, kept_columns]
    keep = np.array([~np.isin(row, excluded) for row, excluded in zip(positions, exclude, strict=True)], bool)
    return take_first(positions, scores, k, keep)


def take_first(positions: Positions, scores: Scores, k: int, keep: npt.NDArray[np.bool_]) -> tuple[Positions, Scores]:
    """Return the first min(k, n) results of (M, n) for which `keep` is true, padded with -1 and -inf."""
    k = min(k, positions.shape[1])
    order = np.argsort(~keep, 1, kind="stable")[:, :k]
    is_kept = np.take_along_axis(keep, order, 1)
    first = np.where(is_kept, np.take_along_axis(positions, order, 1), -1)
    return first, np.where(is_kept, np.take_along_axis(scores, order, 1), -np.inf)
