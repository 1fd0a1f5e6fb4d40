"""The ranking of all candidates for a block of queries, by the same score as an index's.

Letters: B queries of a block, C candidates, D dimension, P places of candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]
Float32s = npt.NDArray[np.float32]

SORT_COST = 40  # time to sort a candidate, where that to compare one is 1


def prepare(queries: Vectors, candidates: Vectors, metric: str) -> tuple[Floats, Floats]:
    """Return queries and candidates in float64, ready for `score`: of length 1 if the metric is cosine."""
    a, b = (np.asarray(vectors, np.float64) for vectors in (queries, candidates))
    if metric == "euclidean":  # a shift keeps distances, and puts a collapsed model's points at exactly zero
        return a - b[0], b - b[0]
    if metric == "dot":
        return a, b
    norms = [np.sqrt(np.square(vectors).sum(1, keepdims=True)) for vectors in (a, b)]
    return a / np.maximum(norms[0], 1e-30), b / np.maximum(norms[1], 1e-30)


def score(queries: Floats, candidates: Floats, metric: str) -> Float32s:
    """Return (B, C) scores, rounded to float32: cosine, dot product, or minus the squared distance."""
    scores = np.asarray(queries @ candidates.T)
    if metric == "euclidean":
        scores *= 2
        scores -= np.square(candidates).sum(1)
        scores -= np.square(queries).sum(1, keepdims=True)
        np.minimum(scores, 0, out=scores)
    return scores.astype(np.float32)


def argsort_descending(scores: Float32s) -> Ints:
    """Return (B, C) positions from the best score to the worst, ties in their order.

    Packs the inverted score bits above the position in one int64: a plain sort is then a stable descending argsort, and
    several times faster.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # the sum turns -0 into 0
    inverted = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    packed = inverted.astype(np.int64) << 32
    packed |= np.arange(scores.shape[1])
    packed.sort(1)
    packed &= 0xFFFFFFFF
    return packed


def ranks(scores: Float32s, places: Ints) -> Ints:
    """Return the ranks (P,), from 0, of the candidates at some places (P,) among scores (C,), ties in their order.

    No candidate below all of these is sorted; and where many lie above few of these, they are only counted.
    """
    if not len(places):
        return places
    above = np.flatnonzero(scores >= scores[places].min())
    if len(above) * SORT_COST < len(places) * len(scores):
        ranked = np.empty(len(above), np.int64)
        ranked[argsort_descending(scores[None, above])[0]] = np.arange(len(above))
        return np.asarray(ranked[np.searchsorted(above, places)])
    counts = [
        np.count_nonzero(scores > scores[place]) + np.count_nonzero(scores[:place] == scores[place])
        for place in places.tolist()
    ]
    return np.array(counts, np.int64)


def first_places(scores: Float32s, k: int) -> Ints:
    """Return the places (k,) of the k best of scores (C,), the best first, ties in their order; all if C < k."""
    if k < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    else:
        places = np.arange(len(scores))
    return np.asarray(places[np.argsort(-scores[places], kind="stable")[:k]])
