"""Exact search, which chooses the fastest of several ways to the same results.

Letters: N rows, D dimension, M queries, K results.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .base import Exclusions, Positions, Queries, Scores, drop_excluded, fetch_count
from .batch import MAX_CANDIDATES, search_batch
from .bfloat16 import BFloat16Vectors, is_faster
from .memmap import drop_pages
from .pca_prefilter import PcaPrefilter
from .rounding import ignore_invalid
from .single import search_one, select_candidates, select_candidates_of_each, take_best
from .vectors import Vectors

_RESCORE_DIRECTLY = 12  # candidates per result, up to which scoring all of them in float64 is the fastest
_PREFILTER_MAX_QUERIES = 16  # above, a product with all vectors at once is as fast
_DROP_EVERY_SEARCHES = 27  # gathering rows of a memory-mapped file reads many pages around them


class ExactSearch:
    """Finds the exact nearest neighbors, by float64 scores; ties stand in row order.

    A single query is answered by one pass over the vectors, and many queries in blocks. After a few searches for one or
    a few queries over many vectors a `PcaPrefilter` is built, which takes about as long as 100 queries and speeds up
    later ones two to four times; `build_prefilter` builds it at once. Threads may share an instance.

    Args:
        vectors: the vectors.
        torch: the module, to multiply in bfloat16 where the processor is fast at that; the results are the same.
            It is used for at least `bfloat16_min_queries` queries at once, with the metrics cosine and dot.
        prefilter_min_rows: minimum number of vectors for the prefilter.
        prefilter_after: number of searches for few queries over all vectors before it is built; these do not keep
            memory-mapped vectors in memory.
        bfloat16_min_queries: minimum number of queries for bfloat16, since all vectors are rounded first.
        max_candidates: see `search_batch`.
    """

    def __init__(
        self,
        vectors: Vectors,
        torch: Any = None,
        *,
        prefilter_min_rows: int = 20_000,
        prefilter_after: int = 3,
        bfloat16_min_queries: int = 64,
        max_candidates: int = MAX_CANDIDATES,
    ) -> None:
        self.vectors = vectors
        self.prefilter: PcaPrefilter | None = None
        self.search_count = 0  # searches for few queries over all vectors
        self._torch = torch if torch is not None and vectors.metric != "euclidean" and is_faster(torch) else None
        self._bfloat16: BFloat16Vectors | None = None
        self._lock = threading.Lock()
        self._prefilter_min_rows, self._prefilter_after = prefilter_min_rows, prefilter_after
        self._bfloat16_min_queries, self._max_candidates = bfloat16_min_queries, max_candidates

    @ignore_invalid
    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """See `NearestNeighbors.search`."""
        available = len(self.vectors) if allowed is None else len(allowed)
        k = min(k, available)
        fetch_k = min(fetch_count(k, exclude), available)
        if not len(queries) or not k:
            return np.empty((len(queries), k), np.intp), np.empty((len(queries), k))
        if allowed is None and len(queries) <= _PREFILTER_MAX_QUERIES:
            positions, scores = self._search_few(queries, fetch_k)
        elif allowed is None:
            positions, scores = self._search_many(queries, fetch_k)
        elif len(queries) == 1:
            position, score = search_one(self.vectors, queries[0], fetch_k, allowed)
            positions, scores = position[None], score[None]
        else:
            return SubsetSearch(self.vectors, allowed, self._torch).search(queries, k, None, exclude)
        return drop_excluded(positions, scores, k, exclude)

    def build_prefilter(self) -> None:
        """Build the prefilter now, if it pays."""
        self.prefilter = PcaPrefilter.fit(self.vectors)

    def _search_few(self, queries: Queries, k: int) -> tuple[Positions, Scores]:
        with self._lock:
            count = self.search_count
            self.search_count += 1
        if count == self._prefilter_after and len(self.vectors) >= self._prefilter_min_rows:
            self.build_prefilter()  # other threads go on without it meanwhile
        if count % _DROP_EVERY_SEARCHES == 0:
            drop_pages(self.vectors.values)
        prefilter, is_first = self.prefilter, count < self._prefilter_after
        if prefilter is not None:
            candidates = [
                select_candidates(self.vectors, query, k, rows)
                if rows is None or len(rows) > _RESCORE_DIRECTLY * k
                else rows
                for query, rows in zip(queries, prefilter.candidates(queries, k), strict=True)
            ]
        elif len(queries) == 1:
            candidates = [select_candidates(self.vectors, queries[0], k, streaming=is_first)]
        elif is_first:
            return self._search_many(queries, k)
        else:
            candidates = select_candidates_of_each(self.vectors, queries, k)
        results = [take_best(self.vectors, query, k, rows) for query, rows in zip(queries, candidates, strict=True)]
        return np.array([positions for positions, _ in results]), np.array([scores for _, scores in results])

    def _search_many(self, queries: Queries, k: int) -> tuple[Positions, Scores]:
        bfloat16 = self._rounded() if len(queries) >= self._bfloat16_min_queries else None
        return search_batch(self.vectors, queries, k, bfloat16, self._max_candidates)

    def _rounded(self) -> BFloat16Vectors | None:
        if self._torch is None:
            return None
        with self._lock:
            if self._bfloat16 is None:
                self._bfloat16 = BFloat16Vectors(self.vectors, self._torch)
            return self._bfloat16


class SubsetSearch:
    """Finds the exact nearest neighbors among some rows, whose vectors it copies, for many batches of queries.

    Args:
        vectors: all vectors.
        subset: ascending positions of the rows to search; results are positions among all vectors.
        torch: see `ExactSearch`.
    """

    def __init__(self, vectors: Vectors, subset: Positions, torch: Any = None) -> None:
        self.subset = subset
        self.nearest = ExactSearch(vectors.take(subset), torch)

    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """See `NearestNeighbors.search`; `allowed` must lie within the subset."""
        k = min(k, len(self.subset) if allowed is None else len(allowed))
        within = None if allowed is None else np.searchsorted(self.subset, allowed)
        positions, scores = self.nearest.search(queries, fetch_count(k, exclude), within)
        return drop_excluded(self.subset[positions], scores, k, exclude)
