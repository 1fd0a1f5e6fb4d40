"""An approximate index of many vectors, made by FAISS and used only where it finds what an exact search finds.

It lives in memory only: reading such a file would mean to trust whoever wrote it with this process. It says which few
vectors may be near; these are scored exactly, so that scores are right and only an absence may be wrong.

Letters: N rows, D dimension, Q queries that are tried.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, missing_extra
from .mapped import passing

if TYPE_CHECKING:
    from .vectors import Matrix

Places = npt.NDArray[np.intp]

LEAST = 0.98  # the recall@10 below which it is not used
_AIM = 0.985  # that which is enough: other vectors than those that were tried find a little more or less
TRIED = 500  # vectors that are asked for; they take no part in the making
_NARROW = 32  # numbers of a vector up to which each is kept as one byte; of more, every two as four bits
_TAUGHT = 40  # vectors a cell that teach the cells
_CELLS = 1_000  # cells from which on looking at all of them takes as long as looking into some
_MORE = 10  # candidates a result
_STEP = 1.2  # how much more cells are searched at the next try


class IvfIndex:
    """Vectors in cells (inverted lists), long ones as codes of four bits that are looked up in registers.

    Jégou et al., Product Quantization for Nearest Neighbor Search, 2011; André et al., Cache Locality is not Enough:
    High-Performance Nearest Neighbor Search with Product Quantization Fast Scan, 2015.

    Args:
        index: FAISS's.
        recall: the share of the 10 nearest of 500 held-back vectors that it finds.
    """

    def __init__(self, index: Any, recall: float) -> None:
        self.index, self.recall = index, recall

    def may(self, query: npt.NDArray[np.float64], k: int) -> Places:
        """The ascending places of what may be among the k best of a query (D,)."""
        _, places = self.index.search(query[None].astype(np.float32), _MORE * k)
        return np.sort(places[0][places[0] >= 0]).astype(np.intp)


def build(matrix: Matrix, seed: int = 0) -> IvfIndex:
    """Teach, fill and try a graph; as many cells are searched as its recall asks for, at most a sixteenth of all.

    Raises:
        UsageError: faiss is not installed, or there are too few vectors to teach it and to try it.
    """
    try:
        import faiss
    except ImportError as error:
        raise missing_extra("ann", "faiss-cpu") from error
    from . import batch

    values = matrix.values
    count, width = values.shape
    if count < 2 * TRIED:
        raise UsageError(
            "approximate", f"{count} vectors are too few for a graph", "leave it out: an exact search is fast"
        )
    rng = np.random.default_rng(seed)
    cells = int(max(1, min(6 * count**0.5, count // 40)))
    order = rng.permutation(count)
    asked, taught = np.sort(order[:TRIED]), np.sort(order[TRIED:][: cells * _TAUGHT])
    kind = faiss.METRIC_L2 if matrix.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    codes = "SQ8" if width <= _NARROW else f"PQ{width if width % 2 else width // 2}x4fs"
    index: Any = faiss.index_factory(width, f"IVF{cells},{codes}", kind)
    index.cp.seed, index.cp.niter, index.cp.min_points_per_centroid = seed, 6, 1
    index.train(np.ascontiguousarray(values[taught]))
    for rows in passing(values):
        index.add(np.ascontiguousarray(values[rows]))
    if width > _NARROW and cells >= _CELLS:
        _quicken(index, faiss.index_factory(width, f"{codes},RFlat", kind), cells)
    queries = values[asked].astype(np.float64)
    right, _ = batch.nearest(matrix, queries, 11)
    graph = IvfIndex(index, 0.0)
    index.nprobe = 1
    while True:
        found = (_found(graph, matrix, query, own) for query, own in zip(queries, asked.tolist(), strict=True))
        hits = [len(_ten(places, own) & near) for places, own, near in zip(right, asked.tolist(), found, strict=True)]
        graph.recall = sum(hits) / (10 * len(asked))
        more = math.ceil(index.nprobe * _STEP)
        if graph.recall >= _AIM or more > max(1, cells // 16):
            return graph
        index.nprobe = more


def _quicken(index: Any, quick: Any, cells: int) -> None:
    """Let the cells of a query be found by codes too, and four times as many be looked at again."""
    exact = index.quantizer
    centres = exact.reconstruct_n(0, cells)
    quick.train(centres)
    quick.add(centres)
    quick.k_factor = 4
    index.quantizer = quick
    quick.this.disown()  # the index deletes it
    exact.this.own(True)  # and this one no longer


def _ten(places: Places, own: int) -> set[int]:
    return set([place for place in places.tolist() if place != own][:10])


def _found(graph: IvfIndex, matrix: Matrix, query: npt.NDArray[np.float64], own: int) -> set[int]:
    places = graph.may(query, 11)
    order = np.argsort(-matrix.scored(places, query), kind="stable")[:11]
    return _ten(places[order], own)
