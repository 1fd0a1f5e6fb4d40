"""Every candidate of a block of queries, ranked: the same score as an index's, all of it at once.

Letters: B queries of a block, C candidates, D dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]


def points(queries: Vectors, candidates: Vectors, metric: str) -> tuple[Floats, Floats]:
    """Queries and candidates in float64, ready for `scores`: of length 1 if the metric is cosine."""
    a, b = (np.asarray(vectors, np.float64) for vectors in (queries, candidates))
    if metric == "euclidean":  # distances do not change, but things that are one point come to lie at exactly zero
        return a - b[0], b - b[0]
    if metric == "dot":
        return a, b
    lengths = [np.sqrt(np.square(vectors).sum(1, keepdims=True)) for vectors in (a, b)]
    return a / np.maximum(lengths[0], 1e-30), b / np.maximum(lengths[1], 1e-30)


def scores(queries: Floats, candidates: Floats, metric: str) -> npt.NDArray[np.float32]:
    """(B, C) scores rounded to float32: cosine, product, or minus the squared distance."""
    scores = np.asarray(queries @ candidates.T)
    if metric == "euclidean":
        scores *= 2
        scores -= np.square(candidates).sum(1)
        scores -= np.square(queries).sum(1, keepdims=True)
        np.minimum(scores, 0, out=scores)
    return scores.astype(np.float32)


def ranked(scores: npt.NDArray[np.float32]) -> Ints:
    """(B, C) places from the best score to the worst, equals in their order.

    A score's bits, made to fall where scores rise, stand above its place in one integer: so equals stay in order, and
    a plain sort does, which is several times faster than one of places.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # the sum makes one zero of the two
    falling = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    packed = falling.astype(np.int64) << 32
    packed |= np.arange(scores.shape[1])
    packed.sort(1)
    packed &= 0xFFFFFFFF
    return packed
