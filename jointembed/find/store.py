"""One SQLite file that holds the rows of an index, their vectors, and what they were made with.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import Damaged, Failure, Mismatch, Usage
from .meta import check, make, read, token, valid
from .rows import Row, differs, ids, names, note, remove, same, update, upsert
from .schema import close
from .sqlite import allowed, anew, connect, faults, logged, mend, verify


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
        self._meta: dict[str, Any] = {}
        self._commit: list[tuple[str]] = []  # the one that `_meta` is of
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
        told = {**about, "model": model, "fingerprint": fingerprint, "note": note, "dim": dim, "metric": metric}
        make(Path(path), told)
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
    def state(self) -> str:
        """What tells this commit from all others, also from one of the same number in a copy that was written to."""
        return str(self.meta()["state"])

    @property
    def columns(self) -> list[str]:
        """The columns that have vectors, the first one indexed first."""
        return list(self.meta()["columns"])

    @property
    def dim(self) -> int:
        """Numbers in a vector of the first column."""
        return int(self.space()["dim"])

    @property
    def metric(self) -> str:
        """That of the first column: `cosine`, `dot` or `euclidean`."""
        return str(self.space()["metric"])

    @property
    def model(self) -> str:
        """Where the model lies that made the vectors of the first column."""
        return str(self.space()["model"])

    @property
    def note(self) -> str:
        """What a user should know of the vectors of the first column."""
        return str(self.space()["note"])

    def about(self, key: str) -> str:
        """What the index remembers under a key of `create`; "" if nothing."""
        return str(self.meta().get(key, ""))

    def space(self, column: str | None = None) -> dict[str, Any]:
        """What is known of the vectors of a column, of the first one if not given, besides all else in `meta`.

        `dim`, `metric`, `model`, `fingerprint`, `note`, and what `create` or `declare` was told to remember.
        """
        meta = self.meta()
        name = meta["columns"][0] if column is None and meta["columns"] else column
        return {**meta, **meta["spaces"].get(name, {})}

    def declare(
        self, column: str, dim: int, metric: str, model: str = "", fingerprint: str = "", note: str = "", **about: str
    ) -> None:
        """Let vectors of a new column be of another model than the first ones; see `create` for what is told.

        Raises:
            Usage: the column has vectors already, or there is no such metric.
        """
        if column in self.columns:
            raise Usage(column, "this column has vectors of one model already", "choose another name for the other's")
        check(column, dim, metric)
        known = {"dim": dim, "metric": metric, "model": model, "fingerprint": fingerprint, "note": note, **about}
        self.remember({"spaces": json.dumps({**self.meta()["spaces"], column: known})})

    def check(self, fingerprint: str, column: str | None = None) -> None:
        """Raise Mismatch unless the model of this fingerprint made the vectors of a column, or the first ones."""
        space = self.space(column)
        if fingerprint != space["fingerprint"]:
            wrong = f"another model made the vectors of this index ({space['model'] or 'unnamed'})"
            raise Mismatch(self.path, wrong, anew(self.path) + " (with --name it holds those of both)")

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
                db.execute("INSERT OR REPLACE INTO meta VALUES('commit', ?)", (token(),))
                close(db)
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def learn(self, words: Sequence[str], vectors: npt.NDArray[np.float32], column: str) -> None:
        """Keep words of the model's own space with their vectors (N, D), in the place of those that the column had."""
        blobs = self.blobs(vectors, len(words), column)
        with self.writing() as db:
            db.execute('DELETE FROM terms WHERE "column" = ?', (column,))
            db.executemany(
                "INSERT INTO terms VALUES(?, ?, ?, NULL)", zip([column] * len(words), words, blobs, strict=True)
            )

    def terms(self, column: str | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The words of the model's own space that a column, or the first, is told in, and their vectors (N, D)."""
        with self.reading() as db:
            name = self.columns[0] if column is None and self.columns else column
            found = db.execute('SELECT word, blob FROM terms WHERE "column" = ? ORDER BY rowid', (name,)).fetchall()
            vectors = np.frombuffer(b"".join(blob for _, blob in found), "<f4").reshape(-1, self.space(name)["dim"])
        return [word for word, _ in found], vectors

    def remember(self, about: Mapping[str, str], column: str | None = None) -> None:
        """Write over what the file says of itself, or of a column that another model made."""
        if column in self.meta()["spaces"]:
            spaces = self.meta()["spaces"]
            about = {"spaces": json.dumps({**spaces, column: {**spaces[column], **about}})}
        with self.writing() as db:
            sql = "INSERT OR REPLACE INTO meta VALUES(?, CAST(? AS TEXT))"
            db.executemany(sql, [(key, os.fsencode(value)) for key, value in about.items()])

    def meta(self) -> dict[str, Any]:
        """What the file says of itself: model, fingerprint, note, metric, dim, identity, generation, state, columns ...

        `columns` are those that have vectors, `cells` those that rows have, both in the order of their coming; `spaces`
        is what is different of columns that another model made, see `space`.
        """
        with self.reading() as db:
            commit = db.execute("SELECT value FROM meta WHERE key = 'commit'").fetchall()
            if commit and commit == self._commit:  # every commit has another
                return dict(self._meta)
            meta: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta"))
        try:
            self._meta, self._commit = read(meta), commit
            return dict(self._meta)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise Damaged(self.path, "what this index says of itself is broken", anew(self.path)) from error

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
        blobs = self.blobs(vectors, len(rows), column)
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

    def blobs(self, vectors: npt.NDArray[np.float32], count: int, column: str) -> list[bytes]:
        """The vectors of `count` rows in a column as they are stored, if they may be; see `add`."""
        space = self.space(column)
        dim, metric = space["dim"], space["metric"]
        if vectors.shape != (count, dim):
            wrong = f"vectors of shape {vectors.shape} came for {count} rows of {dim} dimensions"
            raise Mismatch(self.path, wrong, anew(self.path))
        vectors = np.ascontiguousarray(vectors, "<f4")
        bad = np.flatnonzero(~valid(vectors, metric))
        if len(bad):
            ask = "finite and of length 1" if metric == "cosine" else "finite"
            raise Failure(self.path, f"vector {bad[0]} of {count} is not {ask}", "embed these rows again")
        return [one.tobytes() for one in vectors]
