"""The exact nearest neighbors of many queries at once, and at most one row of each group.

The approximate scores of a block of queries with a chunk of rows fit a processor's cache. Only groups of rows whose
best score is high enough are inspected, and the candidates are scored again in float64.

Letters: N rows, D dimension, M queries, B queries of a block, C rows of a chunk, G groups of rows, K results, n pairs
of a row and a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...blas import blas_threads, one_blas_thread
from .base import Exclusions, Float32s, NearestNeighbors, Positions, Queries, Scores, take_first
from .bfloat16 import BFloat16Vectors
from .memmap import iter_slices
from .single import search_one
from .vectors import Vectors

_BLOCK_QUERIES = 256
_CHUNK_ROWS = 1_024  # rows whose scores with a block of queries stay in a core's cache
_GROUP_ROWS = 32  # rows whose best score is inspected first
_MAX_RESCORED_PER_RESULT = 2
_FETCH_PER_GROUP = 4  # rows fetched per group; as many times more whenever they were too few

_Chunk = tuple[int, Float32s, Any]  # first row, group maxima, scores

MAX_CANDIDATES = 8_000_000  # pairs kept for a block: 160 MB, and a few times that while they are sorted


def search_batch(
    vectors: Vectors,
    queries: Queries,
    k: int,
    bfloat16: BFloat16Vectors | None = None,
    max_candidates: int = MAX_CANDIDATES,
) -> tuple[Positions, Scores]:
    """Return the positions and scores (M, k) of the k best rows for each query (M, D), best first.

    Args:
        vectors: the vectors.
        queries: at least one.
        k: at most N.
        bfloat16: the same vectors in bfloat16, to select the candidates with.
        max_candidates: pairs kept for a block of queries. If nearly all rows are candidates, because they are equal or
            tiny beside a single one, there are more, and the queries are searched one by one.
    """

    def search_block(block: Queries) -> tuple[Positions, Scores]:
        if bfloat16 is None:
            chunks, error = _score_float32(vectors, block), vectors.score_error(block)
        else:
            columns, error = bfloat16.cast_queries(block)
            chunks = _score_bfloat16(bfloat16, columns)
        pairs = _select(chunks, k, 2 * error, max_candidates)
        if pairs is not None:
            return _rescore_top_k(vectors, block, *pairs, k)
        results = [search_one(vectors, query, k) for query in block]
        return np.stack([positions for positions, _ in results]), np.stack([scores for _, scores in results])

    blocks = [queries[start : start + _BLOCK_QUERIES] for start in range(0, len(queries), _BLOCK_QUERIES)]
    if bfloat16 is None and len(blocks) > 1:
        results = _run_in_threads(search_block, blocks)
    else:
        results = [search_block(block) for block in blocks]
    return np.concatenate([positions for positions, _ in results]), np.concatenate([scores for _, scores in results])


@dataclass(frozen=True)
class GroupedSearch:
    """A search that returns at most one row, the best, of each group.

    Args:
        nearest: finds the rows.
        groups: (N,) the group of each row.
    """

    nearest: NearestNeighbors
    groups: npt.NDArray[np.int64]

    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """See `NearestNeighbors.search`."""
        fetch_k = _FETCH_PER_GROUP * k
        candidates, candidate_scores = self.nearest.search(queries, fetch_k, allowed, exclude)
        positions, scores, complete = self._keep_first(candidates, candidate_scores, k)
        while candidates.shape[1] == fetch_k and not complete.all():
            pending = np.flatnonzero(~complete)
            fetch_k *= _FETCH_PER_GROUP
            excluded = None if exclude is None else [exclude[query] for query in pending.tolist()]
            candidates, candidate_scores = self.nearest.search(queries[pending], fetch_k, allowed, excluded)
            positions[pending], scores[pending], complete[pending] = self._keep_first(candidates, candidate_scores, k)
        return positions, scores

    def _keep_first(
        self, candidates: Positions, scores: Scores, k: int
    ) -> tuple[Positions, Scores, npt.NDArray[np.bool_]]:
        """Keep the first k rows of different groups for each query, and return which queries are complete."""
        keep = np.zeros(candidates.shape, bool)
        for row, positions in zip(keep, candidates, strict=True):
            real = positions[positions >= 0]
            row[np.unique(self.groups[real], return_index=True)[1]] = True  # padding is at the end
        return *take_first(candidates, scores, k, keep), keep.sum(1) >= min(k, candidates.shape[1])


def _run_in_threads(
    search_block: Callable[[Queries], tuple[Positions, Scores]], blocks: list[Queries]
) -> list[tuple[Positions, Scores]]:
    """Run one block per thread, so that the work after each matrix product is parallel too."""
    with one_blas_thread(), ThreadPoolExecutor(blas_threads()) as pool:
        return list(pool.map(search_block, blocks))


def _score_float32(vectors: Vectors, queries: Queries) -> Iterator[_Chunk]:
    """Yield the first row, the strided group maxima (G, B) and the approximate scores (C, B) of each chunk of rows."""
    columns = np.ascontiguousarray(queries.T, np.float32)  # (D, B)
    out = np.empty((_CHUNK_ROWS, len(queries)), np.float32)  # allocated once: new memory is slower than the product
    for rows in iter_slices(vectors.values, _CHUNK_ROWS):
        scores = vectors.approx_scores(rows, columns, out)
        count = len(scores) // _GROUP_ROWS
        yield rows.start, scores[: count * _GROUP_ROWS].reshape(_GROUP_ROWS, count, len(queries)).max(0), scores


def _score_bfloat16(vectors: BFloat16Vectors, columns: Any) -> Iterator[_Chunk]:
    for start in range(0, len(vectors), _CHUNK_ROWS):
        yield start, *vectors.approx_scores(slice(start, start + _CHUNK_ROWS), columns, _GROUP_ROWS)


def _select(chunks: Iterable[_Chunk], k: int, margin: Float32s, limit: int) -> tuple[Positions, Positions] | None:
    """Return the pairs (n,) of rows and queries that may be among the k best; None if there are too many."""
    candidates = _Candidates(k, margin, limit)
    for chunk in chunks:
        candidates.add_chunk(*chunk)
        if candidates.are_too_many():
            return None
    return candidates.result()


class _Candidates:
    """Candidates for the k best rows of each of B queries, among the chunks of rows added so far.

    Args:
        k: number of results.
        margin: (B,) the largest difference of two approximate scores that may be in the wrong order.
        limit: number of pairs to keep, unless k results for each query need more.
    """

    def __init__(self, k: int, margin: Float32s, limit: int) -> None:
        self.k, self.margin, count = k, margin, len(margin)
        self.limit = max(limit, _MAX_RESCORED_PER_RESULT * k * count)
        self.kth_score = np.full(count, -np.inf, np.float32)  # (B,) a lower bound
        self.parts: list[tuple[Positions, Positions, Float32s]] = []  # rows, queries, scores
        self.size = self.next_prune = 0

    def add_chunk(self, start: int, best: Float32s, scores: Any) -> None:
        """Add the approximate scores (C, B) of a chunk of rows.

        `best` (G, B) holds the maximum of each strided group: group g holds rows g, g + G, ... of the chunk.
        """
        if start == 0 and self.k <= len(best):
            self.kth_score = np.partition(best, len(best) - self.k, 0)[len(best) - self.k]
        threshold = self.kth_score - self.margin
        count = len(best)
        high = np.flatnonzero(best >= threshold)
        if len(high):
            group, query_index = np.divmod(high, len(threshold))
            rows = group + np.arange(_GROUP_ROWS)[:, None] * count  # (32, n)
            self._append(start, rows, np.repeat(query_index[None], _GROUP_ROWS, 0), scores, threshold)
        grouped = count * _GROUP_ROWS
        if grouped < len(scores):
            rows, query_index = np.indices((len(scores) - grouped, len(threshold)))
            self._append(start, rows + grouped, query_index, scores, threshold)
        if start >= self.next_prune:  # after twice as many rows each time, to keep the number of pairs even
            self._prune()
            self.next_prune = 2 * start + 1

    def are_too_many(self) -> bool:
        """Return whether the number of pairs exceeds the limit."""
        if self.size > self.limit:
            self._prune()
        return self.size > self.limit

    def result(self) -> tuple[Positions, Positions]:
        """Return the rows and the queries of all pairs (n,), those of a query together."""
        self._prune()
        [(rows, query_index, _)] = self.parts
        return rows, query_index

    def _append(self, start: int, rows: Positions, query_index: Positions, scores: Any, threshold: Float32s) -> None:
        picked = scores[rows, query_index]
        picked = picked if isinstance(picked, np.ndarray) else picked.float().numpy()
        high = picked >= threshold[query_index]
        self.parts.append((rows[high] + start, query_index[high], picked[high]))
        self.size += len(self.parts[-1][0])

    def _prune(self) -> None:
        rows, query_index, scores = (np.concatenate(arrays) for arrays in zip(*self.parts, strict=True))
        order = np.lexsort((-scores, query_index))
        rows, query_index, scores = rows[order], query_index[order], scores[order]
        starts = np.searchsorted(query_index, np.arange(len(self.kth_score)))
        enough = np.append(starts[1:], len(query_index)) - starts >= self.k
        self.kth_score[enough] = np.maximum(self.kth_score[enough], scores[starts[enough] + self.k - 1])
        high = scores >= (self.kth_score - self.margin)[query_index]
        self.parts = [(rows[high], query_index[high], scores[high])]
        self.size = len(self.parts[0][0])


def _rescore_top_k(
    vectors: Vectors, queries: Queries, rows: Positions, query_index: Positions, k: int
) -> tuple[Positions, Scores]:
    """Score pairs of rows and queries in float64, and return the positions and scores (B, k) of the k best."""
    if len(rows) > _MAX_RESCORED_PER_RESULT * k * len(queries):  # float32 first, which has a narrower margin
        ends = np.searchsorted(query_index, np.arange(len(queries) + 1))
        error = vectors.score_error(queries)
        survivors = []
        for query, margin, start, end in zip(queries, 2 * error, ends, ends[1:], strict=False):
            scores = vectors.approx_scores_at(rows[start:end], query)
            threshold = np.partition(scores, len(scores) - k)[len(scores) - k] - margin
            survivors.append(start + np.flatnonzero(scores >= threshold))
        pairs = np.concatenate(survivors)
        rows, query_index = rows[pairs], query_index[pairs]
    exact = vectors.rescore(rows, queries, query_index)
    order = np.lexsort((rows, -exact, query_index))
    rows, exact, query_index = rows[order], exact[order], query_index[order]
    first = np.arange(len(query_index)) - np.searchsorted(query_index, query_index) < k
    return rows[first].reshape(-1, k), exact[first].reshape(-1, k)
