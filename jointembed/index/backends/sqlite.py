"""The backend that keeps an index in one SQLite file.

Letters: N rows, D dimension, T terms.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import files
from ...errors import DamagedError, MismatchError, UsageError, UserError, nearest
from . import fulltext, records
from .base import Changes, FieldInfo, Float32s, IndexInfo, Keys, Row, SearchEngine, View, is_storable
from .connection import (
    authorize,
    connect,
    connect_reader,
    has_application_id,
    has_wal,
    rebuild_command,
    recreate_hint,
    translate_errors,
)
from .encoding import column_names, encode_cells, encode_id, encode_ids, merge_cells
from .info import parse_info
from .mounts import MOUNTS, network_file_system
from .schema import APPLICATION_ID, SCHEMA_VERSION, TABLES, seal_records
from .transaction import Transaction, prune_history, random_id, write_info

_BLOCK_ROWS = 8_192
_CHECKPOINT_MILLISECONDS = 1_000  # to wait for readers of older versions


class SQLiteView:
    """One version of the file, through a connection in a transaction; see `View`."""

    def __init__(self, path: Path, db: sqlite3.Connection, last: IndexInfo | None) -> None:
        self.path, self.db = path, db
        token = db.execute("SELECT value FROM meta WHERE key = 'commit'").fetchall()
        if last is not None and token and last.version.endswith("-" + token[0][0]):
            self.info = last
            return
        try:
            self.info = parse_info(dict(db.execute("SELECT key, value FROM meta")))
        except (KeyError, ValueError, TypeError, AttributeError, UserError) as error:
            problem = "the description of this index is broken"
            raise DamagedError(path, problem, recreate_hint(path)) from error

    def count(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM rows").fetchall()[0][0])

    def key(self, id: str) -> int | None:
        keys = self.db.execute("SELECT number FROM rows WHERE id = CAST(? AS TEXT)", (encode_id(id),)).fetchall()
        return int(keys[0][0]) if keys else None

    def keys(self) -> Keys:
        return np.fromiter(chain.from_iterable(self.db.execute("SELECT number FROM rows ORDER BY number")), np.int64)

    def ids(self, field: str | None = None) -> list[str]:
        if field is None:
            return [id for (id,) in self.db.execute("SELECT id FROM rows ORDER BY number")]
        sql = "SELECT id FROM rows JOIN vectors ON row = number WHERE field = ? ORDER BY number"
        return [id for (id,) in self.db.execute(sql, (field,))]

    def rows(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        return records.fetch(self.db, keys)

    def cells(self, names: Sequence[str]) -> Iterator[str]:
        paths = [f'$."{name}"' for name in names]
        if list(names) == ["id"]:
            sql, paths = "SELECT json_array(id) FROM rows ORDER BY number", []
        else:  # of a single path json_extract gives the value instead of a list
            sql = f"SELECT json_extract(columns, {'?, ' * len(names)}'$[#]') FROM rows ORDER BY number"
        return (text for (text,) in self.db.execute(sql, paths))

    def find_named(self, name: str) -> list[str]:
        encoded = encode_id(name)
        sql = "SELECT id FROM paths JOIN rows USING(content) WHERE path = ? ORDER BY number LIMIT 1"
        ids = self.db.execute(sql, (encoded,)).fetchall()
        if not ids:
            composed = encode_id(unicodedata.normalize("NFC", name))
            cells = "json_extract(columns, '$.title'), json_extract(columns, '$.path')"
            sql = f"SELECT id FROM rows WHERE CAST(? AS TEXT) IN ({cells}) OR CAST(? AS TEXT) IN ({cells})"
            ids = self.db.execute(f"{sql} ORDER BY number", (encoded, composed)).fetchall()
        return [id for (id,) in ids]

    def vectors(self, field: str) -> Iterator[tuple[Keys, Float32s]]:
        sql = "SELECT row, blob FROM vectors WHERE field = ? ORDER BY row"
        return self._decode(field, self.db.execute(sql, (field,)))

    def vector_count(self, field: str) -> int:
        return int(self.db.execute("SELECT count(*) FROM vectors WHERE field = ?", (field,)).fetchall()[0][0])

    def is_ancestor(self, version: str) -> bool:
        identity, generation, token = version.split("-")
        sql = "SELECT token FROM commits WHERE generation = ?"
        return identity == self.info.identity and self.db.execute(sql, (int(generation),)).fetchall() == [(token,)]

    def changed_vectors(self, field: str, since: str) -> tuple[Keys, Float32s, Keys]:
        generation = int(since.split("-")[1])
        sql = "SELECT row, blob FROM vectors WHERE field = ? AND generation > ? ORDER BY row"
        blocks = list(self._decode(field, self.db.execute(sql, (field, generation))))
        removed = self.db.execute("SELECT row FROM removed WHERE field = ? AND generation > ?", (field, generation))
        keys = np.concatenate([np.empty(0, np.int64), *(block for block, _ in blocks)])
        empty = np.empty((0, self.info.field_info(field).dim), np.float32)
        values = np.concatenate([empty, *(values for _, values in blocks)])
        return keys, values, np.fromiter(chain.from_iterable(removed), np.int64)

    def _decode(self, field: str, cursor: sqlite3.Cursor) -> Iterator[tuple[Keys, Float32s]]:
        info = self.info.field_info(field)
        while block := cursor.fetchmany(_BLOCK_ROWS):
            if any(len(blob) != 4 * info.dim for _, blob in block):
                problem = f"a stored vector does not have {info.dim} dimensions"
                raise DamagedError(self.path, problem, recreate_hint(self.path))
            keys = np.array([key for key, _ in block], "<i8")
            values = np.frombuffer(b"".join(blob for _, blob in block), "<f4").reshape(-1, info.dim)
            wrong = np.flatnonzero(~is_storable(values, info.metric))
            if len(wrong):
                kind = "finite and of length 1" if info.metric == "cosine" else "finite"
                problem = f"the vector of row {keys[wrong[0]]} is not {kind}"
                raise DamagedError(self.path, problem, recreate_hint(self.path))
            yield keys, values

    def vocabulary(self, field: str) -> tuple[list[str], Float32s]:
        sql = "SELECT word, blob FROM terms WHERE field = ? ORDER BY rowid"
        terms = self.db.execute(sql, (field,)).fetchall()
        dim = self.info.field_info(field).dim
        vectors = np.frombuffer(b"".join(blob for _, blob in terms), "<f4").reshape(-1, dim)
        return [term for term, _ in terms], vectors

    def search_text(self, query: str, k: int | None) -> tuple[Keys, npt.NDArray[np.float64]]:
        return fulltext.search(self.db, query, k)

    def embedded_digests(self, ids: Sequence[str], field: str) -> list[str | None]:
        sql = "SELECT digest FROM rows CROSS JOIN vectors ON row = number WHERE id = CAST(? AS TEXT) AND field = ?"
        rows = (self.db.execute(sql, (encode_id(id), field)).fetchall() for id in ids)
        return [matches[0][0] if matches else None for matches in rows]

    def changed_rows(self, rows: Sequence[Row]) -> list[Row]:
        changed: list[Row] = []
        for id, row in zip(encode_ids(rows), rows, strict=True):
            stored = records.stored_cells(self.db, id, row.get("_file"))
            if stored is not None:
                cells, has_file = stored
                merged = merge_cells(json.loads(cells), row)
                if (encode_cells(merged), row.get("_file") is not None) != (cells, has_file):
                    changed.append(merged)
        return changed


@contextlib.contextmanager
def _removing(part: Path) -> Iterator[None]:
    """Remove the part of a file, with its log, where writing it fails."""
    try:
        yield
    except BaseException:
        for end in ("", "-wal", "-shm"):
            part.with_name(part.name + end).unlink(missing_ok=True)
        raise


class SQLiteBackend:
    """An index in one SQLite file: whole versions, one commit after another. Threads may share it.

    A connection that reads cannot write and may only select. There are as many as threads read at once.

    SQLite's log is in memory that computers cannot share. So a file on a network file system is read as it is, without
    locks, and is not opened while there is a log beside it, unless this object writes it.

    Args:
        path: the file.
        mounts: the system's list of mounted file systems.

    Raises:
        UsageError: there is no such file, it may not be read, or another computer may be writing it.
        DamagedError: the file is broken, or it is not an index.
        MismatchError: another version of jointembed wrote it.
    """

    engine: SearchEngine | None = None

    def __init__(self, path: Path | str, mounts: Path = MOUNTS) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            example = next(iter(sorted(self.path.glob("*.index"))), self.path / "songs.index")
            raise UsageError(path, "this is a folder, not an index", f"give the file of an index, such as {example}")
        if not self.path.is_file():
            near = nearest(
                self.path.name, [file.name for file in self.path.absolute().parent.glob("*.index") if file.is_file()]
            )
            make = f"make it with: {rebuild_command(self.path)}"
            fix = f"did you mean {self.path.with_name(near)}?" if near else make
            raise UsageError(path, "index not found", fix)
        self._local = threading.local()
        self._lock, self._write_lock = threading.Lock(), threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._is_closed = False
        self._last: IndexInfo | None = None
        self._epoch = 0  # connections of earlier ones would go on to read the file as it was
        self._content = _describe_file(self.path)
        self._network = network_file_system(self.path.absolute().parent, mounts)
        with translate_errors(self.path):
            self._idle = [self._connect()]

    @classmethod
    def create(cls, path: Path | str, info: IndexInfo) -> SQLiteBackend:
        """Make an empty file at once, in the place of an older index or of an empty file.

        Raises:
            UsageError: another file has this name, or vectors cannot have this metric or dimension.
        """
        files.check_local(path)
        path = Path(path)
        info.default.check(path)
        if path.is_dir() or (path.is_file() and path.stat().st_size and not has_application_id(path)):
            raise UsageError(path, "this name is taken by something that is not an index", "choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        info = replace(info, identity=random_id(), generation=0)
        with _removing(part), translate_errors(path), contextlib.closing(connect(part, "mode=rwc")) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN")
            for table in TABLES:
                db.execute(table)
            write_info(db, info, random_id())
            seal_records(db, 0)
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute("COMMIT")
        for end in ("-wal", "-shm"):  # an older index's log would be replayed into the new file
            path.with_name(path.name + end).unlink(missing_ok=True)
        os.replace(part, path)
        files.fsync_dir(path.parent)
        return cls(path)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded into it, even if other processes read it.

        SQLite alone leaves the log to the last of them, and would replay it into another file that `mv` or `cp` puts in
        the place of this one.
        """
        with self._lock:
            idle, self._idle, self._is_closed = self._idle, [], True
            writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(sqlite3.Error):
                writer.execute(f"PRAGMA busy_timeout={_CHECKPOINT_MILLISECONDS}")
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            writer.close()
        for db in idle:
            db.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[View]:
        """See `Backend.read`."""
        current: SQLiteView | None = getattr(self._local, "view", None)
        if current is not None:
            with translate_errors(self.path):
                yield current
            return
        with translate_errors(self.path):
            if self._network is not None and (content := _describe_file(self.path)) != self._content:
                self._content = content
                self._renew_connections()
            epoch = self._epoch
            with self._lock:
                db = self._idle.pop() if self._idle else None
            db = db or self._connect()
            try:
                db.execute("BEGIN")
                view = self._local.view = SQLiteView(self.path, db, self._last)
                self._last = view.info
                yield view
            finally:
                self._local.view = None
                if db.in_transaction:
                    db.execute("COMMIT")
                with self._lock:
                    if self._is_closed or epoch != self._epoch:
                        db.close()
                    else:
                        self._idle.append(db)

    @contextlib.contextmanager
    def inspect(self) -> Iterator[SQLiteView]:
        """A version, read without the bounds of `authorize`."""
        with self.read() as view:
            assert isinstance(view, SQLiteView)
            view.db.set_authorizer(None)
            try:
                yield view
            finally:
                view.db.set_authorizer(authorize)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that writes the next version: all of the block, or nothing of it."""
        with self._write_lock, translate_errors(self.path):
            if self._writer is None:
                self._network = None
                self._renew_connections()
                self._writer = connect(self.path, "mode=rw")
                self._writer.execute("PRAGMA synchronous=FULL")
                self._writer.execute("PRAGMA foreign_keys=ON")
                fulltext.track_changes(self._writer)
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                fulltext.upgrade(db)
                transaction = Transaction(db, SQLiteView(self.path, db, None).info)
                yield transaction
                fulltext.write_changes(db)
                info = transaction.info
                token = random_id()
                write_info(db, replace(info, generation=info.generation + 1), token)
                prune_history(db, info)
                seal_records(db, info.generation + 1)
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def commit(self, changes: Changes) -> int:
        """See `Backend.commit`."""
        ids = encode_ids(changes.rows)
        with self.write() as transaction:
            db = transaction.db
            if changes.edit_info is not None:
                transaction.info = changes.edit_info(transaction.info)
            if changes.vectors is not None:
                blobs = self.encode_vectors(changes.vectors, len(ids), transaction.info.field_info(changes.field))
                records.upsert(db, ids, changes.rows, blobs, changes.field)
                transaction.add_names([changes.field], column_names(changes.rows))
            elif ids:
                records.update(db, ids, changes.rows)
                transaction.add_names([], column_names(changes.rows))
            for field, (terms, vectors) in changes.vocabulary.items():
                blobs = self.encode_vectors(vectors, len(terms), transaction.info.field_info(field))
                records.write_vocabulary(db, field, terms, blobs)
            return records.delete(db, changes.deletes)

    def write_column(self, name: str, values: Mapping[str, Any], clusters: Sequence[str]) -> None:
        """See `Backend.write_column`."""
        with self.write() as transaction:
            own = transaction.info.clusters
            records.write_column(transaction.db, name, values, own.get(name, ()))
            transaction.info = replace(transaction.info, clusters={**own, name: list(clusters)})
            transaction.add_names([], [name])

    def encode_vectors(self, vectors: Float32s, count: int, info: FieldInfo) -> list[bytes]:
        """The vectors (N, D) of `count` rows as blobs.

        Raises:
            MismatchError: they have another shape.
            UserError: a vector is not finite, or not of length 1 where the metric is cosine.
        """
        if vectors.shape != (count, info.dim):
            problem = f"expected {count} vectors of {info.dim} dimensions, got the shape {vectors.shape}"
            raise MismatchError(self.path, problem, recreate_hint(self.path))
        vectors = np.ascontiguousarray(vectors, "<f4")
        wrong = np.flatnonzero(~is_storable(vectors, info.metric))
        if len(wrong):
            kind = "finite and of length 1" if info.metric == "cosine" else "finite"
            raise UserError(self.path, f"vector {wrong[0]} of {count} is not {kind}", "embed these rows again")
        return [vector.tobytes() for vector in vectors]

    def _renew_connections(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            self._epoch += 1
        for db in idle:
            db.close()

    def _connect(self) -> sqlite3.Connection:
        if self._network is not None:
            if has_wal(self.path):
                problem = f"another computer may be writing this index on a network file system ({self._network})"
                fix = "wait until it has finished; if none is writing, copy the index and its -wal file to a local disk"
                raise UsageError(self.path, problem, fix)
            return connect_reader(self.path, "immutable=1")
        try:
            return connect_reader(self.path, "mode=rw")
        except sqlite3.OperationalError:
            # A reader of a log writes beside the file. Where it may not and there is no log, nobody writes.
            if os.access(self.path.parent, os.W_OK):
                raise
            if has_wal(self.path):
                wrong = "its last changes are in a log, which is read only in a folder that may be written"
                fix = "run jointembed verify on it where that is so, or copy it and its -wal file to such a folder"
                raise UsageError(self.path, wrong, fix) from None
            return connect_reader(self.path, "immutable=1")


def _describe_file(path: Path) -> tuple[int, int, int]:
    """What changes with the content of a file; zeros if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
