"""A graph of vectors whose edges an approximate search follows: hierarchical navigable small worlds (HNSW), by FAISS.

A graph is stored as plain arrays, and their numbers are checked when they are read: FAISS's own files would have to be
trusted.

Letters: N nodes, D dimension, M queries, K results.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import missing_extra
from .base import Float32s, Positions
from .memmap import iter_slices
from .vectors import Vectors

Nodes = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]

_EDGES = 16  # of a node on each level; twice as many on the lowest one
_EF_CONSTRUCTION = 80
_FLOAT_MAX_DIM = 32  # up to which numbers are stored as float32; those of longer vectors, as a byte each


class HnswGraph:
    """Vectors as the nodes of a graph, in the order in which they were added. It never changes; threads may share it.

    Malkov and Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical Navigable Small
    World Graphs, 2018.

    Args:
        index: the FAISS index.
    """

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(cls, vectors: Vectors) -> tuple[HnswGraph, Positions]:
        """The graph of at least one vector, and the row of each of its nodes (N,).

        Nodes that are joined stand near each other in memory, in the order of Cuthill and McKee, 1969, which makes a
        search of a million a third faster.

        Raises:
            UsageError: faiss is not installed.
        """
        index = _create(vectors.values.shape[1], vectors.metric)
        index.train(np.ascontiguousarray(vectors.values))
        for rows in iter_slices(vectors.values):
            index.add(np.ascontiguousarray(vectors.values[rows]))
        order = _order_by_edges(index)
        index.permute_entries(order)
        return cls(index), order

    def extend(self, values: Float32s) -> HnswGraph:
        """The graph with further nodes, (n, D)."""
        faiss = import_faiss()
        index = faiss.clone_index(self._index)
        index.hnsw.rng = faiss.RandomGenerator(len(self))  # a copy would draw the levels of the first nodes again
        index.add(np.ascontiguousarray(values))
        return HnswGraph(index)

    def search(self, queries: npt.NDArray[np.floating[Any]], k: int, ef: int) -> Nodes:
        """The k nodes (M, K) nearest to each query (M, D), nearest first, as far as they are found; -1 for the rest.

        Args:
            queries: (M, D).
            k: K, at most N.
            ef: the number of nodes that the search keeps in view, at least K: the more, the fewer it misses.
        """
        nodes: Nodes = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=_parameters(ef))[1]
        return nodes

    def stores(self, nodes: npt.NDArray[np.integer[Any]], values: Float32s) -> bool:
        """Whether some nodes are those of some vectors (n, D)."""
        storage = import_faiss().downcast_index(self._index.storage)
        codes = import_faiss().vector_to_array(storage.codes).reshape(len(self), -1)
        return np.array_equal(codes[nodes], storage.sa_encode(np.ascontiguousarray(values)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The graph as arrays, from which `from_arrays` restores it: views, which need the graph to exist."""
        hnsw, storage = self._index.hnsw, import_faiss().downcast_index(self._index.storage)
        return {
            "entry": np.array([hnsw.entry_point], np.int64),
            "levels": _view(hnsw.levels),
            "edges": _view(hnsw.neighbors),
            "ranges": _view(storage.sq.trained) if hasattr(storage, "sq") else np.empty(0, np.float32),
            "codes": _view(storage.codes),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, dim: int, metric: str) -> HnswGraph:
        """Restore a graph.

        Raises:
            ValueError: the arrays are not those of a graph.
            UsageError: faiss is not installed.
        """
        faiss = import_faiss()
        index = _create(dim, metric)
        hnsw, storage = index.hnsw, faiss.downcast_index(index.storage)
        levels, edges, codes = arrays["levels"], arrays["edges"], arrays["codes"]
        count, [entry] = len(levels), arrays["entry"].tolist()
        slots = faiss.vector_to_array(hnsw.cum_nneighbor_per_level).astype(np.int64)  # of a node with so many levels
        if not count or levels.min() < 1 or levels.max() >= len(slots):
            raise ValueError("levels")
        offsets = np.concatenate([[0], np.cumsum(slots[levels])])
        if len(edges) != offsets[-1] or len(codes) != count * storage.code_size:
            raise ValueError("length")
        if not 0 <= entry < count or levels[entry] != levels.max() or not _are_edges(edges, levels, offsets, slots):
            raise ValueError("edges")
        if hasattr(storage, "sq"):
            if arrays["ranges"].shape != (2 * dim,) or not np.isfinite(arrays["ranges"]).all():
                raise ValueError("ranges")
            faiss.copy_array_to_vector(np.ascontiguousarray(arrays["ranges"], np.float32), storage.sq.trained)
        pairs = (codes, storage.codes), (levels, hnsw.levels), (edges, hnsw.neighbors)
        for array, target in (*pairs, (offsets.astype(np.uint64), hnsw.offsets)):
            faiss.copy_array_to_vector(np.ascontiguousarray(array), target)
        hnsw.entry_point, hnsw.max_level = entry, int(levels[entry]) - 1
        index.ntotal = storage.ntotal = count
        index.is_trained = storage.is_trained = True
        return cls(index)


def node_bytes(dim: int) -> int:
    """The memory of a node: its vector, its edges on the lowest level, its offset and its key."""
    return dim * (4 if dim <= _FLOAT_MAX_DIM else 1) + 8 * _EDGES + 24


def import_faiss() -> Any:
    """The module; UsageError if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise missing_extra("ann", "faiss-cpu") from error
    return faiss


def _view(vector: Any) -> npt.NDArray[Any]:
    """The memory of a vector of FAISS."""
    view: npt.NDArray[Any] = import_faiss().rev_swig_ptr(vector.data(), vector.size())
    view.flags.writeable = False
    return view


def _order_by_edges(index: Any) -> Positions:
    """The nodes of a graph in an order in which the ends of an edge are near each other."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    faiss = import_faiss()
    starts = faiss.vector_to_array(index.hnsw.offsets)[:-1].astype(np.int64)
    edges = faiss.vector_to_array(index.hnsw.neighbors)[starts[:, None] + np.arange(2 * _EDGES)]  # the lowest level
    is_edge = edges >= 0
    ends = np.concatenate([[0], np.cumsum(is_edge.sum(1))])
    matrix = csr_array((np.ones(ends[-1], np.int8), edges[is_edge], ends), (len(edges), len(edges)))
    return np.asarray(reverse_cuthill_mckee(matrix), np.int64)


@cache
def _parameters(ef: int) -> Any:
    return import_faiss().SearchParametersHNSW(efSearch=ef)


def _create(dim: int, metric: str) -> Any:
    """An empty FAISS index."""
    faiss = import_faiss()
    measure = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    if dim <= _FLOAT_MAX_DIM:
        index = faiss.IndexHNSWFlat(dim, _EDGES, measure)
    else:
        index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, _EDGES, measure)
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    return index


def _are_edges(edges: Any, levels: Any, offsets: Any, slots: Any) -> bool:
    """Whether each edge leads to a node that is on the level of the edge."""
    if edges.min() < -1 or edges.max() >= len(levels):
        return False
    for level in range(1, int(levels.max())):
        nodes = np.flatnonzero(levels > level)
        ends = edges[offsets[nodes][:, None] + np.arange(slots[level], slots[level + 1])]
        if (levels[ends[ends >= 0]] <= level).any():
            return False
    return True
