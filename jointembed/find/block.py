"""The exact nearest of many queries at once: products in blocks that fit the cache, of which few scores are looked at.

Letters: N rows, D dimension, B queries of a block, C rows of a chunk, G groups of rows, K results.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .matrix import Matrix

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

_QUERIES = 256
_CHUNK = 2_048  # rows whose scores with a block of queries stay in a core's cache
_GROUP = 32  # rows whose best score is looked at first


def nearest(matrix: Matrix, queries: Floats, k: int) -> tuple[Places, Singles]:
    """The places of the k best for each of M queries (M, D), and their scores: both (M, K), the best first.

    What `Matrix.nearest` gives, for many queries: float32 products find what may be among the best, given their
    rounding, and these few are scored again in float64. Equals stay in their order.
    """
    k = min(k, len(matrix.numbers))
    parts = [_block(matrix, queries[at : at + _QUERIES], k) for at in range(0, len(queries), _QUERIES)]
    if not parts or not k:
        return np.empty((len(queries), k), np.intp), np.empty((len(queries), k), np.float32)
    return np.concatenate([places for places, _ in parts]), np.concatenate([scores for _, scores in parts])


def _block(matrix: Matrix, queries: Floats, k: int) -> tuple[Places, Singles]:
    asked = np.ascontiguousarray(queries.T, np.float32)  # (D, B)
    error = matrix.error(queries)  # (B,)
    least = np.full(len(queries), -np.inf, np.float32)  # (B,) what the k-th best reaches at least
    kept: list[tuple[Places, Places, Singles]] = []
    waiting = 0
    for start in range(0, len(matrix.numbers), _CHUNK):
        scores = matrix.roughly(slice(start, start + _CHUNK), asked)  # (C, B)
        if start == 0:
            if len(scores) >= k:
                least = np.partition(scores, len(scores) - k, 0)[len(scores) - k]
            rows, who = np.nonzero(scores >= least - 2 * error)
        else:
            rows, who = _reaching(scores, least - 2 * error)
        kept.append((rows + start, who, scores[rows, who]))
        waiting += len(rows)
        if waiting > 8 * k * len(queries):
            kept, least = _best(kept, least, error, k)
            waiting = 0
    [(rows, who, _)], _ = _best(kept, least, error, k)
    exact = matrix.pairs(rows, queries, who)
    order = np.lexsort((rows, -exact, who))
    rows, exact, who = rows[order], exact[order], who[order]
    rank = np.arange(len(who)) - np.searchsorted(who, who)
    first = rank < k
    return rows[first].reshape(-1, k), exact[first].reshape(-1, k).astype(np.float32)


def _reaching(scores: Singles, least: Singles) -> tuple[Places, Places]:
    """Where (C, B) scores reach `least` (B,): the rows, and the queries."""
    full = len(scores) // _GROUP * _GROUP
    groups = scores[:full].reshape(-1, _GROUP, scores.shape[1])
    best = groups.max(1)  # (G, B)
    group, who = np.nonzero(best >= least)
    at, within = np.nonzero(groups[group, :, who] >= least[who, None])
    rows, who = group[at] * _GROUP + within, who[at]
    if full < len(scores):
        last, others = np.nonzero(scores[full:] >= least)
        rows, who = np.concatenate([rows, last + full]), np.concatenate([who, others])
    return rows, who


def _best(
    kept: list[tuple[Places, Places, Singles]], least: Singles, error: Singles, k: int
) -> tuple[list[tuple[Places, Places, Singles]], Singles]:
    """Of what was kept, what may still be among the k best of its query; and what the k-th best reaches at least."""
    rows, who, scores = (np.concatenate(part) for part in zip(*kept, strict=True))
    order = np.lexsort((-scores, who))
    rows, who, scores = rows[order], who[order], scores[order]
    starts = np.searchsorted(who, np.arange(len(least)))
    ends = np.append(starts[1:], len(who))
    there = ends - starts >= k
    least = least.copy()
    least[there] = np.maximum(least[there], scores[starts[there] + k - 1])
    still = scores >= (least - 2 * error)[who]
    return [(rows[still], who[still], scores[still])], least
