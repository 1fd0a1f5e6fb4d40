"""The exact nearest of many queries at once: products in blocks that fit the cache, of which few scores are looked at.

Letters: N rows, D dimension, B queries of a block, C rows of a chunk, G groups of rows, K results.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from .bfloat16 import BFloat16Vectors
from .mapped import passing
from .rounding import unflagged
from .vectors import Matrix

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

_QUERIES = 256
_CHUNK = 1_024  # rows whose scores with a block of queries stay in a core's cache
_GROUP = 32  # rows whose best score is looked at first
_PAYS = 64  # queries from which on it pays to round all vectors to bfloat16
_MANY = 2  # pairs a result
_MOST = 8_000_000  # pairs a block that are kept: 160 MB, and a few times that while they are sorted


def nearest(matrix: Matrix, queries: Floats, k: int) -> tuple[Places, Singles]:
    """The places of the k best for each of M queries (M, D), and their scores: both (M, K), the best first.

    What `Matrix.nearest` gives, for many queries: rough products find what may be among the best, given their rounding,
    and these few are scored again in float64. Equals stay in their order.
    """
    k = min(k, len(matrix.numbers))
    if not len(queries) or not k:
        return np.empty((len(queries), k), np.intp), np.empty((len(queries), k), np.float32)
    half = matrix.half if len(queries) >= _PAYS else None

    @unflagged
    def one(some: Floats) -> tuple[Places, Singles]:
        pairs = _rough(matrix, some, k) if half is None else _half(half, some, k)
        return _singly(matrix, some, k) if pairs is None else _picked(matrix, some, *pairs, k)

    blocks = [queries[at : at + _QUERIES] for at in range(0, len(queries), _QUERIES)]
    if half is None and len(blocks) > 1:
        parts = _shared(one, blocks)
    else:
        parts = [one(some) for some in blocks]
    return np.concatenate([places for places, _ in parts]), np.concatenate([scores for _, scores in parts])


def _shared(one: Callable[[Floats], tuple[Places, Singles]], blocks: list[Floats]) -> list[tuple[Places, Singles]]:
    """The blocks, each by one thread: what comes after a product then has as many threads as the product would."""
    from threadpoolctl import threadpool_info, threadpool_limits

    threads = max((found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"), default=1)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, blocks))


def _rough(matrix: Matrix, queries: Floats, k: int) -> tuple[Places, Places] | None:
    """Pairs (n,) of rows and queries, by float32 products: all that may be among the k best; None if too many."""
    asked = np.ascontiguousarray(queries.T, np.float32)  # (D, B)
    found = _Found(len(queries), k, 2 * matrix.error(queries))
    room = np.empty((_CHUNK, len(queries)), np.float32)  # made once: new memory is slower than the product
    for rows in passing(matrix.values, _CHUNK):
        scores = matrix.roughly(rows, asked, room)  # (C, B)
        count = len(scores) // _GROUP
        found.look(rows.start, scores[: count * _GROUP].reshape(_GROUP, count, len(queries)).max(0), scores)
        if found.full:
            return None
    return found.pairs()


def _half(half: BFloat16Vectors, queries: Floats, k: int) -> tuple[Places, Places] | None:
    """The same by products in bfloat16."""
    asked, error = half.rounded(queries)
    found = _Found(len(queries), k, 2 * error)
    for start in range(0, len(half.values), _CHUNK):
        found.look(start, *half.chunk(slice(start, start + _CHUNK), asked, _GROUP))
        if found.full:
            return None
    return found.pairs()


def _singly(matrix: Matrix, queries: Floats, k: int) -> tuple[Places, Singles]:
    """The same where nearly all vectors may be among the best, being equal, or dwarfed by one: query after query."""
    every = np.arange(len(matrix.numbers))  # asked for by their places they are all looked at, even beside a graph
    found = [matrix.nearest(query, k, every) for query in queries]
    return np.stack([places for places, _ in found]), np.stack([scores for _, scores in found]).astype(np.float32)


class _Found:
    """What may be among the k best of each of B queries, of all rows that were looked at.

    Args:
        count: queries.
        k: results.
        wide: (B,) how far two rough scores may be from their true order.
    """

    def __init__(self, count: int, k: int, wide: Singles) -> None:
        self.k, self.wide = k, wide
        self.least = np.full(count, -np.inf, np.float32)  # (B,) what the k-th best reaches at least
        self.kept: list[tuple[Places, Places, Singles]] = []  # rows, queries, scores
        self.size = self.due = 0

    def look(self, start: int, best: Singles, scores: Any) -> None:
        """Look at the rough scores (C, B) of rows, of which group G holds rows G, G + count ...: its best is told."""
        if start == 0 and self.k <= len(best):
            self.least = np.partition(best, len(best) - self.k, 0)[len(best) - self.k]
        bar = self.least - self.wide
        count = len(best)
        at = np.flatnonzero(best >= bar)
        if len(at):
            group, who = np.divmod(at, len(bar))
            rows = group + np.arange(_GROUP)[:, None] * count  # (32, n)
            self._keep(start, rows, np.repeat(who[None], _GROUP, 0), scores, bar)
        full = count * _GROUP
        if full < len(scores):
            rows, who = np.indices((len(scores) - full, len(bar)))
            self._keep(start, rows + full, who, scores, bar)
        if start >= self.due:  # each time twice as much has been seen, so that what is kept stays about as much
            self._sift()
            self.due = 2 * start + 1

    def _keep(self, start: int, rows: Places, who: Places, scores: Any, bar: Singles) -> None:
        found = scores[rows, who]
        found = found if isinstance(found, np.ndarray) else found.float().numpy()
        high = found >= bar[who]
        self.kept.append((rows[high] + start, who[high], found[high]))
        self.size += len(self.kept[-1][0])

    def _sift(self) -> None:
        rows, who, scores = (np.concatenate(part) for part in zip(*self.kept, strict=True))
        order = np.lexsort((-scores, who))
        rows, who, scores = rows[order], who[order], scores[order]
        starts = np.searchsorted(who, np.arange(len(self.least)))
        there = np.append(starts[1:], len(who)) - starts >= self.k
        self.least[there] = np.maximum(self.least[there], scores[starts[there] + self.k - 1])
        still = scores >= (self.least - self.wide)[who]
        self.kept = [(rows[still], who[still], scores[still])]
        self.size = len(self.kept[0][0])

    @property
    def full(self) -> bool:
        """Whether more is kept than there should be room for."""
        if self.size > _MOST:
            self._sift()
        return self.size > max(_MOST, _MANY * self.k * len(self.least))

    def pairs(self) -> tuple[Places, Places]:
        """The rows and the queries (n,) of all that may be, those of a query together."""
        self._sift()
        [(rows, who, _)] = self.kept
        return rows, who


def _picked(matrix: Matrix, queries: Floats, rows: Places, who: Places, k: int) -> tuple[Places, Singles]:
    """The k best (B, k) of pairs of rows and queries, and their scores."""
    if len(rows) > _MANY * k * len(queries):  # too many to be scored in float64
        ends = np.searchsorted(who, np.arange(len(queries) + 1))
        error = matrix.error(queries)
        sifted = []
        for query, wide, start, end in zip(queries, error, ends, ends[1:], strict=False):
            scores = matrix.rough(rows[start:end], query)
            bar = np.partition(scores, len(scores) - k)[len(scores) - k] - 2 * wide
            sifted.append(start + np.flatnonzero(scores >= bar))
        few = np.concatenate(sifted)
        rows, who = rows[few], who[few]
    exact = matrix.pairs(rows, queries, who)
    order = np.lexsort((rows, -exact, who))
    rows, exact, who = rows[order], exact[order], who[order]
    first = np.arange(len(who)) - np.searchsorted(who, who) < k
    return rows[first].reshape(-1, k), exact[first].reshape(-1, k).astype(np.float32)
