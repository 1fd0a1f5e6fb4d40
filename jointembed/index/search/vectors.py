"""The vectors of a field and their scores: approximate ones in float32, exact ones in float64.

The score of a row is its product with the query, or minus the squared distance if the metric is euclidean.

Letters: N rows, D dimension, M queries, C rows of a chunk, n positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .base import Float32s, Positions, Queries, Scores
from .memmap import iter_slices
from .rounding import TINY, relative_error

_CHUNK_ROWS = 8_192  # rows in float64 at once


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors that are compared by one metric.

    Args:
        values: (N, D) float32, read only; of length 1 if the metric is cosine.
        metric: `cosine`, `dot` or `euclidean`.
    """

    values: Float32s
    metric: str

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def squares(self) -> Float32s:
        """Squared norms (N,), plus `TINY`."""
        squares = np.empty(len(self), np.float32)
        for rows in iter_slices(self.values):
            squares[rows] = np.einsum("nd,nd->n", self.values[rows], self.values[rows])
        return squares + np.float32(TINY)

    @cached_property
    def rms_length(self) -> float:
        """The unit of length: 1 if the metric is cosine, else the root mean square over a sample.

        With the metric dot this is of the norms, with euclidean of the distances from the mean.
        """
        if self.metric == "cosine" or not len(self):
            return 1.0
        sample = self.values[:: max(1, len(self) // _CHUNK_ROWS)].astype(np.float64)
        sample = sample - sample.mean(0) if self.metric == "euclidean" else sample
        return float(np.sqrt(np.square(sample).sum(1).mean())) or 1.0

    @cached_property
    def euclidean(self) -> Vectors:
        """The same vectors, compared by distance whatever their own metric."""
        return self if self.metric == "euclidean" else Vectors(self.values, "euclidean")

    def take(self, positions: Positions) -> Vectors:
        """Copy the vectors at ascending positions."""
        return Vectors(self.values[positions], self.metric)

    def score_error(self, queries: Queries) -> Float32s:
        """Return for each query (M, D) the largest error (M,) of its approximate scores."""
        longest = 1.0 if self.metric == "cosine" else float(self.squares.max(initial=0))
        squares = np.square(queries).sum(1) + TINY
        magnitude = 2 * (longest + squares) if self.metric == "euclidean" else np.sqrt(longest * squares)
        return np.asarray(relative_error(queries.shape[1]) * magnitude, np.float32)

    def approx_scores(self, rows: slice, queries: Float32s, out: Float32s) -> Float32s:
        """Return the float32 scores (C, M) of a chunk of rows with queries (D, M), written into `out` (at least C, M).

        With the metric euclidean they leave out the squared norm of the query, which is the same for all rows.
        """
        values = self.values[rows]
        scores = np.matmul(values, queries, out=out[: len(values)])
        if self.metric == "euclidean":
            scores *= 2
            scores -= self.squares[rows, None]
        return scores

    def approx_scores_at(self, positions: Positions, query: npt.NDArray[np.float64]) -> Float32s:
        """Return the approximate scores (n,) of the rows at some positions with a query (D,)."""
        scores = self.values[positions] @ query.astype(np.float32)
        return 2 * scores - self.squares[positions] if self.metric == "euclidean" else scores

    def rescore(self, positions: Positions, queries: Queries, query_index: Positions | None = None) -> Scores:
        """Return the exact scores (n,) of the rows at some positions, in float64.

        The score of a pair has the same bits whatever else is scored with it.

        Args:
            positions: (n,).
            queries: one query (D,) for all positions, or (M, D).
            query_index: (n,), which of M queries each position is scored with.
        """
        scores = np.empty(len(positions))
        for start in range(0, len(positions), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            values = self.values[positions[part]].astype(np.float64)
            query = queries if query_index is None else queries[query_index[part]]
            if self.metric == "euclidean":
                scores[part] = -np.square(values - query).sum(1)
            else:
                scores[part] = (values * query).sum(1)
        return scores
