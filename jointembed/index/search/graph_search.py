"""The nearest neighbors by a graph, whose nodes may be of an earlier version of the rows.

The graph selects candidates, which are scored exactly: scores are right, and only a neighbor may be missing. Rows that
the graph does not have are all compared.

Letters: N rows, D dimension, M queries, K results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .base import Exclusions, NearestNeighbors, Positions, Queries, Scores, contains, drop_excluded, fetch_count
from .hnsw import HnswGraph
from .single import Query, select_candidates
from .vectors import Vectors

MAX_NODES = 512  # nodes fetched for a query; an exact search is as fast as fetching more
USUAL_NODES = 20  # nodes fetched for 10 results
_CANDIDATES_PER_RESULT = 1.5  # the graph ranks by rounded vectors
_MORE_CANDIDATES = 5
_MORE_IF_FILTERED = 1.5  # the first time, times the expected number of nodes; then four times as many
_GROWTH = 4
_BLOCK_QUERIES = 1_024


@dataclass(frozen=True)
class AddedRows:
    """The rows that a graph does not have.

    Args:
        positions: their ascending positions.
        vectors: theirs.
    """

    positions: Positions
    vectors: Vectors

    def candidates(self, query: Query, k: int, allowed: Positions | None) -> Positions:
        """The ascending positions of all of these rows that may be among the k best."""
        rows = None if allowed is None else np.flatnonzero(contains(allowed, self.positions))
        count = len(self.positions) if rows is None else len(rows)
        if not count:
            return self.positions[:0]
        return self.positions[select_candidates(self.vectors, query, min(k, count), rows)]


@dataclass(frozen=True)
class GraphSearch:
    """A search that follows the edges of a graph.

    Args:
        graph: the graph.
        ef: see `HnswGraph.search`; if more than 20 nodes are fetched, as many times more.
        exact: answers searches among few rows, or for many results.
        rescore: the exact scores (n,) of the rows at some positions with a query (D,).
        count: N.
        position: of each node, -1 for those whose row was removed or replaced; None if nodes stand in row order.
        added: the rows that the graph does not have, if any.
    """

    graph: HnswGraph
    ef: int
    exact: NearestNeighbors
    rescore: Callable[[Positions, Query], Scores]
    count: int
    position: Positions | None = None
    added: AddedRows | None = None

    def search(
        self, queries: Queries, k: int, allowed: Positions | None = None, exclude: Exclusions | None = None
    ) -> tuple[Positions, Scores]:
        """See `NearestNeighbors.search`; a neighbor may be missing."""
        available = self.count if allowed is None else len(allowed)
        k = min(k, available)
        fetch_k = min(fetch_count(k, exclude), available)
        needed = min(math.ceil(_CANDIDATES_PER_RESULT * fetch_k) + _MORE_CANDIDATES, available)
        nodes = self._node_count(needed, allowed)
        if nodes > MAX_NODES or not len(queries) or not k:
            return self.exact.search(queries, k, allowed, exclude)
        positions, scores = np.empty((len(queries), fetch_k), np.intp), np.empty((len(queries), fetch_k))
        for start in range(0, len(queries), _BLOCK_QUERIES):
            block = queries[start : start + _BLOCK_QUERIES]
            for at, row in enumerate(self._fetch(block, nodes), start):
                positions[at], scores[at] = self._rank(queries[at], row, fetch_k, (fetch_k + needed) // 2, allowed)
        return drop_excluded(positions, scores, k, exclude)

    def _node_count(self, needed: int, allowed: Positions | None) -> int:
        """How many nodes to fetch first, so that about enough of them have an allowed row."""
        nodes = len(self.graph)
        added = 0 if self.added is None else len(self.added.positions)
        expected = needed * nodes / max(1, self.count - added)
        if allowed is not None:
            expected *= _MORE_IF_FILTERED * self.count / max(1, len(allowed))
        return min(math.ceil(expected), nodes)

    def _fetch(self, queries: Queries, count: int) -> npt.NDArray[np.int64]:
        """The nodes (M, count) nearest to each query."""
        return self.graph.search(queries, count, max(self.ef, count, self.ef * count // USUAL_NODES))

    def _rank(
        self, query: Query, nodes: npt.NDArray[np.int64], k: int, enough: int, allowed: Positions | None
    ) -> tuple[Positions, Scores]:
        """The k best of the rows of some nodes, or of more if these are not enough, and of the added rows."""
        while True:
            candidates = self._positions(nodes, allowed)
            if len(candidates) >= enough:
                break
            if len(nodes) * _GROWTH > MAX_NODES or len(nodes) == len(self.graph):
                positions, scores = self.exact.search(query[None], k, allowed)
                return positions[0], scores[0]
            [nodes] = self._fetch(query[None], min(len(nodes) * _GROWTH, len(self.graph)))
        if self.added is not None:
            candidates = np.concatenate([candidates, self.added.candidates(query, k, allowed)])
        candidates = np.sort(candidates)
        scores = self.rescore(candidates, query)
        best = np.argsort(-scores, kind="stable")[:k]
        return candidates[best], scores[best]

    def _positions(self, nodes: npt.NDArray[np.int64], allowed: Positions | None) -> Positions:
        """The positions of the allowed rows of some nodes."""
        positions = nodes[nodes >= 0]
        if self.position is not None:
            positions = self.position[positions]
            positions = positions[positions >= 0]
        return positions if allowed is None else positions[contains(allowed, positions)]
