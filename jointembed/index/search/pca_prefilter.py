"""An upper bound on every score from a quarter of the numbers of a vector, which rules out most rows.

The vectors are rotated onto their principal axes (of the second moments: no mean is subtracted, which keeps every
product), so that their first numbers hold most of their squared norm. A product is then at most the product of the
first numbers plus the product of the norms of the rest (Cauchy-Schwarz), which are stored beside them. Only a row whose
bound lies below the k-th best score is ruled out, so the search stays exact.

Letters: N rows, D dimension, P principal axes, M queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .base import Float32s, Positions, Queries
from .memmap import iter_slices
from .rounding import relative_error
from .single import GROUP_ROWS, group_max
from .vectors import Vectors

_SEEDS_PER_RESULT = 4  # rows scored in full for a lower bound on the k-th best score
_SAMPLE_ROWS = 16_384  # rows from which the number of axes is chosen
_SAMPLE_QUERIES = 16
_AXES_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2)  # numbers of axes that are tried, relative to the dimension
_GATHER_COST = 6  # gathering a row costs as much as reading this many rows in sequence
_MAX_RELATIVE_COST = 0.75  # relative to the full product, above which the prefilter is not worth its memory
_MAX_BOUNDS = 16_777_216  # bounds in memory at once: 64 MB


@dataclass(frozen=True, eq=False)
class PcaPrefilter:
    """The vectors on their first principal axes, with the norm of the rest.

    Args:
        vectors: the whole vectors.
        axes: (D, P) float32.
        head: (N, P + 1) float32: the vectors on the axes, then an upper bound on the norm of the rest; with the metric
            euclidean (N, P + 2), then minus the squared norm. `head @ project_query(query)` bounds the scores.
    """

    vectors: Vectors
    axes: Float32s
    head: Float32s

    @classmethod
    def fit(cls, vectors: Vectors) -> PcaPrefilter | None:
        """Choose the number of axes that costs least on a sample; None if no choice beats the full product."""
        values, is_euclidean = vectors.values, vectors.metric == "euclidean"
        count, dim = values.shape
        step = max(1, count // _SAMPLE_ROWS)
        sample = np.concatenate(
            [values[-(-rows.start // step) * step : rows.stop : step].copy() for rows in iter_slices(values)]
        )
        queries = sample[:: max(1, len(sample) // _SAMPLE_QUERIES)][:_SAMPLE_QUERIES].astype(np.float64)
        axes = np.linalg.eigh(sample.T.astype(np.float64) @ sample)[1][:, ::-1].astype(np.float32)
        sampled = Vectors(sample, vectors.metric)
        rank = 1 + max(1, round(10 * len(sample) / count))  # the 10th best of all rows; the query itself is a row
        scores = np.empty((len(sample), len(queries)), np.float32)
        sampled.approx_scores(slice(None), np.ascontiguousarray(queries.T, np.float32), scores)
        kth_scores = np.sort(scores, 0)[-rank]
        costs = {}
        for size in sorted({max(1, round(dim * share) - 1 - is_euclidean) for share in _AXES_SHARES}):
            trial = cls._project(sampled, axes[:, :size])
            share_left = np.mean([
                (trial.head @ trial.project_query(query) >= score).mean()
                for query, score in zip(queries, kth_scores, strict=True)
            ])  # fmt: skip
            costs[size] = (size + 1 + is_euclidean + float(share_left) * dim * _GATHER_COST) / dim
        size = min(costs, key=lambda size: costs[size])
        return cls._project(vectors, axes[:, :size]) if costs[size] <= _MAX_RELATIVE_COST else None

    @classmethod
    def _project(cls, vectors: Vectors, axes: Float32s) -> PcaPrefilter:
        axes = np.ascontiguousarray(axes)
        size, slack, is_euclidean = axes.shape[1], np.float32(_residual_slack(axes)), vectors.metric == "euclidean"
        head = np.empty((len(vectors), size + 1 + is_euclidean), np.float32)
        for rows in iter_slices(vectors.values):  # the product is a copy, which need not be as long as the whole
            head[rows, :size] = vectors.values[rows] @ axes
            explained = np.einsum("np,np->n", head[rows, :size], head[rows, :size])
            squares = vectors.squares[rows]
            head[rows, size] = np.sqrt(np.maximum(0, squares - explained) + slack * squares)
        if is_euclidean:
            head[:, size + 1] = -vectors.squares
        return cls(vectors, axes, head)

    def candidates(self, queries: Queries, k: int) -> list[Positions | None]:
        """Return for each query (M, D) ascending positions that hold its k best rows; None if too many rows are left.

        The time of a few queries is that of reading `head`, so they take hardly longer than one.
        """
        if k * _SEEDS_PER_RESULT * GROUP_ROWS > len(self.head):
            return [None] * len(queries)
        step = max(1, _MAX_BOUNDS // len(self.head))
        results: list[Positions | None] = []
        for block in (queries[start : start + step] for start in range(0, len(queries), step)):
            bounds = np.array([self.project_query(query) for query in block]) @ self.head.T  # (M, N)
            errors = self.vectors.score_error(block) * np.float32(2 * (1 + self.axes.shape[1] ** 0.5))
            results += [self._rule_out(*row, k) for row in zip(block, bounds, errors.tolist(), strict=True)]
        return results

    def _rule_out(self, query: npt.NDArray[np.float64], bounds: Float32s, error: float, k: int) -> Positions | None:
        """Return the positions whose bounds (N,) reach the k-th best score of some promising rows."""
        best = group_max(bounds)
        place = len(best) - k * _SEEDS_PER_RESULT
        groups = np.flatnonzero(best >= np.partition(best, place)[place])  # in half the time of argpartition
        within = bounds[: len(best) * GROUP_ROWS].reshape(GROUP_ROWS, -1)[:, groups].argmax(0)
        kth_score = np.sort(self.vectors.approx_scores_at(groups + len(best) * within, query))[-k]
        positions = np.flatnonzero(bounds >= kth_score - error)
        return positions if len(positions) * _GATHER_COST < len(bounds) else None

    def project_query(self, query: npt.NDArray[np.float64]) -> Float32s:
        """Return a query (D,) in the form that `head` expects: its projection, then the norm of the rest."""
        projected = query @ self.axes.astype(np.float64)
        square = float(query @ query)
        rest = np.sqrt(max(0.0, square - float(projected @ projected)) + _residual_slack(self.axes) * square)
        if self.vectors.metric == "euclidean":
            return np.asarray([*2 * projected, 2 * rest, 1], np.float32)
        return np.asarray([*projected, rest], np.float32)


def _residual_slack(axes: Float32s) -> float:
    """Bound the rounding error of the squared norm outside the axes (D, P), relative to the whole squared norm."""
    return relative_error(len(axes)) * float(1 + axes.shape[1] ** 0.5)
