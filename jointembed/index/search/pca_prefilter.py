"""The first numbers of rotated vectors, and a bound on the rest: most vectors are ruled out by a quarter of them.

The vectors are turned so that their first numbers hold as much of their squares as they can (principal axes, no mean
taken off, which keeps every product). A product is then that of the first numbers, give or take the product of the
lengths of the rest (Cauchy and Schwarz), which are kept beside them. What cannot reach the k-th best so is out; nothing
else is, so the search stays exact.

Letters: N rows, D dimension, P numbers of a prefix, G groups of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .mapped import passing
from .rounding import share

if TYPE_CHECKING:
    from .vectors import Matrix

Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

_GROUP = 64  # rows whose best score is looked at first
_SEEDS = 4  # rows a result that are scored whole, to learn what the k-th best reaches at least
_SAMPLE = 16_384  # rows that tell which prefix pays
_TRIED = 16  # queries that do
_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2)  # prefixes that are tried
_PICKED = 6  # what a number of a vector that is picked out costs, beside one of those read in a row
_WORTH = 0.75  # the cost, beside that of the whole product, from which on a prefix is not worth its memory


@dataclass(frozen=True)
class Prefix:
    """The vectors' first numbers on their principal axes.

    Args:
        axes: (D, P) float32.
        head: (N, P + 1 or 2) float32: the vectors on these axes, at least the length of what they leave out, and with
            the metric euclidean minus their squares. Its product with what `turned` makes of a query is a bound.
    """

    axes: Singles
    head: Singles

    def may(self, matrix: Matrix, query: npt.NDArray[np.float64], k: int) -> Places | None:
        """The ascending places of all that may be among the k best of a query (D,); None if these are too many."""
        if k * _SEEDS * _GROUP > len(self.head):
            return None
        bound = self.head @ self.turned(query, matrix.metric)  # (N,)
        best = tops(bound)
        first = np.argpartition(best, len(best) - k * _SEEDS)[len(best) - k * _SEEDS :]
        seeds = first + len(best) * bound[: len(best) * _GROUP].reshape(_GROUP, -1)[:, first].argmax(0)
        sure = np.sort(matrix.rough(seeds, query))[-k]
        error = float(matrix.error(query[None])[0]) * 2 * (1 + self.axes.shape[1] ** 0.5)
        places = np.flatnonzero(bound >= sure - error)
        return places if len(places) * _PICKED < len(bound) else None

    def turned(self, query: npt.NDArray[np.float64], metric: str) -> Singles:
        """A query (D,) as the heads are multiplied with it."""
        turned = query @ self.axes.astype(np.float64)
        length = float(query @ query)
        beyond = np.sqrt(max(0.0, length - float(turned @ turned)) + _slack(self.axes) * length)
        if metric == "euclidean":
            return np.asarray([*2 * turned, 2 * beyond, 1], np.float32)
        return np.asarray([*turned, beyond], np.float32)


def tops(scores: Singles) -> Singles:
    """The best (N // 64,) of every 64 scores: those that stand as far apart as they can, for whose sake it is fast."""
    groups = len(scores) // _GROUP
    return np.asarray(scores[: groups * _GROUP].reshape(_GROUP, groups).max(0))


def least(scores: Singles, k: int) -> np.float32:
    """What the k-th best of the scores (N,) reaches at least: the k-th best of the groups' best, or itself."""
    best = tops(scores) if k * 4 < len(scores) // _GROUP else scores
    return np.float32(np.partition(best, len(best) - k)[len(best) - k])


def build(matrix: Matrix) -> Prefix | None:
    """The prefix that costs least, as a sample tells; None if it would not be cheaper than whole vectors."""
    values, apart = matrix.values, matrix.metric == "euclidean"
    count, width = values.shape
    step = max(1, count // _SAMPLE)
    some = np.concatenate([values[-(-rows.start // step) * step : rows.stop : step].copy() for rows in passing(values)])
    asked = some[:: max(1, len(some) // _TRIED)][:_TRIED].astype(np.float64)  # (Q, D)
    axes = np.linalg.eigh(some.T.astype(np.float64) @ some)[1][:, ::-1].astype(np.float32)
    squares = np.square(some).sum(1)
    rank = 1 + max(1, round(10 * len(some) / count))  # of the tenth of all, in a sample that has who asks
    sure = [np.sort(2 * (some @ one) - squares if apart else some @ one)[-rank] for one in asked]
    made, costs = {}, {}
    for size in sorted({max(1, round(width * part) - 1 - apart) for part in _SHARES}):
        made[size] = Prefix(np.ascontiguousarray(axes[:, :size]), _head(some, axes[:, :size], squares, apart))
        left = np.mean([
            (made[size].head @ made[size].turned(one, matrix.metric) >= bar).mean()
            for one, bar in zip(asked, sure, strict=True)
        ])  # fmt: skip
        costs[size] = (size + 1 + apart + float(left) * width * _PICKED) / width
    size = min(costs, key=lambda one: costs[one])
    if costs[size] > _WORTH:
        return None
    return Prefix(made[size].axes, _head(values, made[size].axes, matrix.squares, apart))


def _head(values: Singles, axes: Singles, squares: Singles, apart: bool) -> Singles:
    size, slack = axes.shape[1], np.float32(_slack(axes))
    head = np.empty((len(values), size + 1 + apart), np.float32)
    for rows in passing(values):  # numpy multiplies into a copy, which need not be as large as the whole
        head[rows, :size] = values[rows] @ axes
        kept = np.einsum("np,np->n", head[rows, :size], head[rows, :size])
        head[rows, size] = np.sqrt(np.maximum(0, squares[rows] - kept) + slack * squares[rows])
    if apart:
        head[:, size + 1] = -squares
    return head


def _slack(axes: Singles) -> float:
    """What rounding may hide of the square of what the axes (D, P) leave out, as a share of the whole square."""
    return share(len(axes)) * float(1 + axes.shape[1] ** 0.5)
