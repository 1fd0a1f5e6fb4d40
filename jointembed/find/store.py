"""One SQLite file that holds the rows of an index, their vectors, and what they were made with.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import Damaged, Failure, Mismatch, Usage
from .rows import Row, differs, ids, names, note, remove, same, update, upsert
from .schema import APPLICATION, SCHEMA, TABLES, close
from .sqlite import allowed, anew, connect, faults, logged, mend, ours, verify

METRICS = ("cosine", "dot", "euclidean")
WIDEST = 65_536  # dimensions
LONGEST = 1e18  # a vector's length whose square still fits a float32, with room for a difference of two


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
        if self.path.is_dir():
            raise Usage(path, "there is no such index, only a folder", "give the file of an index")
        if not self.path.is_file():
            raise Usage(path, "there is no such index", f"make it with: {mend(self.path)}")
        self._writer: sqlite3.Connection | None = None
        with faults(self.path):
            try:
                self._reader = self._open("mode=rw")
            except sqlite3.OperationalError:
                # A reader of a log writes beside the file. Where it may not and there is no log, nobody writes.
                if os.access(self.path.parent, os.W_OK) or logged(self.path):
                    raise
                self._reader = self._open("immutable=1")

    @classmethod
    def create(
        cls,
        path: Path | str,
        dim: int,
        metric: str,
        model: str = "",
        fingerprint: str = "",
        note: str = "",
        **about: str,
    ) -> Self:
        """Make an empty one under `path` at once, in the place of an older index or of an empty file.

        Args:
            path: the SQLite file, and its folder if need be; caches of its vectors come to lie beside it.
            dim: numbers in a vector.
            metric: `cosine`, `dot` or `euclidean`.
            model: where the model that embeds its rows lies.
            fingerprint: what tells that model, with its preprocessing, from others.
            note: what a user should know of the vectors, such as what the model was trained on.
            about: what else to remember; see `about`.

        Raises:
            Usage: something else has this name, or there is no such metric.
        """
        path = Path(path)
        if metric not in METRICS or not 1 <= dim <= WIDEST:
            fix = f"use {' or '.join(METRICS)}, and 1 to {WIDEST} dimensions"
            raise Usage(path, f"no index can have the metric {metric} in {dim} dimensions", fix)
        if path.is_dir() or (path.is_file() and path.stat().st_size and not ours(path)):
            raise Usage(path, "something that is no index has this name", "choose another name, or delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        meta = {**about, "model": model, "fingerprint": fingerprint, "note": note, "dim": dim, "metric": metric}
        meta |= {"identity": os.urandom(4).hex(), "generation": 0, "columns": "[]", "cells": "[]"}
        with faults(path), contextlib.closing(connect(part, "mode=rwc")) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN")
            for table in TABLES:
                db.execute(table)
            db.executemany("INSERT INTO meta VALUES(?, ?)", [(key, str(value)) for key, value in meta.items()])
            close(db)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self.reading() as db:
            return int(db.execute("SELECT count(*) FROM rows").fetchall()[0][0])

    @property
    def generation(self) -> int:
        """A number that rises with every commit."""
        return int(self.meta()["generation"])

    @property
    def columns(self) -> list[str]:
        """The columns that have vectors, the first one indexed first."""
        return list(self.meta()["columns"])

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.meta()["dim"])

    @property
    def metric(self) -> str:
        """`cosine`, `dot` or `euclidean`."""
        return str(self.meta()["metric"])

    @property
    def model(self) -> str:
        """Where the model lies that made the vectors."""
        return str(self.meta()["model"])

    @property
    def note(self) -> str:
        """What a user should know of the vectors."""
        return str(self.meta()["note"])

    def about(self, key: str) -> str:
        """What the index remembers under a key of `create`; "" if nothing."""
        return str(self.meta().get(key, ""))

    def check(self, fingerprint: str) -> None:
        """Raise Mismatch unless the model of this fingerprint made the vectors."""
        if fingerprint != self.meta()["fingerprint"]:
            wrong = f"another model made the vectors of this index ({self.model or 'unnamed'})"
            raise Mismatch(self.path, wrong, anew(self.path))

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one and the same generation until the end of the block."""
        with faults(self.path):
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
        with faults(self.path):
            if self._writer is None:
                self._writer = connect(self.path, "mode=rw")
                self._writer.execute("PRAGMA synchronous=FULL")
                self._writer.execute("PRAGMA foreign_keys=ON")
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")
                close(db)
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def remember(self, about: Mapping[str, str]) -> None:
        """Write over what the file says of itself."""
        with self.writing() as db:
            sql = "INSERT OR REPLACE INTO meta VALUES(?, CAST(? AS TEXT))"
            db.executemany(sql, [(key, os.fsencode(value)) for key, value in about.items()])

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
            raise Damaged(self.path, "what this index says of itself is broken", anew(self.path)) from error
        return meta

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], column: str) -> None:
        """Add rows and their vectors of one column, or replace those of the same id; all at once.

        Args:
            rows: N rows, each with its `id`; their other cells are kept if JSON can hold them in 64 kB.
                `_path` (relative to the root, text or bytes), `_hash` (of the content that lies there) and `_cell` (of
                what was embedded; see `same`) are kept apart from them.
            vectors: (N, D), finite; of length 1 if the metric is cosine.
            column: which column of the rows was embedded.

        Raises:
            Failure: a vector is not finite, or not of length 1 where the metric is cosine.
            Mismatch: the vectors have another dimension than the index.
            Usage: an id is missing, not text, or there twice.
        """
        known = ids(rows)
        blobs = self.blobs(vectors, len(rows))
        with self.writing() as db:
            upsert(db, zip(known, rows, blobs, strict=True), column)
            note(db, "columns", [column])
            note(db, "cells", names(rows))

    def update(self, rows: Sequence[Row]) -> None:
        """Write the cells and paths of rows that are there over the old ones, where they differ; the vectors stay."""
        known = ids(rows)
        with self.reading() as db:
            new = [(id, row) for id, row in zip(known, rows, strict=True) if differs(db, id, row)]
        if new:
            with self.writing() as db:
                update(db, new)
                note(db, "cells", names([row for _, row in new]))

    def same(self, rows: Sequence[Row], column: str) -> list[bool]:
        """Of each row whether its vector was made from the same cell, as its `_cell` tells; never without one."""
        with self.reading() as db:
            return same(db, rows, column)

    @contextlib.contextmanager
    def inspecting(self) -> Iterator[sqlite3.Connection]:
        """The reading connection, for the length of the block without the bounds that conditions are held in."""
        with faults(self.path):
            self._reader.set_authorizer(None)
            try:
                yield self._reader
            finally:
                self._reader.set_authorizer(allowed)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove rows with all that belongs to them; ids that are not there are passed over.

        Returns:
            How many rows were removed.
        """
        with self.writing() as db:
            return remove(db, ids)

    def _open(self, how: str) -> sqlite3.Connection:
        db = connect(self.path, how)
        try:
            db.execute("PRAGMA query_only=ON")
            verify(db, self.path)
            db.execute("SELECT value FROM json_each('[]')").fetchall()  # its first use asks for more than a later one
        except BaseException:
            db.close()
            raise
        db.set_authorizer(allowed)
        return db

    def blobs(self, vectors: npt.NDArray[np.float32], count: int) -> list[bytes]:
        """The vectors of `count` rows as they are stored, if they may be; see `add`."""
        meta = self.meta()
        dim, metric = meta["dim"], meta["metric"]
        if vectors.shape != (count, dim):
            wrong = f"vectors of shape {vectors.shape} came for {count} rows of {dim} dimensions"
            raise Mismatch(self.path, wrong, anew(self.path))
        vectors = np.ascontiguousarray(vectors, "<f4")
        bad = np.flatnonzero(~valid(vectors, metric))
        if len(bad):
            ask = "finite and of length 1" if metric == "cosine" else "finite"
            raise Failure(self.path, f"vector {bad[0]} of {count} is not {ask}", "embed these rows again")
        return [one.tobytes() for one in vectors]


def valid(vectors: npt.NDArray[np.float32], metric: str) -> npt.NDArray[np.bool_]:
    """Which of (N, D) vectors may be stored: those that are finite, and of length 1 if the metric is cosine."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    least, most = (0.999, 1.001) if metric == "cosine" else (0.0, LONGEST)
    return np.asarray((least <= length) & (length <= most))
