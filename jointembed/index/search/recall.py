"""The recall of an approximate search: the share of the 10 nearest rows that it finds.

Letters: N rows, D dimension, M queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import NearestNeighbors, Positions, Queries, Scores

RECALL_K = 10


class RecallSample:
    """Rows of an index as queries, each without itself, and the scores of their 10 nearest rows.

    Args:
        take: gives the vectors (n, D) of the rows at some positions, in float64.
        exact: finds the true neighbors.
        positions: (M,) of the rows.
    """

    def __init__(self, take: Callable[[Positions], Any], exact: NearestNeighbors, positions: Positions) -> None:
        self.queries: Queries = take(positions)
        self.exclude = list(positions[:, None])
        self.scores: Scores = exact.search(self.queries, RECALL_K, None, self.exclude)[1]

    def measure(self, nearest: NearestNeighbors) -> float:
        """The recall of a search; of rows with equal scores any will do."""
        scores = nearest.search(self.queries, RECALL_K, None, self.exclude)[1]
        return float((scores >= self.scores[:, -1:]).mean())


def draw_positions(count: int, size: int, seed: int) -> Positions:
    """Random ascending positions of `size` of N rows."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])
