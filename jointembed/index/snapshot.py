"""One version of an index, as threads share it: what is loaded of it once and used by every search.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, UserError, did_you_mean
from . import approximate, ids, rerank
from .backends.base import Backend, IndexInfo
from .backends.connection import rebuild_command
from .cache import cache_path, list_caches, read_vectors, write_vectors
from .column_kinds import TEXT, ColumnKind, infer_kind, is_text
from .graph_cache import REBUILD, FieldGraph
from .hits import Hit
from .metadata import Metadata
from .search.base import NearestNeighbors, Positions
from .search.batch import GroupedSearch
from .vector_field import Floats, Keys, Segment, VectorField, empty_segment, make_segment
from .where import parse

_LOGGER = logging.getLogger(__name__)

MIN_CHANGES_TO_REWRITE = 1_000
_FIRST_ROWS = 1_000  # of a column, which mostly show that it is text
_REWRITE_SHARE = 16  # the vectors are written as one array again once a sixteenth of them has changed

Item = str | np.ndarray[Any, np.dtype[np.floating[Any]]]  # the id of a row, or a vector (D,)


class Snapshot:
    """One version of an index. It never changes; its parts are loaded when they are first used, inside `Index.reading`.

    Args:
        backend: the store of the index.
        info: what this version says of itself.
        previous: the snapshot of an earlier version, whose vectors are used again.
    """

    def __init__(self, backend: Backend, info: IndexInfo, previous: Snapshot | None = None) -> None:
        self.info = info
        self.metadata = Metadata(backend)
        self._backend = backend
        self._bases = {} if previous is None else {name: loaded.base for name, loaded in previous._fields.items()}
        self._graphs: dict[str, FieldGraph] = {} if previous is None else dict(previous._graphs)
        self._warnings: set[str] = set() if previous is None else previous._warnings
        self._fields: dict[str, VectorField] = {}
        self._searchers: dict[tuple[Any, ...], NearestNeighbors] = {}
        self._ids: dict[str, list[str]] = {}
        self._kinds: dict[str, dict[str, ColumnKind]] = {}
        self._lock = threading.RLock()

    @property
    def version(self) -> str:
        """Identifies the version."""
        return self.info.version

    def field_name(self, name: str | None) -> str:
        """The name of a field, of the first one if None; UsageError if there is no such field."""
        fields = list(self.info.fields)
        if not fields:
            fix = f"fill it with: {rebuild_command(self._backend.path)}"
            raise UsageError(self._backend.path, "this index is empty", fix)
        if name is not None and name not in fields:
            raise UsageError(name, "the index has no such field", did_you_mean(name, fields))
        return fields[0] if name is None else name

    def field(self, name: str | None) -> VectorField:
        """The vectors of a field, of the first one if None."""
        name = self.field_name(name)
        with self._lock:  # threads that come together would each load them
            if name not in self._fields:
                field = self._load(name)
                field.approximate = self._load_graph(name, field)
                self._fields[name] = field
            return self._fields[name]

    def ids(self, name: str | None) -> list[str]:
        """The ids of the rows with a vector in a field, in row order."""
        name = self.field_name(name)
        with self._lock:
            if name not in self._ids:
                with self._backend.read() as view:
                    self._ids[name] = view.ids(name)
            return self._ids[name]

    def rows(self, keys: Sequence[int] | Keys) -> list[dict[str, Any]]:
        """The rows of some keys, each with its `id`."""
        with self._backend.read() as view:
            return view.rows([int(key) for key in keys])

    def key(self, id: str) -> int:
        """The key of a row; UsageError with a suggestion if there is no such id."""
        with self._backend.read() as view:
            return ids.require_key(view, id)

    def position(self, id: str, name: str | None) -> int:
        """The position of a row in a field; UsageError if there is no such id, or it has no vector."""
        positions = self.field(name).positions_of([self.key(id)])
        if not len(positions):
            raise self._no_vector(id)
        return int(positions[0])

    def positions(self, names: Collection[str], field: str | None) -> Positions:
        """The ascending positions of those rows that are there."""
        if not names:
            return np.empty(0, np.intp)
        with self._backend.read() as view:
            keys = [key for id in names if (key := view.key(id)) is not None]
        return self.field(field).positions_of(keys)

    def cells(self, names: Collection[str] | None, field: str | None, every: bool = False) -> dict[str, list[Any]]:
        """The cells of some columns, or of all and `id`, of the rows with a vector in a field, or of every row."""
        selected = [name for name in ["id", *self.info.columns] if names is None or name in names]
        if not self.info.fields:
            return {name: [] for name in selected}
        keys = self.metadata.keys if every else self.field(field).keys
        return {name: self.metadata.values(name, keys) for name in selected}

    def coded_cells(self, name: str, field: str | None, every: bool = False) -> tuple[list[Any], npt.NDArray[np.int32]]:
        """The distinct cells of a column, and for each row with a vector in a field, or every row, which it has."""
        return self.metadata.coded(name, None if every else self.field(field).keys)

    def column_kinds(self, field: str | None) -> dict[str, ColumnKind]:
        """What each column is, over the rows with a vector in a field."""
        name = self.field_name(field) if self.info.fields else ""
        if name not in self._kinds:
            columns = self.info.columns if self.info.fields else []
            self._kinds[name] = {column: self._column_kind(column, field) for column in columns}
        return self._kinds[name]

    def matching_keys(self, where: str) -> Keys:
        """The keys of the rows that meet a condition, ascending."""
        return self.metadata.matching_keys(parse(where, self.info.columns))

    def allowed(self, where: str | None, field: str | None) -> Positions | None:
        """The ascending positions of the rows that meet a condition; None if there is no condition."""
        return None if where is None else self.field(field).positions_of(self.matching_keys(where))

    def points(self, items: Sequence[Item], name: str | None) -> Floats:
        """The vectors (n, D) of items: of rows as they are stored, of others as queries."""
        info = self.info.field_info(self.field_name(name))
        rows = [
            self._vector(item, name) if isinstance(item, str) else rerank.normalize_query(item, info) for item in items
        ]
        return np.array(rows).reshape(len(rows), info.dim)

    def search_store(
        self, query: Floats, k: int, field: str | None, where: str | None, exclude: Collection[str]
    ) -> tuple[Keys, Floats] | None:
        """The keys and scores of the k rows nearest to a query, found by the store; None if it has to be arrays."""
        name = self.field_name(field)
        if (engine := self._backend.engine) is None:
            return None
        with self._backend.read() as view:
            keys = [key for id in exclude if (key := view.key(id)) is not None]
            condition = None if where is None else parse(where, self.info.columns)
            return engine.search(name, query, k, condition, keys)

    def groups(self, column: str, field: str | None) -> Keys:
        """For each row of a field a code (N,), equal where the cells of a column are."""
        return self.metadata.group_codes(column, self.field(field).keys)

    def searcher(self, field: str | None, where: str | None, one_per: str | None, torch: Any) -> NearestNeighbors:
        """An exact search, for many queries, of the rows that meet a condition, one for each value of a column."""
        key = (self.field_name(field), where, one_per, torch)
        with self._lock:
            if key not in self._searchers:
                rerank.ResultOptions(one_per).check(self.info.columns)
                nearest = self.field(field).searcher(self.allowed(where, field), torch)
                if one_per is not None:
                    nearest = GroupedSearch(nearest, self.groups(one_per, field))
                self._searchers = {key: nearest}  # blocks of queries with one condition follow one another
            return self._searchers[key]

    def search_text(self, query: str, k: int, where: str | None, field: str | None) -> tuple[Keys, Floats]:
        """The keys and scores of the k best rows with a word of a query, of a field and a condition if given."""
        is_filtered = where is not None or (field is not None and len(self.field(field)) < self.metadata.count)
        with self._backend.read() as view:
            keys, scores = view.search_text(query, None if is_filtered else k)
        for selected in (
            None if where is None else self.matching_keys(where),
            None if field is None else self.field(field).keys,
        ):
            if selected is not None:
                keep = np.isin(keys, selected)
                keys, scores = keys[keep], scores[keep]
        return keys[:k], scores[:k]

    def hits(self, keys: Keys, scores: Floats) -> list[Hit]:
        """Rows with their scores."""
        rows = self.rows(keys)
        return [Hit(row["id"], float(score), row) for row, score in zip(rows, scores, strict=True)]

    def build_graph(self, name: str) -> float:
        """Build the graph of a field and write its cache if its recall@10, which is returned, is high enough."""
        field = self.field(name)
        graph, recall = approximate.build(field, self.version)
        if recall >= approximate.MIN_RECALL:
            info = self.info.field_info(name)
            graph.write(cache_path(self._backend.path, self.info, name, "hnsw"), info.dim, info.metric)
            self._graphs[name], field.approximate = graph, graph.search(field)
        return recall

    def extend_graph(self, name: str) -> float | None:
        """Add the rows that have changed since the graph of a field to it, and write its cache, if they are many.

        Returns:
            The recall@10 of the new graph; None if the old one stays.

        Raises:
            UserError: the graph is damaged, or faiss is not installed.
        """
        path, last = self._backend.path, self._graphs.get(name)
        with self._backend.read() as view:
            if not approximate.is_outgrown(path, view, name, last):
                return None
            graph = approximate.find(path, view, name, last)
            changed, values, removed = view.changed_vectors(name, graph.version)
            graph = self._graphs[name] = graph.extend(self.version, changed, values, removed)
            field = self.field(name)
        if not len(field):
            return None
        search = graph.search(field)
        recall = approximate.check_recall(field, search, self.info.generation)
        field.approximate = search if recall >= approximate.MIN_RECALL else None
        info = self.info.field_info(name)
        with contextlib.suppress(OSError, UserError):  # it stays in memory
            graph.write(cache_path(path, self.info, name, "hnsw"), info.dim, info.metric)
        return recall

    def _load_graph(self, name: str, field: VectorField) -> NearestNeighbors | None:
        """The approximate search of a field; None, with a warning, if it should have one that cannot be used."""
        recall = self.info.approximate.get(name)
        if recall is None or not len(field) or self._backend.engine is not None:
            return None
        try:
            if recall < approximate.MIN_RECALL:
                problem = f"the recall of its graph has fallen to {recall:.3f}"
                raise UsageError(name, problem, f"build it again with {REBUILD}")
            with self._backend.read() as view:
                graph = approximate.find(self._backend.path, view, name, self._graphs.get(name))
                search = approximate.prepare_search(view, name, field, graph)
        except UserError as error:
            cause = f"{error.subject}: {error.problem}. Fix: {error.fix}"
            if cause not in self._warnings:
                self._warnings.add(cause)
                _LOGGER.warning("%s: vectors of %s are searched exactly: %s", self._backend.path, name, cause)
            return None
        self._graphs[name] = graph
        return search

    def _vector(self, id: str, name: str | None) -> Floats:
        """The vector (D,) of a row."""
        if (engine := self._backend.engine) is None:
            vector: Floats = self.field(name).take(np.array([self.position(id, name)]))[0]
            return vector
        with self._backend.read():
            _, vectors = engine.vectors_at(self.field_name(name), [self.key(id)])
        if not len(vectors):
            raise self._no_vector(id)
        return np.asarray(vectors[0], np.float64)

    def _no_vector(self, id: str) -> UsageError:
        return UsageError(id, "this item has no vector in this field", f"use another: {', '.join(self.info.fields)}")

    def _column_kind(self, column: str, field: str | None) -> ColumnKind:
        first = self.metadata.first_values(column, self.field(field).keys, _FIRST_ROWS)
        if is_text(first):  # which the other rows cannot change
            return TEXT
        return infer_kind(*self.coded_cells(column, field))

    def _load(self, name: str) -> VectorField:
        info = self.info.field_info(name)
        with self._backend.read() as view:
            base = self._bases.get(name)
            if base is None or not view.is_ancestor(base.version):
                base = self._read_base(name)
            if base is not None:
                if base.version == self.version:
                    return VectorField(base, empty_segment(self.version, info.dim, info.metric), np.empty(0, np.int64))
                keys, values, removed = view.changed_vectors(name, base.version)
                if len(keys) + len(removed) <= max(MIN_CHANGES_TO_REWRITE, len(base.keys) // _REWRITE_SHARE):
                    return VectorField(base, make_segment(self.version, keys, values, info.metric), removed)
            path = cache_path(self._backend.path, self.info, name, "f32")
            if view.vector_count(name):
                write_vectors(path, view.vectors(name))
            arrays = read_vectors(path, info.dim)
            if arrays is None:
                blocks = list(view.vectors(name))
                keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in blocks)])
                empty = np.empty((0, info.dim), np.float32)
                arrays = keys, np.concatenate([empty, *(values for _, values in blocks)])
            base = make_segment(self.version, *arrays, info.metric)
            return VectorField(base, empty_segment(self.version, info.dim, info.metric), np.empty(0, np.int64))

    def _read_base(self, name: str) -> Segment | None:
        """The vectors in the newest cache of this version or of an ancestor."""
        info, end = self.info.field_info(name), f"-{list(self.info.fields).index(name)}.f32"
        caches = [(version, path) for path, version, kind in list_caches(self._backend.path) if kind == end]
        with self._backend.read() as view:
            for version, path in sorted(caches, key=lambda cache: -int(cache[0].split("-")[1])):
                if view.is_ancestor(version) and (arrays := read_vectors(path, info.dim)) is not None:
                    return make_segment(version, *arrays, info.metric)
        return None
