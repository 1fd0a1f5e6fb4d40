"""The exact nearest neighbors of one query or a few, by one pass over the vectors.

A float32 product selects every row that may be among the k best given its rounding error (see `rounding.py`); these few
are scored again in float64.

Letters: N rows, D dimension, M queries, n candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .base import Float32s, Positions, Queries, Scores
from .memmap import iter_slices
from .rounding import TINY, relative_error
from .vectors import Vectors

Query = npt.NDArray[np.float64]

GROUP_ROWS = 64
_GATHER_COST = 6  # gathering a row costs as much as reading this many rows in sequence
_MAX_SCORES = 16_777_216  # scores in memory at once: 64 MB


def search_one(vectors: Vectors, query: Query, k: int, allowed: Positions | None = None) -> tuple[Positions, Scores]:
    """Return the positions and scores (k,) of the k best rows for a query (D,), of those allowed, best first."""
    return take_best(vectors, query, k, select_candidates(vectors, query, k, allowed))


def take_best(vectors: Vectors, query: Query, k: int, candidates: Positions) -> tuple[Positions, Scores]:
    """Score ascending candidates (n,) in float64, and return the positions and scores of the k best."""
    scores = vectors.rescore(candidates, query)
    best = np.argsort(-scores, kind="stable")[:k]
    return candidates[best], scores[best]


def select_candidates(
    vectors: Vectors, query: Query, k: int, allowed: Positions | None = None, streaming: bool = False
) -> Positions:
    """Return the ascending positions of all rows that may be among the k best.

    Args:
        vectors: the vectors.
        query: (D,).
        k: at most the number of allowed rows, and at least 1.
        allowed: ascending positions; all rows if None.
        streaming: whether to drop the pages of memory-mapped vectors while reading all of them.
    """
    values, single = vectors.values, query.astype(np.float32)
    gather = allowed is not None and len(allowed) < len(vectors) // _GATHER_COST
    if streaming and allowed is None:
        scores = np.concatenate([values[rows] @ single for rows in iter_slices(values)])
    else:
        scores = (values[allowed] if gather else values) @ single
    if allowed is not None and not gather:
        scores = scores[allowed]
    positions = _reach_kth(vectors, single, scores, k, allowed)
    return positions if allowed is None else allowed[positions]


def select_candidates_of_each(vectors: Vectors, queries: Queries, k: int) -> list[Positions]:
    """Return what `select_candidates` returns for each of a few queries (M, D), by one product with all vectors."""
    step = max(1, _MAX_SCORES // len(vectors))
    results: list[Positions] = []
    for start in range(0, len(queries), step):
        block = queries[start : start + step].astype(np.float32)
        scores = block @ vectors.values.T  # (M, N)
        results += [_reach_kth(vectors, *row, k) for row in zip(block, scores, strict=True)]
    return results


def _reach_kth(
    vectors: Vectors, single: Float32s, scores: Float32s, k: int, allowed: Positions | None = None
) -> Positions:
    """Return which float32 scores of a query (D,) may be among the k best; those with euclidean are overwritten."""
    error: Any = np.float32(relative_error(len(single)))
    if vectors.metric == "cosine":
        return np.flatnonzero(scores >= kth_lower_bound(scores, k) - 2 * error)
    squares = vectors.squares if allowed is None else vectors.squares[allowed]
    length = single @ single + np.float32(TINY)
    if vectors.metric == "dot":
        error = error * np.sqrt(length) * np.sqrt(squares)  # their product may overflow float32
    else:
        error = 2 * error * (squares + length)
        scores *= 2
        scores -= squares
    return np.flatnonzero(scores + error >= kth_lower_bound(scores - error, k))


def group_max(scores: Float32s) -> Float32s:
    """Return the maximum of each group of 64 scores, (N // 64,); the last N % 64 belong to no group.

    Groups are strided (group g holds rows g, g + N // 64, ...), so the reduction is one contiguous pass.
    """
    groups = len(scores) // GROUP_ROWS
    return np.asarray(scores[: groups * GROUP_ROWS].reshape(GROUP_ROWS, groups).max(0))


def kth_lower_bound(scores: Float32s, k: int) -> np.float32:
    """Return a lower bound on the k-th best of scores (N,): the k-th best group maximum, or the k-th best itself."""
    best = group_max(scores) if k * 4 < len(scores) // GROUP_ROWS else scores
    return np.float32(np.partition(best, len(best) - k)[len(best) - k])
