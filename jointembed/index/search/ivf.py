"""An approximate index of many vectors, built by FAISS and measured against the exact search.

It selects a few candidates, which are scored exactly: scores are right, and only a neighbor may be missing. It lives
in memory only, because loading a FAISS file means trusting whoever wrote it with this process.

Letters: N rows, D dimension, M queries, K results.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import UsageError, missing_extra
from .base import Exclusions, NearestNeighbors, Positions, Queries, Scores, drop_excluded, fetch_count
from .memmap import iter_slices
from .single import Query, take_best
from .vectors import Vectors

HELD_OUT = 500  # vectors that measure the recall, and are not used for training
MAX_RESULTS = 200
_SQ8_MAX_DIM = 32  # up to which each number is stored as a byte; of longer vectors, every two numbers as four bits
_TRAIN_PER_CELL = 40
_CANDIDATES_PER_RESULT = 10
_NPROBE_STEP = 1.2


class IvfIndex:
    """Vectors in cells (inverted lists), long ones as product-quantized codes that are scanned in registers.

    Jégou et al., Product Quantization for Nearest Neighbor Search, 2011; André et al., Cache Locality is not Enough:
    High-Performance Nearest Neighbor Search with Product Quantization Fast Scan, 2015.

    Args:
        index: the FAISS index.
        vectors: the same vectors, in the same order.
        exact: answers searches among allowed rows or for more than 200 results.

    Attributes:
        recall_at_10: the share of the 10 nearest of 500 held-out vectors that it finds.
    """

    def __init__(self, index: Any, vectors: Vectors, exact: NearestNeighbors) -> None:
        self.index, self.vectors, self.exact = index, vectors, exact
        self.recall_at_10 = 0.0

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        exact: NearestNeighbors,
        target_recall: float = 0.985,
        coarse_pq_min_cells: int = 1_000,
        seed: int = 0,
    ) -> IvfIndex:
        """Train and fill an index, and search as many cells as the recall needs, at most a sixteenth of all.

        Args:
            vectors: at least 1000.
            exact: finds the true neighbors.
            target_recall: recall@10 that is enough; other queries than the held-out ones find a little more or less.
            coarse_pq_min_cells: minimum number of cells for finding those of a query by codes too, because comparing
                all centroids takes as long as scanning some cells.
            seed: of the training.

        Raises:
            UsageError: faiss is not installed, or there are too few vectors.
        """
        try:
            import faiss
        except ImportError as error:
            raise missing_extra("ann", "faiss-cpu") from error
        count = len(vectors)
        if count < 2 * HELD_OUT:
            wrong = f"an approximate index needs at least {2 * HELD_OUT} vectors, got {count}"
            raise UsageError("approximate", wrong, "leave it out: an exact search is fast")
        cells = int(max(1, min(6 * count**0.5, count // 40)))
        order = np.random.default_rng(seed).permutation(count)
        held_out, training = np.sort(order[:HELD_OUT]), np.sort(order[HELD_OUT:][: cells * _TRAIN_PER_CELL])
        index = _train(faiss, vectors, np.ascontiguousarray(vectors.values[training]), cells, coarse_pq_min_cells, seed)
        for rows in iter_slices(vectors.values):
            index.add(np.ascontiguousarray(vectors.values[rows]))
        ivf = cls(index, vectors, exact)
        queries, exclude = vectors.values[held_out].astype(np.float64), list(held_out[:, None])
        neighbors, _ = exact.search(queries, 10, None, exclude)
        index.nprobe = 1
        while True:
            positions, _ = ivf.search(queries, 10, None, exclude)
            hits = sum(len(np.intersect1d(right, row)) for right, row in zip(neighbors, positions, strict=True))
            ivf.recall_at_10 = hits / neighbors.size
            nprobe = math.ceil(index.nprobe * _NPROBE_STEP)
            if ivf.recall_at_10 >= target_recall or nprobe > max(1, cells // 16):
                return ivf
            index.nprobe = nprobe

    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """See `NearestNeighbors.search`; a neighbor may be missing."""
        k = min(k, len(self.vectors))
        fetch_k = min(fetch_count(k, exclude), len(self.vectors))
        if allowed is not None or fetch_k > MAX_RESULTS or not len(queries) or not k:
            return self.exact.search(queries, k, allowed, exclude)
        positions, scores = np.empty((len(queries), fetch_k), np.intp), np.empty((len(queries), fetch_k))
        for at, query in enumerate(queries):
            positions[at], scores[at] = self._search_one(query, fetch_k)
        return drop_excluded(positions, scores, k, exclude)

    def _search_one(self, query: Query, k: int) -> tuple[Positions, Scores]:
        _, rows = self.index.search(query[None].astype(np.float32), _CANDIDATES_PER_RESULT * k)
        candidates = np.sort(rows[0][rows[0] >= 0]).astype(np.intp)
        if len(candidates) >= k:
            return take_best(self.vectors, query, k, candidates)
        positions, scores = self.exact.search(query[None], k)
        return positions[0], scores[0]


def _train(faiss: Any, vectors: Vectors, training: Any, cells: int, coarse_pq_min_cells: int, seed: int) -> Any:
    """Return an empty FAISS index whose cells and codes are trained."""
    dim = training.shape[1]
    metric = faiss.METRIC_L2 if vectors.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    parts = dim if dim % 2 else dim // 2
    codes = "SQ8" if dim <= _SQ8_MAX_DIM else f"PQ{parts}x4fs"
    clustering = {"niter": 6, "seed": seed, "min_points_per_centroid": 1}
    if dim <= _SQ8_MAX_DIM or cells < coarse_pq_min_cells:
        index = faiss.index_factory(dim, f"IVF{cells},{codes}", metric)
        for name, value in clustering.items():
            setattr(index.cp, name, value)
        index.train(training)
        return index
    kmeans = faiss.Kmeans(dim, cells, spherical=metric == faiss.METRIC_INNER_PRODUCT, **clustering)
    kmeans.train(training)
    coarse = faiss.index_factory(dim, f"{codes},RFlat", metric)
    coarse.train(kmeans.centroids)
    coarse.add(kmeans.centroids)
    coarse.k_factor = 4  # cells whose true distance is computed, per cell searched
    index = faiss.IndexIVFPQFastScan(coarse, dim, cells, parts, 4, metric)
    index.by_residual = False
    index.train(training)
    return index
