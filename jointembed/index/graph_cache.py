"""The graph of a field, with the keys of the rows that its nodes stand for, as the cache beside an index holds it.

Letters: N nodes, n rows, D dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import DamagedError, MismatchError
from .backends.base import METRICS, Float32s, Keys, View
from .cache import list_caches, read_checked, write_parts
from .search.base import Positions
from .search.graph_search import AddedRows, GraphSearch
from .search.hnsw import HnswGraph
from .search.vectors import Vectors
from .vector_field import VectorField

REBUILD = "`jointembed index --approximate` or Index.build_approximate()"
NO_KEYS = np.empty(0, np.int64)
_LAYOUT = 1
_DTYPES = {"levels": "<i4", "edges": "<i4", "ranges": "<f4"}
_MAX_TABLE_SHARE = 8  # the highest key, times the number of rows, up to which a table finds rows by their keys
_HEADER_NUMBERS = 9


@dataclass(frozen=True)
class FieldGraph:
    """The graph of a field at a version.

    Args:
        version: of the index.
        keys: (N,) of the row of each node, -1 if its vector was removed or replaced.
        graph: the graph.
        ef: see `HnswGraph.search`.
    """

    version: str
    keys: Keys
    graph: HnswGraph
    ef: int

    def extend(self, version: str, keys: Keys, values: Float32s, removed: Keys) -> FieldGraph:
        """The graph of a later version.

        Args:
            version: the later version.
            keys: (n,) of the rows that were written since.
            values: their vectors (n, D).
            removed: the keys of the rows whose vectors were removed since.
        """
        old = np.where(np.isin(self.keys, np.concatenate([keys, removed])), -1, self.keys)
        graph = self.graph.extend(values) if len(keys) else self.graph
        return FieldGraph(version, np.concatenate([old, keys]), graph, self.ef)

    def search(self, field: VectorField, changed: Keys = NO_KEYS, values: Float32s | None = None) -> GraphSearch:
        """The search of a field, which may be of a later version.

        Args:
            field: the field.
            changed: the keys of the rows that were written since the graph.
            values: their vectors.
        """
        rescore = field.vectors.rescore if field.is_whole else field.rescore
        search = GraphSearch(self.graph, self.ef, field.exact, rescore, len(field))
        if not len(changed) and np.array_equal(self.keys, field.keys):
            return search
        position = _find_positions(field.keys, self.keys)
        if values is None or not len(changed):
            return replace(search, position=position)
        positions = field.positions_of(changed)
        is_changed = np.zeros(len(field) + 1, bool)  # the last one is that of position -1
        is_changed[positions] = True
        position[is_changed[position]] = -1
        return replace(search, position=position, added=AddedRows(positions, Vectors(values, field.metric)))

    def matches(self, keys: Keys, values: Float32s, changed: Keys) -> bool:
        """Whether the nodes are those of the vectors that have not changed since.

        Args:
            keys: (n,) of all rows, ascending.
            values: their vectors (n, D).
            changed: the keys of the rows that were written or removed since.
        """
        nodes = np.flatnonzero(~np.isin(self.keys, np.append(changed, -1)))
        rows = np.flatnonzero(~np.isin(keys, changed))
        nodes = nodes[np.argsort(self.keys[nodes])]
        return np.array_equal(self.keys[nodes], keys[rows]) and self.graph.stores(nodes, values[rows])

    def write(self, path: Path, dim: int, metric: str) -> None:
        """Write the cache; UserError if that is impossible."""
        arrays = self.graph.arrays()
        sizes = [arrays[name].size for name in ("levels", "edges", "ranges", "codes")]
        header = [_LAYOUT, dim, METRICS.index(metric), self.ef, int(arrays["entry"][0]), *sizes]
        codes, padding = arrays["codes"], -sizes[-1] % 4
        codes = np.append(codes, np.zeros(padding, np.uint8)) if padding else codes
        rest = [arrays[name].astype(dtype, copy=False) for name, dtype in _DTYPES.items()]
        write_parts(path, [np.array(header, "<i8"), self.keys.astype("<i8"), *rest, codes.view("<u4")])


def read_graph(path: Path, version: str, dim: int, metric: str) -> FieldGraph:
    """Read a cache.

    Raises:
        DamagedError: it is missing or damaged.
        MismatchError: it is of another layout.
        UsageError: faiss is not installed.
    """
    words = read_checked(path)
    damaged = DamagedError(path, "the graph is missing or damaged", f"build it again with {REBUILD}")
    if words is None or len(words) < 2 * _HEADER_NUMBERS:
        raise damaged
    layout, stored_dim, number, ef, entry, count, edges, ranges, codes = (
        words[: 2 * _HEADER_NUMBERS].view("<i8").tolist()
    )
    if (layout, stored_dim, number) != (_LAYOUT, dim, METRICS.index(metric)):
        raise MismatchError(path, "another version of jointembed wrote the graph", f"build it again with {REBUILD}")
    sizes = 2 * count, count, edges, ranges, -(-codes // 4)
    if min(sizes) < 0 or 2 * _HEADER_NUMBERS + sum(sizes) != len(words):
        raise damaged
    parts = np.split(words[2 * _HEADER_NUMBERS :], np.cumsum(sizes)[:-1])
    arrays = {
        "entry": np.array([entry]),
        **{name: part.view(dtype) for part, (name, dtype) in zip(parts[1:], _DTYPES.items(), strict=False)},
        "codes": parts[4].view(np.uint8)[:codes],
    }
    try:
        graph = HnswGraph.from_arrays(arrays, dim, metric)
    except ValueError as error:
        raise damaged from error
    return FieldGraph(version, parts[0].view("<i8").astype(np.int64), graph, ef)


def newest_cache(path: Path, view: View, field: str) -> tuple[str, Path] | None:
    """The version and the path of the newest graph of a field at this version of an index or an ancestor."""
    end = f"-{list(view.info.fields).index(field)}.hnsw"
    caches = [(version, cache) for cache, version, kind in list_caches(path) if kind == end]
    ancestors = [pair for pair in caches if view.is_ancestor(pair[0])]
    return max(ancestors, key=lambda pair: generation(pair[0]), default=None)


def _find_positions(ascending: Keys, keys: Keys) -> Positions:
    """The position of each of N keys among all of a field, at least one; -1 for those that are not there."""
    highest = int(max(ascending[-1], keys.max()))
    if highest < _MAX_TABLE_SHARE * len(ascending):  # a table is ten times as fast as a search
        table = np.full(highest + 2, -1, np.intp)  # the last one is that of key -1
        table[ascending] = np.arange(len(ascending))
        return table[keys]
    positions = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    positions[ascending[positions] != keys] = -1
    return positions


def generation(version: str) -> int:
    """The number of commits before a version."""
    return int(version.split("-")[1])
