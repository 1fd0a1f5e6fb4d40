"""The backend that keeps an index in a Lance dataset, which is a table of LanceDB: a folder, or a prefix of a bucket.

A commit is one merge into the table, so that it is seen whole or not at all. The table also has rows that are not the
user's: row 0 is the description of the index, and row -1 - F the vocabulary of field F. The columns of field F are
`vector_F`, `digest_F` and `written_F` (the generation of the commit that wrote the vector). The cells of metadata are
JSON; a copy of column C is in `text_C`, `number_C` and `flag_C`, where conditions are tested by the store itself.

Letters: N rows, D dimension, T terms.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import DamagedError, MismatchError, UsageError, UserError, missing_extra
from ..where import Condition
from .base import Changes, FieldInfo, Float32s, Floats, IndexInfo, Keys, Row, SearchEngine, View, is_storable
from .encoding import column_names, encode_cells, encode_ids, merge_cells
from .fulltext import document
from .info import serialize_info
from .lance_view import KINDS, LAYOUT, LanceView, Ledger, index_settings, is_exact, is_unicode
from .schema import MAX_COMMITS_IN_HISTORY
from .transaction import random_id

MAX_REMOVED_IN_HISTORY = 100_000  # rows; vectors of a version before them are read again whole
MIN_RECALL = 0.98  # recall@10 below which an approximate search is not used
_TARGET_RECALL = 0.995  # other queries than those that measure it find a little more or less
_ATTEMPTS, _MAX_PAUSE = 20, 0.1  # at a commit while others commit; in seconds between them
_MAX_FRAGMENTS = 64  # files of rows before they are joined
_KEPT_SECONDS = 3_600  # of old versions, which readers may have open
_SAMPLE, _RECALL_K = 200, 10
_ROWS_IN_LIST, _DIMS_IN_CODE = 4_000, 4  # of the inverted file; the numbers that one byte of a code stands for
_ARROW_TYPES = {"text": pa.string(), "number": pa.float64(), "flag": pa.bool_()}
_FIXED = pa.schema([
    pa.field("key", pa.int64(), nullable=False), ("alive", pa.bool_()), ("id", pa.string()), ("cells", pa.string()),
    ("title", pa.string()), ("words", pa.string()), ("blob", pa.large_binary()),
])  # fmt: skip
_SEARCHED = {"id": "BTREE", "title": "INVERTED", "words": "INVERTED"}


class LanceBackend:
    """An index in a Lance dataset, whose vectors need not fit in memory: the store searches them and tests conditions.

    Threads and processes may share it; of two that commit at once, the later one reads again and repeats its commit. A
    vector search is exact until `Index.build_approximate`, which builds an IVF-PQ index in the table. Commits need not
    extend it: the store searches rows that it lacks exactly. Text is ranked by Lance's BM25; the last word of a query
    must be complete. `search` and `similar` leave the vectors where they are; all else reads a field whole, and so do
    conditions with `like` and on columns that hold lists. Files and scans of a folder are not stored.

    Args:
        uri: the folder of the table, or its address in an object store, such as `s3://bucket/songs.lance`.
        storage_options: of the object store, such as `{"region": "eu-central-1"}`; see Lance's documentation.

    Raises:
        UsageError: there is no such table, or pylance is not installed.
        DamagedError: the table is not an index, or it is broken.
        MismatchError: another version of jointembed wrote it.
    """

    def __init__(self, uri: Path | str, storage_options: Mapping[str, str] | None = None) -> None:
        self.uri, self._options = str(uri), dict(storage_options or {})
        # Caches are written beside a local table; beside this path of a remote one nothing can be written.
        self.path = Path(os.devnull, self.uri) if "://" in self.uri else Path(self.uri)
        self.engine: SearchEngine | None = self
        self._lance, self._local, self._lock = _import_lance(), threading.local(), threading.Lock()
        self._last, self._is_untidy = LanceView(self.uri, self._open()), False

    @classmethod
    def create(cls, uri: Path | str, info: IndexInfo, storage_options: Mapping[str, str] | None = None) -> LanceBackend:
        """Make an empty table at once, in the place of an older index.

        Raises:
            UsageError: something else has this name, or vectors cannot have this metric or dimension.
        """
        info.default.check(uri)
        name_error = UsageError(uri, "this name is taken by something that is not an index", "choose another name")
        mode = "overwrite"
        try:
            cls(uri, storage_options)
        except MismatchError:
            pass  # of an older version
        except DamagedError as error:
            raise name_error from error
        except UsageError:
            mode = "create"
            if Path(uri).is_file() or (Path(uri).is_dir() and os.listdir(uri)):
                raise name_error from None
        info, token = replace(info, identity=random_id(), generation=0), random_id()
        table = pa.Table.from_pylist([_description(info, token, Ledger(commits=[(0, token)]))], _FIXED)
        dataset = _import_lance().write_dataset(
            table, str(uri), mode=mode, storage_options=dict(storage_options or {}) or None
        )
        for column, kind in _SEARCHED.items():
            options = {"stem": False, "remove_stop_words": False, "ascii_folding": True} if kind == "INVERTED" else {}
            dataset.create_scalar_index(column, kind, f"{column}_idx", **options)
        return cls(uri, storage_options)

    def close(self) -> None:
        """Bring the table in order, if this object has written it."""
        if self._is_untidy:
            self._tidy(self._open())

    @contextlib.contextmanager
    def read(self) -> Iterator[View]:
        """See `Backend.read`."""
        with self._view() as view:
            yield view

    def commit(self, changes: Changes) -> int:
        """See `Backend.commit`."""
        ids = [id.decode("utf-8", "surrogateescape") for id in encode_ids(changes.rows)]
        if wrong := [id for id in ids if not is_unicode(id)]:
            raise UsageError(ascii(wrong[0]), "a Lance table holds no id that is not Unicode text", "rename it")
        return self._write(lambda view: self._draft(view, changes, ids))

    def write_column(self, name: str, values: Mapping[str, Any], clusters: Sequence[str]) -> None:
        """See `Backend.write_column`."""

        def draft(view: LanceView) -> _Draft:
            changed: list[Row] = []
            replaceable = view.info.clusters.get(name, ())
            for block in view._blocks([]):
                for row in view.rows(block["key"].to_pylist()):
                    if (old := row.pop(name, None)) is not None and old not in replaceable:
                        fix = "choose another --output-column"
                        raise UsageError(name, "the rows already have a column of this name", fix)
                    if (new := values.get(row["id"])) != old:
                        changed.append(merge_cells(row, {name: new}))
            info = replace(view.info, clusters={**view.info.clusters, name: list(clusters)})
            changes = Changes(rows=changed, edit_info=lambda _: info.with_names([], [name]))
            return self._draft(view, changes, [row["id"] for row in changed])

        self._write(draft)

    def search(
        self, field: str, query: Floats, k: int, where: Condition | None, exclude: Collection[int]
    ) -> tuple[Keys, Floats] | None:
        """See `SearchEngine.search`."""
        with self._view() as view:
            expression = None if where is None else view.expression(where)
            if where is not None and expression is None:
                return None
            is_indexed = view.info.approximate.get(field, 0.0) >= MIN_RECALL
            settings: dict[str, Any] = {"use_index": False}
            if is_indexed:
                settings = index_settings(view.ledger.probes[field], where is not None)
            keys, scores = view.nearest(field, query, k + len(exclude), expression, settings)
            keep = ~np.isin(keys, list(exclude))
            return keys[keep][:k], scores[keep][:k]

    def vectors_at(self, field: str, keys: Sequence[int]) -> tuple[Keys, Float32s]:
        """See `SearchEngine.vectors_at`."""
        with self._view() as view:
            return view.vectors_at(field, keys)

    def build_approximate(self, field: str) -> float:
        """See `SearchEngine.build_approximate`."""
        with self._view() as view:
            info, count, column = view.info.field_info(field), view.vector_count(field), view._column("vector", field)
        if count < 1_000:
            wrong = f"an approximate search needs at least 1000 vectors, got {count}"
            raise UsageError("approximate", wrong, "leave it out: an exact search is fast")
        parts = max(divisor for divisor in range(1, max(2, info.dim // _DIMS_IN_CODE + 1)) if not info.dim % divisor)
        self._open().create_index(
            column, "IVF_PQ", metric="l2" if info.metric == "euclidean" else "dot", replace=True,
            num_partitions=max(1, count // _ROWS_IN_LIST), num_sub_vectors=parts,
        )  # fmt: skip
        probes, recall = self._measure(LanceView(self.uri, self._open()), field)
        self._write(
            lambda view: replace(
                self._draft(view, Changes(edit_info=lambda info: info.with_approximate(field, recall)), []),
                probes={field: probes},
            )
        )
        return recall

    def _measure(self, view: LanceView, field: str) -> tuple[int, float]:
        """The smallest number of lists, a power of two, whose recall@10 is high enough, or the largest one."""
        _, vectors = view.vectors_at(field, np.random.default_rng(0).permutation(view.keys())[:_SAMPLE].tolist())
        queries = vectors.astype(np.float64)

        def find(query: Floats, settings: Mapping[str, Any]) -> Floats:
            return view.nearest(field, query, _RECALL_K + 1, None, settings)[1]  # the row itself is the first

        tenth = [find(query, {"use_index": False})[-1] for query in queries]
        probes = 8
        while True:
            settings = index_settings(probes)
            hits = [(find(query, settings) >= score).sum() for query, score in zip(queries, tenth, strict=True)]
            recall = float(np.mean(np.clip(np.array(hits) - 1, 0, _RECALL_K)) / _RECALL_K)
            if recall >= _TARGET_RECALL or probes * _ROWS_IN_LIST >= view.count():
                return probes, recall
            probes *= 2

    @contextlib.contextmanager
    def _view(self) -> Iterator[LanceView]:
        current: LanceView | None = getattr(self._local, "view", None)
        if current is not None:
            yield current
            return
        self._local.view = self._newest()
        try:
            yield self._local.view
        finally:
            self._local.view = None

    def _newest(self) -> LanceView:
        last = self._last
        if last.dataset.latest_version != last.dataset.version:
            last = self._last = LanceView(self.uri, self._open())
        return last

    def _open(self) -> Any:
        try:
            return self._lance.dataset(self.uri, storage_options=self._options or None)
        except ValueError as error:
            if "was not found" not in str(error) and "not found" not in str(error).lower():
                raise
            fix = f"make it with: jointembed index MODEL TABLE {self.uri}"
            raise UsageError(self.uri, "index not found", fix) from error

    def _write(self, draft: Callable[[LanceView], _Draft]) -> int:
        """Commit what a function makes of the newest version, again if another process was faster."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                view = LanceView(self.uri, self._open())
                written = draft(view)
                if written.apply(view):
                    self._is_untidy = True
                    if len(view.dataset.get_fragments()) > _MAX_FRAGMENTS:
                        self._tidy(view.dataset)
                    return len(written.deleted)
                time.sleep(_MAX_PAUSE * random.random())
        raise UsageError(self.uri, "other processes are writing this index", "wait until they have finished")

    def _tidy(self, dataset: Any) -> None:
        """Join files of few rows, add new rows to the indexes of text and ids, and delete old versions.

        New vectors do not enter the approximate search, whose recall would have to be measured again.
        """
        with contextlib.suppress(OSError):  # another process does it
            dataset.optimize.compact_files()
            dataset.optimize.optimize_indices(index_names=[f"{column}_idx" for column in _SEARCHED])
            dataset.cleanup_old_versions(datetime.timedelta(seconds=_KEPT_SECONDS))
            self._is_untidy = False

    def _draft(self, view: LanceView, changes: Changes, ids: Sequence[str]) -> _Draft:
        info = view.info if changes.edit_info is None else changes.edit_info(view.info)
        keys = view.keys_of(ids)
        if changes.vectors is not None:
            self._check(changes.vectors, len(ids), info.field_info(changes.field))
        info = info.with_names([] if changes.vectors is None else [changes.field], column_names(changes.rows))
        rows = [
            (id, row) for id, row in zip(ids, changes.rows, strict=True) if changes.vectors is not None or id in keys
        ]
        vocabulary = {}
        for field, (terms, vectors) in changes.vocabulary.items():
            self._check(vectors, len(terms), info.field_info(field))
            vocabulary[field] = list(terms), vectors
        deleted = list(view.keys_of(list(dict.fromkeys(changes.deletes))).values())
        return _Draft(info, rows, keys, changes.field, changes.vectors, deleted, vocabulary)

    def _check(self, vectors: Float32s, count: int, info: FieldInfo) -> None:
        if vectors.shape != (count, info.dim):
            problem = f"expected {count} vectors of {info.dim} dimensions, got the shape {vectors.shape}"
            raise MismatchError(self.uri, problem, "embed with the model of the index")
        if len(wrong := np.flatnonzero(~is_storable(vectors, info.metric))):
            kind = "finite and of length 1" if info.metric == "cosine" else "finite"
            raise UserError(self.uri, f"vector {wrong[0]} of {count} is not {kind}", "embed these rows again")


@dataclass(frozen=True)
class _Draft:
    """The rows of the next version, and what it says of itself; see `Changes`."""

    info: IndexInfo
    rows: Sequence[tuple[str, Row]]
    keys: Mapping[str, int]
    field: str
    vectors: Float32s | None
    deleted: Sequence[int]
    vocabulary: Mapping[str, tuple[list[str], Float32s]]
    probes: Mapping[str, int] = dataclass_field(default_factory=dict)

    def apply(self, view: LanceView) -> bool:
        """Merge it into the table; False if another process has written the table since this version."""
        generation, token = view.info.generation + 1, random_id()
        ledger, keys = self._ledger(view.ledger, generation, token), dict(self.keys)
        for id, _ in self.rows:
            keys.setdefault(id, ledger.next_key + len(keys) - len(self.keys))
        ledger = replace(ledger, next_key=ledger.next_key + len(keys) - len(self.keys))
        records, ledger = self._records(keys, ledger)
        fields = list(self.info.fields)
        for field, (terms, vectors) in self.vocabulary.items():
            blob = np.ascontiguousarray(vectors, "<f4").tobytes()
            records.append({"key": -1 - fields.index(field), "cells": json.dumps(terms), "blob": blob})
        records.append(_description(replace(self.info, generation=generation), token, ledger))
        columns = [*_FIXED, *_kind_fields(self.info, ledger)]
        table = pa.Table.from_pylist(records, pa.schema(columns))
        if self.vectors is not None:
            table = self._append_vectors(table, fields.index(self.field), generation)
        try:
            _add_columns(view.dataset, table.schema)
            merge = view.dataset.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
            merge.conflict_retries(0).execute(table)
        except OSError as error:
            if "concurrent" not in str(error) and "conflict" not in str(error).lower():
                raise
            return False
        with contextlib.suppress(OSError):  # another process does it
            if self.deleted:
                view.dataset.delete("key > 0 and not alive")
        return True

    def _ledger(self, old: Ledger, generation: int, token: str) -> Ledger:
        commits = [*old.commits, (generation, token)][-MAX_COMMITS_IN_HISTORY:]
        removed = [*old.removed, *([(generation, self.deleted)] if self.deleted else [])]
        while sum(len(keys) for _, keys in removed) > MAX_REMOVED_IN_HISTORY:
            oldest, _ = removed.pop(0)
            commits = [commit for commit in commits if commit[0] >= oldest]
        removed = [(at, keys) for at, keys in removed if at > commits[0][0]]
        return replace(old, commits=commits, removed=removed, probes={**old.probes, **self.probes})

    def _records(self, keys: Mapping[str, int], ledger: Ledger) -> tuple[list[dict[str, Any]], Ledger]:
        """The rows of the table, those of deleted ones too, and the ledger with the kinds of their cells."""
        kinds = {name: list(values) for name, values in ledger.kinds.items()}
        position = {name: number for number, name in enumerate(self.info.columns)}
        records: list[dict[str, Any]] = []
        for id, row in self.rows:
            text = encode_cells(row).decode("utf-8", "surrogateescape")
            text = text if is_unicode(text) else json.dumps(json.loads(text))
            _, title, words = document(keys[id], id, text)
            record = {"key": keys[id], "alive": True, "id": id, "cells": text, "title": title, "words": words}
            for name, cell in json.loads(text).items():
                if cell is None:
                    continue
                kind = KINDS[type(cell)] if type(cell) in KINDS and is_exact(cell) else "other"
                if kind not in kinds.setdefault(name, []):
                    kinds[name].append(kind)
                if kind != "other":
                    record[f"{kind}_{position[name]}"] = float(cell) if kind == "number" else cell
            records.append(record)
        return records + [{"key": key, "alive": False} for key in self.deleted], replace(ledger, kinds=kinds)

    def _append_vectors(self, table: Any, position: int, generation: int) -> Any:
        assert self.vectors is not None
        dim, count, rest = self.vectors.shape[1], len(self.rows), len(table) - len(self.rows)
        values = np.concatenate([self.vectors.astype(np.float32), np.zeros((rest, dim), np.float32)])
        mask = np.arange(len(table)) >= count
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dim, mask=pa.array(mask))
        digests = [row.get("_digest") for _, row in self.rows] + [None] * rest
        written = pa.array(np.full(len(table), generation, np.int64), mask=mask)
        table = table.append_column(f"vector_{position}", vectors)
        table = table.append_column(f"digest_{position}", pa.array(digests, pa.string()))
        return table.append_column(f"written_{position}", written)


def _add_columns(dataset: Any, schema: Any) -> None:
    """Give the table the columns of a schema; one of another type is left of a commit that never came."""
    present = {field.name: field.type for field in dataset.schema}
    stale = [field.name for field in schema if present.get(field.name, field.type) != field.type]
    if stale:
        dataset.drop_columns(stale)
    if new := [field for field in schema if field.name not in present or field.name in stale]:
        dataset.add_columns(pa.schema(new))


def _kind_fields(info: IndexInfo, ledger: Ledger) -> list[Any]:
    """The columns of the table for the cells of metadata."""
    return [
        pa.field(f"{kind}_{position}", _ARROW_TYPES[kind])
        for position, name in enumerate(info.columns)
        for kind in ledger.kinds.get(name, ())
        if kind != "other"
    ]


def _description(info: IndexInfo, token: str, ledger: Ledger) -> dict[str, Any]:
    """The row of the table that describes the index."""
    meta = {**dict(serialize_info(info)), "commit": token, "layout": LAYOUT, "ledger": vars(ledger)}
    return {"key": 0, "alive": False, "cells": json.dumps(meta)}


def _import_lance() -> Any:
    """The module; UsageError if it is not installed."""
    try:
        import lance
    except ImportError as error:
        raise missing_extra("lance", "pylance") from error
    return lance
