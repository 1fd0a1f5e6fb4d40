"""An index: rows with vectors in one space, and the nearest of them by one exact score.

Letters: N rows, D dimension, M queries, K results.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import MismatchError, UsageError
from ..values import escape_surrogates
from . import ids as lookup
from . import path, rerank
from .backends.base import Backend, Changes, FieldInfo, IndexInfo, Root, Row
from .backends.connection import recreate_hint
from .backends.sqlite import SQLiteBackend
from .column_kinds import ColumnKind
from .graph_upkeep import GraphUpkeep
from .hits import Hit
from .snapshot import Item, Snapshot

if TYPE_CHECKING:
    from .backends.lance import LanceBackend

Query = npt.NDArray[np.floating[Any]]


class Index:
    """Rows and their vectors, searched exactly. Threads may share an index.

    Each call sees one committed version, whoever writes meanwhile, and the next call the newest one; calls inside
    `reading` all see the same version. Equal scores stand in row order, which is the order in which rows were added.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/songs.index", 2, "cosine") as index:
    ...     index.add([{"id": "a", "genre": "waltz"}, {"id": "b"}], np.eye(2, dtype=np.float32), "audio")
    ...     index.similar("b")
    [Hit(id='a', score=0.0, row={'id': 'a', 'genre': 'waltz'}, duplicates=())]

    Args:
        backend: where rows and vectors are stored, or the path of a SQLite file, or of a folder that ends in `.lance`;
            see `LanceBackend`.

    Raises:
        UsageError: there is no such file, or it may not be read.
        DamagedError: the file is broken, or it is not an index.
        MismatchError: another version of jointembed wrote it.
    """

    def __init__(self, backend: Backend | Path | str) -> None:
        self.backend: Backend = _backend_class(backend)(backend) if isinstance(backend, Path | str) else backend
        self.path = self.backend.path
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()
        self._graphs = GraphUpkeep(self.backend, self.reading)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open an index for reading and, where the file allows, writing; see the class for the errors raised."""
        return cls(path)

    @classmethod
    def create(
        cls,
        path: Path | str,
        dim: int,
        metric: str,
        model: str = "",
        fingerprint: str = "",
        note: str = "",
        *,
        root: str = "",
        table_root: str = "",
        scan_field: str = "",
        **more: Any,
    ) -> Self:
        """Create an empty index in the place of an older one or of an empty file.

        Args:
            path: the SQLite file, and its folder if need be, or a folder that ends in `.lance`; caches of the vectors
                are written beside it.
            dim: D.
            metric: `cosine`, `dot` or `euclidean`.
            model: see `FieldInfo`, also for the next ones and `more`.
            fingerprint: see `FieldInfo`.
            note: see `FieldInfo`.
            root: the folder that scans read, if it is made from one.
            table_root: see `IndexInfo`.
            scan_field: see `IndexInfo`.
            more: see `FieldInfo`.

        Raises:
            UsageError: another file has this name, or there is no such metric.
        """
        default = FieldInfo(dim, metric, model, fingerprint, note, **more)
        roots = [Root(root)] if root else []
        info = IndexInfo(default, roots=roots, table_root=table_root, scan_field=scan_field)
        return cls(_backend_class(path).create(path, info))

    def close(self) -> None:
        """Close the index."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self.backend.read() as view:
            return view.count()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """One version: all calls of this thread see it until the end of the block."""
        with self.backend.read() as view:
            with self._lock:
                last = self._snapshot
                if last is None or last.version != view.info.version:
                    snapshot = Snapshot(self.backend, view.info, last)
                    if last is None or last.info.generation <= view.info.generation:  # else an older read came later
                        self._snapshot = snapshot
                else:
                    snapshot = last
            yield snapshot

    @property
    def info(self) -> IndexInfo:
        """What the newest version says of itself."""
        with self.backend.read() as view:
            return view.info

    @property
    def version(self) -> str:
        """Identifies the newest version, also among copies of the index that were written to."""
        return self.info.version

    @property
    def fields(self) -> list[str]:
        """The names of the vector fields, the first one added first."""
        return list(self.info.fields)

    @property
    def columns(self) -> list[str]:
        """The names of the metadata columns, in the order in which they came."""
        return list(self.info.columns)

    def field_info(self, field: str | None = None) -> FieldInfo:
        """What is known of a field, by default of the first one."""
        return self.info.field_info(field)

    def set_field_info(self, field: str | None = None, **changes: Any) -> None:
        """Change what is known of a field; see `FieldInfo`."""
        self._commit(Changes(edit_info=lambda info: info.with_field(field, **changes)))

    def add_field(
        self, field: str, dim: int, metric: str, model: str = "", fingerprint: str = "", note: str = "", **more: Any
    ) -> None:
        """Declare a field whose vectors another model computes; see `FieldInfo`.

        Raises:
            UsageError: the index has the field already, or there is no such metric.
        """
        if field in self.fields:
            raise UsageError(field, "the index has this field already", "choose another name")
        added = FieldInfo(dim, metric, model, fingerprint, note, **more)
        added.check(field)
        self._commit(Changes(edit_info=partial(_declare, field, added)))

    def check_model(self, fingerprint: str, field: str | None = None) -> None:
        """Raise MismatchError unless the model of this fingerprint computed the vectors of a field."""
        info = self.field_info(field)
        if fingerprint != info.fingerprint:
            problem = f"another model made the vectors of this index ({info.model or 'unnamed'})"
            raise MismatchError(
                self.path, problem, recreate_hint(self.path) + " (with --field it holds the vectors of both)"
            )

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], field: str) -> None:
        """Add rows and their vectors of one field, or replace rows with the same id; all at once.

        Args:
            rows: N rows, each with its `id`; other cells are stored if JSON can hold them in 64 kB. `_file` (the path
                of a file, relative to the root, text or bytes), `_hash` (of its content) and `_digest` (of the cell
                that was embedded, see `unchanged`) are not part of the metadata.
            vectors: (N, D), finite; of length 1 if the metric is cosine.
            field: the vector field, such as `audio`.

        Raises:
            UserError: a vector is not finite, or not of length 1 where the metric is cosine.
            MismatchError: the vectors have another dimension than the index.
            UsageError: an id is missing, not text, or duplicated.
        """
        self._commit(Changes(rows=rows, field=field, vectors=vectors))

    def update(self, rows: Sequence[Row]) -> None:
        """Merge cells into rows: a cell that is given replaces the old one, None removes it, all others stay.

        Rows that are not in the index are ignored, and vectors stay as they are.

        Raises:
            UsageError: an id is missing, not text, or duplicated.
        """
        with self.backend.read() as view:
            changed = view.changed_rows(rows)
        if changed:
            self._commit(Changes(rows=changed))

    def remove(self, ids: Iterable[str]) -> int:
        """Remove rows with all that belongs to them, and return their number; unknown ids are ignored."""
        return self._commit(Changes(deletes=list(ids)))

    def set_vocabulary(self, terms: Sequence[str], vectors: npt.NDArray[np.float32], field: str) -> None:
        """Store terms of a model's text space with their vectors (T, D), in the place of those that the field had."""
        self._commit(Changes(vocabulary={field: ([escape_surrogates(term) for term in terms], vectors)}))

    def vocabulary(self, field: str | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The terms of a field, by default of the first one, and their vectors (T, D)."""
        with self.backend.read() as view:
            return view.vocabulary(field or next(iter(view.info.fields), ""))

    def write_clusters(self, column: str, values: Mapping[str, str], names: Sequence[str]) -> None:
        """Write a column of cluster names, in one commit.

        Args:
            column: its name.
            values: the cluster of each id; other rows have no value.
            names: the names of the clusters, which the next call may overwrite.

        Raises:
            UsageError: the column holds values that are not clusters.
        """
        self.backend.write_column(column, values, names)
        self.extend_approximate()

    def unchanged(self, rows: Sequence[Row], field: str) -> list[bool]:
        """For each row whether its vector was made from a cell with the same `_digest`."""
        with self.backend.read() as view:
            digests = view.embedded_digests([row["id"] for row in rows], field)
        return [old is not None and old == row.get("_digest") for row, old in zip(rows, digests, strict=True)]

    def search(
        self,
        vector: Query,
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
        exclude: Collection[str] = (),
        *,
        one_per: str | None = None,
        diversity: float = 0.0,
        deduplicate: bool = False,
    ) -> list[Hit]:
        """The k rows whose vectors are nearest, best first; fewer if there are not enough.

        Args:
            vector: (D,), finite; of any length but 0 if the metric is cosine.
            k: the number of results.
            field: the vector field; the first one if None.
            where: a condition that the results meet, such as `genre = 'waltz' and tempo > 120`; see `where.py`.
            exclude: ids of rows that are not wanted.
            one_per: at most one result for each value of this column, such as the artist.
            diversity: from 0, the nearest rows, to 1, rows that differ most; see `rerank.ResultOptions`.
            deduplicate: whether near-duplicates are one result, with the ids of the others.

        Raises:
            UsageError: there is no such field, condition or column, or the query is not a vector of the field.
        """
        return self._search(vector, k, field, where, exclude, rerank.ResultOptions(one_per, diversity, deduplicate))

    def similar(
        self,
        item: Item | Sequence[Item],
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
        *,
        unlike: Sequence[Item] = (),
        exclude: Collection[str] = (),
        one_per: str | None = None,
        diversity: float = 0.0,
        deduplicate: bool = False,
    ) -> list[Hit]:
        """The k rows nearest to an item or to several items, without these items themselves.

        Args:
            item: the id of a row or a vector (D,); or several of them, whose mean is searched for.
            k: see `search`, also for the others.
            field: see `search`.
            where: see `search`.
            unlike: items that the results should differ from; see `rerank.blend`.
            exclude: see `search`.
            one_per: see `search`.
            diversity: see `search`.
            deduplicate: see `search`; near-duplicates of the items are not results either.

        Raises:
            UsageError: there is no such id, or it has no vector in this field.
        """
        with self.reading() as snapshot:
            items = [item] if isinstance(item, str | np.ndarray) else list(item)
            vector = rerank.blend(snapshot.points(items, field), snapshot.points(unlike, field))
            out = [*(id for id in (*items, *unlike) if isinstance(id, str)), *exclude]
            options = rerank.ResultOptions(one_per, diversity, deduplicate)
            queried = [id for id in items if isinstance(id, str)]
            return self._search(vector, k, field, where, out, options, queried)

    def _search(
        self,
        vector: Query,
        k: int,
        field: str | None,
        where: str | None,
        exclude: Collection[str],
        options: rerank.ResultOptions,
        queried: Collection[str] = (),
    ) -> list[Hit]:
        """The k rows nearest to a vector, which was made of some rows; see `search` and `similar`."""
        _check_k(k)
        with self.reading() as snapshot:
            options.check(snapshot.info.columns)
            query = rerank.normalize_query(vector, snapshot.info.field_info(snapshot.field_name(field)))
            if options.is_default:
                nearest = snapshot.search_store(query, k, field, where, exclude)
                if nearest is not None:
                    return snapshot.hits(*nearest)
            view, allowed = snapshot.field(field), snapshot.allowed(where, field)
            excluded = snapshot.positions(exclude, field)
            if options.is_default:
                positions, scores = view.nearest.search(query[None], k, allowed, [excluded] if len(excluded) else None)
                is_row = positions[0] >= 0
                return snapshot.hits(view.keys[positions[0][is_row]], scores[0][is_row])
            codes, originals = partial(snapshot.groups, field=field), snapshot.positions(queried, field)
            results = rerank.search(view, query, k, allowed, excluded, options, codes, originals)
            groups = [(candidate.position, *candidate.duplicates) for candidate in results]
            rows = iter(snapshot.rows(view.keys[[position for group in groups for position in group]]))
            return [
                Hit((row := next(rows))["id"], candidate.score, row, tuple(next(rows)["id"] for _ in group[1:]))
                for candidate, group in zip(results, groups, strict=True)
            ]

    def similar_batch(self, ids: Sequence[str], k: int = 10, field: str | None = None) -> list[list[Hit]]:
        """What `similar` finds for each of several rows, computed together, which is much faster.

        Raises:
            UsageError: there is no such id, or it has no vector in this field.
        """
        _check_k(k)
        with self.reading() as snapshot:
            view = snapshot.field(field)
            own = [np.array([snapshot.position(id, field)]) for id in ids]
            queries = [rerank.normalize_query(view.take(position)[0], view) for position in own]
            positions, scores = view.nearest.search(np.array(queries).reshape(len(ids), view.dim), k, None, own)
            return [
                snapshot.hits(view.keys[row[row >= 0]], row_scores[row >= 0])
                for row, row_scores in zip(positions, scores, strict=True)
            ]

    def path_between(
        self, start: str, end: str, n: int = 10, field: str | None = None, where: str | None = None
    ) -> list[Hit]:
        """A path of n rows between two rows in small steps; the scores are those with `end`. See `path.find_path`.

        Raises:
            UsageError: there is no such id, it has no vector in this field, both are the same, or n is out of range.
        """
        if not 2 <= n <= path.MAX_PATH_ITEMS:
            fix = "give the number of items, both ends included"
            raise UsageError("n", f"must be between 2 and {path.MAX_PATH_ITEMS}, got {n}", fix)
        if start == end:
            raise UsageError("path", f"it ends where it starts, at {end}", "give two different items")
        with self.reading() as snapshot:
            view = snapshot.field(field)
            first, last = (snapshot.position(id, field) for id in (start, end))
            positions = np.array(path.find_path(view, first, last, n, snapshot.allowed(where, field)))
            return snapshot.hits(view.keys[positions], view.rescore(positions, view.take(np.array([last]))[0]))

    def search_text(self, query: str, k: int = 10, where: str | None = None, field: str | None = None) -> list[Hit]:
        """The k rows whose metadata match the words of a query best; only those with a vector in `field` if given.

        Raises:
            UsageError: the query holds no word, or there is no such condition or field.
        """
        _check_k(k)
        with self.reading() as snapshot:
            return snapshot.hits(*snapshot.search_text(query, k, where, field))

    def search_hybrid(
        self, vector: Query, query: str, k: int = 10, field: str | None = None, where: str | None = None
    ) -> list[Hit]:
        """The k rows that rank best by their vectors and by their words together; see `reciprocal_rank_fusion`."""
        _check_k(k)
        with self.reading() as snapshot:
            view = snapshot.field(field)
            normalized, allowed = rerank.normalize_query(vector, view), snapshot.allowed(where, field)
            positions, _ = view.nearest.search(normalized[None], max(100, 10 * k), allowed)
            by_text, _ = snapshot.search_text(query, len(snapshot.metadata.keys), where, None)
            return snapshot.hits(*rerank.reciprocal_rank_fusion([view.keys[positions[0]], by_text], k))

    def search_batch(
        self,
        queries: Query,
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
        exclude: Sequence[Collection[str]] | None = None,
        *,
        one_per: str | None = None,
        torch: Any = None,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The k rows nearest to each of M queries, computed in blocks: much faster than M calls of `search`.

        Args:
            queries: (M, D).
            k: the number of results of each query.
            field: the vector field; the first one if None.
            where: a condition that the results meet.
            exclude: for each query, ids that it must not find; ids that are not in the index are ignored.
            one_per: at most one result for each value of this column.
            torch: the module, to multiply in bfloat16 where that is fast; see `ExactSearch`.

        Returns:
            Positions in `ids(field)` and float64 scores, both (M, K), best first, where K is k or, if that is less, the
            number of candidates. A query with fewer than K results has positions -1 and scores -inf at the end.

        Raises:
            UsageError: there is no such field, condition or column, or a query is not a vector of the field.
        """
        _check_k(k)
        if exclude is not None and len(exclude) != len(queries):
            raise UsageError("exclude", f"it has {len(exclude)} lists for {len(queries)} queries", "give one a query")
        with self.reading() as snapshot:
            view, excluded = snapshot.field(field), None
            points = [rerank.normalize_query(query, view) for query in queries]
            if exclude is not None:
                position = {id: number for number, id in enumerate(snapshot.ids(field))}
                excluded = [np.array([position[id] for id in ids if id in position], np.intp) for ids in exclude]
            searcher = snapshot.searcher(field, where, one_per, torch)
            return searcher.search(np.array(points).reshape(len(points), view.dim), k, None, excluded)

    def build_approximate(self, field: str | None = None, kind: str | None = None) -> float:
        """Search a field approximately from now on.

        The graph is written beside the index, and `info.approximate` has its recall: all processes search it. Commits
        extend it whenever many rows have changed, and measure its recall again; until then it is searched together
        with the rows that it does not have. An inverted file takes less time and memory to build, but only this object
        searches it, and under a condition not even this. Scores are always exact, and so are searches that would not
        gain: those of few rows by a condition, or for hundreds of results, and `search_batch`.

        Args:
            field: the vector field; the first one if None.
            kind: `hnsw`, a graph (see `search/hnsw.py`), or `ivf`, an inverted file (see `search/ivf.py`). If None, a
                graph unless the memory that is free is too small for it.

        Returns:
            The share of the 10 nearest rows that it finds; below 0.98 it is not used.

        Raises:
            UsageError: faiss is not installed, the field has fewer than 1000 vectors, or the graph cannot be written.
        """
        return self._graphs.build(field, kind)

    def extend_approximate(self) -> None:
        """Add the rows of the last commits to the graphs of `build_approximate` if they are many.

        Whatever writes an index through this class does so by itself. If a recall falls below 0.98, searches are exact
        until the next `build_approximate`, and a warning says so.
        """
        self._graphs.extend()

    def _commit(self, changes: Changes) -> int:
        count = self.backend.commit(changes)
        self.extend_approximate()
        return count

    def nearest_terms(self, ids: Sequence[str], n: int = 3, field: str | None = None) -> list[list[str]]:
        """For each row the n nearest terms of the vocabulary; see `rerank.nearest_terms`."""
        terms, vectors = self.vocabulary(field)
        if not terms:
            return [[] for _ in ids]
        with self.reading() as snapshot:
            view = snapshot.field(field)
            positions = [view.positions_of([snapshot.key(id)]) for id in ids]
            rows = np.concatenate([np.empty(0, np.intp), *positions])
            results = iter(rerank.nearest_terms(view, rows, terms, vectors, n))
        return [next(results) if len(position) else [] for position in positions]

    def get_vectors(self, ids: Sequence[str], field: str | None = None) -> npt.NDArray[np.float64]:
        """The vectors (n, D) of rows; UsageError if there is no such id, or it has no vector in this field."""
        with self.reading() as snapshot:
            positions = np.array([snapshot.position(id, field) for id in ids], np.intp)
            vectors: npt.NDArray[np.float64] = snapshot.field(field).take(positions)
            return vectors

    def vectors(self, field: str | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The ids and the (N, D) float32 vectors of a field, in row order; the array is read-only."""
        with self.reading() as snapshot:
            values = snapshot.field(field).vectors.values
            values.flags.writeable = False
            return self.ids(field), values

    def ids(self, field: str | None = None) -> list[str]:
        """The ids of the rows with a vector in a field, by default the first one, in row order."""
        with self.reading() as snapshot:
            return list(snapshot.ids(field))

    def positions(self, ids: Sequence[str], field: str | None = None) -> list[int | None]:
        """The position of each row in `ids` of a field; None for one that is not there."""
        with self.reading() as snapshot, self.backend.read() as view:
            row_keys = [view.key(id) for id in ids]
            keys = snapshot.field(field).keys
            places = np.searchsorted(keys, [-1 if key is None else key for key in row_keys])
        return [
            int(place) if place < len(keys) and keys[place] == key else None
            for place, key in zip(places, row_keys, strict=True)
        ]

    def rows_at(self, positions: Sequence[int], field: str | None = None) -> list[dict[str, Any]]:
        """The rows at some positions in `ids` of a field, each with its `id`; IndexError if one is out of range."""
        with self.reading() as snapshot:
            return snapshot.rows(snapshot.field(field).keys[list(positions)])

    def count(self, where: str | None = None, field: str | None = None) -> int:
        """The number of rows with a vector in a field, by default the first one, that meet a condition."""
        with self.reading() as snapshot:
            allowed = snapshot.allowed(where, field)
            return len(snapshot.field(field)) if allowed is None else len(allowed)

    def cells(
        self, names: Collection[str] | None = None, field: str | None = None, every: bool = False
    ) -> dict[str, list[Any]]:
        """The cells of columns, in the order of `ids`; None where a row has none.

        Args:
            names: the columns, `id` among them; all if None.
            field: of the rows with a vector in this field, by default the first one.
            every: of every row instead, whatever vectors it has.

        Raises:
            UsageError: there is no such field.
        """
        with self.reading() as snapshot:
            return snapshot.cells(names, field, every)

    def coded_cells(
        self, name: str, field: str | None = None, every: bool = False
    ) -> tuple[list[Any], npt.NDArray[np.int32]]:
        """The distinct cells of a column (K,), and for each row (N,) the position of its cell among them.

        Some of the cells may be those of no row. The arguments are those of `cells`.
        """
        with self.reading() as snapshot:
            return snapshot.coded_cells(name, field, every)

    def column_kinds(self, field: str | None = None) -> dict[str, ColumnKind]:
        """What each column but `id` is, over the rows with a vector in a field, by default the first one."""
        with self.reading() as snapshot:
            return snapshot.column_kinds(field)

    def row(self, id: str) -> dict[str, Any]:
        """The cells of a row, `id` among them; UsageError if there is no such row."""
        with self.reading() as snapshot:
            return snapshot.rows([snapshot.key(id)])[0]

    def has(self, id: str) -> bool:
        """Whether there is a row with this id."""
        with self.backend.read() as view:
            return view.key(id) is not None

    def suggest(self, name: str) -> str:
        """A fix for a mistyped id or title, which names the nearest ones; see `titles.nearest_spellings`."""
        with self.backend.read() as view:
            return lookup.suggest(view, name)

    def resolve(self, name: str) -> str | None:
        """The id of an item: an id, else an indexed path, else a title or path that only one row has; None if none.

        An id never changes, so that of a moved file is the path that it had at first. Titles are also compared in
        composed characters (NFC), since file systems differ in that.

        Raises:
            UsageError: several rows have this title or path.
        """
        with self.backend.read() as view:
            return lookup.resolve(view, name)

    def resolve_spelling(self, name: str) -> str | None:
        """The id of the only item whose title, or artist and title, is a name but for how it is spelt; None if none.

        The title is that in the column `title` or `name`; an item whose file has the name is found if no title is it.
        Case, accents, punctuation and a leading article are ignored, and nothing else; see `titles.fold`. A caller
        should say which item it is.

        Raises:
            UsageError: several rows have this title.
        """
        with self.backend.read() as view:
            return lookup.resolve_spelling(view, name)


def _backend_class(path: Path | str) -> type[SQLiteBackend] | type[LanceBackend]:
    if not str(path).endswith(".lance"):
        return SQLiteBackend
    from .backends.lance import LanceBackend  # pyarrow takes long to import

    return LanceBackend


def _check_k(k: int) -> None:
    if k < 1:
        raise UsageError("k", f"must be at least 1, got {k}", "give a positive integer")
    if k >= 2**63:  # SQLite counts no further
        raise UsageError("k", f"must be below 2**63, got {k}", "give a smaller number")


def _declare(field: str, added: FieldInfo, info: IndexInfo) -> IndexInfo:
    return replace(info, declared={**info.declared, field: added})
