"""One SQLite file that holds the rows of an index, their vectors, and what they were made with.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import Damaged, Failure, Full, Mismatch, Usage
from .rows import Row, ids, names, remove, upsert

APPLICATION = 0x4A6E456D  # "JnEm", at a fixed place of the file's header
SCHEMA = 1
METRICS = ("cosine", "euclidean")
WIDEST = 65_536  # dimensions
LONGEST = 1e18  # a vector's length whose square still fits a float32, with room for a difference of two

# A row's number is never used again, so that the order of the numbers is the order in which rows came.
TABLES = (
    "CREATE TABLE content(number INTEGER PRIMARY KEY, hash TEXT UNIQUE) STRICT",
    "CREATE TABLE paths(path BLOB PRIMARY KEY, content INTEGER NOT NULL REFERENCES content(number)) STRICT",
    "CREATE TABLE rows(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    " content INTEGER REFERENCES content(number), columns TEXT NOT NULL) STRICT",
    'CREATE TABLE vectors(row INTEGER NOT NULL REFERENCES rows(number) ON DELETE CASCADE, "column" TEXT NOT NULL,'
    ' blob BLOB NOT NULL, PRIMARY KEY("column", row)) STRICT',
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE INDEX vectors_row ON vectors(row)",
    "CREATE INDEX rows_content ON rows(content)",
    "CREATE INDEX paths_content ON paths(content)",
)
_OWN = {*TABLES, "CREATE TABLE sqlite_sequence(name,seq)"}
_FUNCTIONS = {"json_extract", "json_type", "json_array", "typeof", "coalesce", "count", "abs", "length", "like"}


class Store:
    """The SQLite file behind an index: whole generations, one committed after another.

    Reading goes through a connection that cannot write and may only select; a second one is opened for writing.

    Raises:
        Usage: there is no such file, or it may not be read.
        Damaged: the file is broken, or it is not an index.
        Mismatch: another version of jointembed wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise Usage(path, "there is no such index", f"make it with: {mend(self.path)}")
        self._writer: sqlite3.Connection | None = None
        with _faults(self.path):
            try:
                self._reader = self._open("mode=rw")
            except sqlite3.OperationalError:
                # A reader of a log writes beside the file. Where it may not and there is no log, nobody writes.
                if os.access(self.path.parent, os.W_OK) or self._logged():
                    raise
                self._reader = self._open("immutable=1")

    @classmethod
    def create(cls, path: Path | str, dim: int, metric: str, **meta: str) -> Store:
        """Make an empty store under `path` at once, in the place of an older index or of an empty file.

        Args:
            path: the file to be made; its folder too, if need be.
            dim: numbers in a vector.
            metric: `cosine` or `euclidean`.
            meta: what else to remember: model, fingerprint, note.
        """
        path = Path(path)
        if metric not in METRICS or not 1 <= dim <= WIDEST:
            fix = f"use {' or '.join(METRICS)}, and 1 to {WIDEST} dimensions"
            raise Usage(path, f"no index can have the metric {metric} in {dim} dimensions", fix)
        if path.is_dir() or (path.is_file() and path.stat().st_size and not _ours(path)):
            raise Usage(path, "something that is no index has this name", "choose another name, or delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        about = {**meta, "dim": dim, "metric": metric, "identity": os.urandom(4).hex()}
        about |= {"generation": 0, "columns": "[]", "cells": "[]"}
        with _faults(path), contextlib.closing(sqlite3.connect(part, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN")
            for table in TABLES:
                db.execute(table)
            db.executemany("INSERT INTO meta VALUES(?, ?)", [(key, str(value)) for key, value in about.items()])
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={SCHEMA}")
            db.execute("COMMIT")
        for end in ("-wal", "-shm"):  # an older index's log would be replayed into the new file
            path.with_name(path.name + end).unlink(missing_ok=True)
        os.replace(part, path)
        files.sync(path.parent)
        return cls(path)

    def close(self) -> None:
        """Close both connections; the log is folded into the file."""
        for db in (self._writer, self._reader):
            if db is not None:
                db.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one and the same generation until the end of the block."""
        with _faults(self.path):
            if self._reader.in_transaction:
                yield self._reader
                return
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that writes the next generation: all of the block, or nothing of it."""
        with _faults(self.path):
            if self._writer is None:
                self._writer = _connect(self.path, "mode=rw")
                self._writer.execute("PRAGMA synchronous=FULL")
                self._writer.execute("PRAGMA foreign_keys=ON")
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def meta(self) -> dict[str, Any]:
        """What the file says of itself: model, fingerprint, note, metric, dim, identity, generation, columns, cells.

        `columns` are those that have vectors, `cells` those that rows have, both in the order of their coming.
        """
        with self.reading() as db:
            meta: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta"))
        try:
            meta |= {name: int(meta[name]) for name in ("dim", "generation")}
            meta |= {name: json.loads(meta[name]) for name in ("columns", "cells")}
            named = all(isinstance(name, str) for name in meta["columns"] + meta["cells"])
            # The identity becomes part of a file's name.
            sound = named and 1 <= meta["dim"] <= WIDEST and meta["metric"] in METRICS
            if not sound or not re.fullmatch("[0-9a-f]{8}", meta["identity"]):
                raise ValueError(meta)
        except (KeyError, ValueError, TypeError) as error:
            raise Damaged(self.path, "what this index says of itself is broken", mend(self.path)) from error
        return meta

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], column: str) -> None:
        """Add rows and their vectors of one column, or replace those of the same id; all at once.

        Args:
            rows: N rows, each with its `id`; their other cells are kept if JSON can hold them in 64 kB.
                `_path` (relative to the root, text or bytes) and `_hash` (of the content) are kept apart from them.
            vectors: (N, D), finite; of length 1 if the metric is cosine.
            column: which column of the rows was embedded.

        Raises:
            Failure: a vector is not finite, or not of length 1 where the metric is cosine.
            Mismatch: the vectors have another dimension than the index.
            Usage: an id is missing, not text, or there twice.
        """
        meta = self.meta()
        known = ids(rows)
        blobs = self._blobs(vectors, len(rows), meta["dim"], meta["metric"])
        with self.writing() as db:
            upsert(db, zip(known, rows, blobs, strict=True), column)
            for key, new in (("columns", [column]), ("cells", names(rows))):
                [(old,)] = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchall()
                value = json.dumps(list(dict.fromkeys([*json.loads(old), *new])))
                db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))

    def remove(self, ids: Iterable[str]) -> int:
        """Remove rows with all that belongs to them; ids that are not there are passed over.

        Returns:
            How many rows were removed.
        """
        with self.writing() as db:
            return remove(db, ids)

    def _open(self, how: str) -> sqlite3.Connection:
        db = _connect(self.path, how)
        try:
            db.execute("PRAGMA query_only=ON")
            self._verify(db)
            db.execute("SELECT value FROM json_each('[]')").fetchall()  # its first use asks for more than a later one
        except BaseException:
            db.close()
            raise
        db.set_authorizer(_allowed)
        return db

    def _verify(self, db: sqlite3.Connection) -> None:
        [(application,)], [(version,)] = db.execute("PRAGMA application_id"), db.execute("PRAGMA user_version")
        if application != APPLICATION:
            raise Damaged(self.path, "this is not an index", f"delete it, then run: {mend(self.path)}")
        if version != SCHEMA:
            fix = "pip install -U jointembed" if version > SCHEMA else mend(self.path)
            raise Mismatch(self.path, f"another version of jointembed wrote this index (layout {version})", fix)
        schema = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema") if sql is not None}
        if schema != _OWN or self._cut():
            raise Damaged(self.path, "this index is broken", mend(self.path))

    def _cut(self) -> bool:
        """Whether the file is shorter than it says; SQLite fills a last page that is cut with zeros."""
        if self._logged():
            return False
        with open(self.path, "rb") as file:
            head = file.read(100)
        size = int.from_bytes(head[16:18], "big")
        return self.path.stat().st_size < (65_536 if size == 1 else size) * int.from_bytes(head[28:32], "big")

    def _logged(self) -> bool:
        log = self.path.with_name(self.path.name + "-wal")
        return log.exists() and log.stat().st_size > 0

    def _blobs(self, vectors: npt.NDArray[np.float32], count: int, dim: int, metric: str) -> list[bytes]:
        if vectors.shape != (count, dim):
            wrong = f"vectors of shape {vectors.shape} came for {count} rows of {dim} dimensions"
            raise Mismatch(self.path, wrong, mend(self.path))
        vectors = np.ascontiguousarray(vectors, "<f4")
        bad = np.flatnonzero(~valid(vectors, metric))
        if len(bad):
            ask = "finite and of length 1" if metric == "cosine" else "finite"
            raise Failure(self.path, f"vector {bad[0]} of {count} is not {ask}", "embed these rows again")
        return [one.tobytes() for one in vectors]


def mend(path: Path) -> str:
    """The command that writes an index anew."""
    return f"jointembed index MODEL TABLE {path}"


def valid(vectors: npt.NDArray[np.float32], metric: str) -> npt.NDArray[np.bool_]:
    """Which of (N, D) vectors may be stored: those that are finite, and of length 1 if the metric is cosine."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    least, most = (0.999, 1.001) if metric == "cosine" else (0.0, LONGEST)
    return np.asarray((least <= length) & (length <= most))


def _ours(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(72)[68:] == APPLICATION.to_bytes(4, "big")


def _connect(path: Path, how: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
    db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    db.execute("PRAGMA trusted_schema=OFF")
    return db


def _allowed(action: int, name: str | None, function: str | None, _database: str | None, _trigger: str | None) -> int:
    plain = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_TRANSACTION)
    known = action == sqlite3.SQLITE_FUNCTION and function in _FUNCTIONS
    return sqlite3.SQLITE_OK if plain or known else sqlite3.SQLITE_DENY


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # absent where Python itself, not SQLite, complains
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Usage(path, "another process is writing this index", "wait until it has finished") from error
        if code == sqlite3.SQLITE_FULL:
            raise Full(path, "no space is left on the disk", "free some space and run the command again") from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise Usage(path, "this index may not be opened or written here", "check its permissions") from error
        if code == sqlite3.SQLITE_NOTADB:
            raise Damaged(path, "this is not an index", f"delete it, then run: {mend(path)}") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR):
            raise Damaged(path, "this index is broken", mend(path)) from error
        raise
