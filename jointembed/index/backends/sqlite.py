"""Writing an index: rows and their vectors, whole generations at once.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from ...errors import MismatchError, UsageError, UserError
from .connection import anew, connect, faults
from .meta import check, make, token, valid
from .reader import Reader
from .rows import Row, differs, ids, names, note, remove, same, update, upsert
from .schema import close


class Store(Reader):
    """The SQLite file behind an index, as whoever writes it sees it; a second connection is opened for that."""

    _writer: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close both connections; the log is folded into the file."""
        if self._writer is not None:
            self._writer.close()
        super().close()

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
            UsageError: something else has this name, or there is no such metric.
        """
        told = {**about, "model": model, "fingerprint": fingerprint, "note": note, "dim": dim, "metric": metric}
        make(Path(path), told)
        return cls(path)

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], column: str) -> None:
        """Add rows and their vectors of one column, or replace those of the same id; all at once.

        Args:
            rows: N rows, each with its `id`; their other cells are kept if JSON can hold them in 64 kB.
                `_path` (relative to the root, text or bytes), `_hash` (of the content that lies there) and `_cell` (of
                what was embedded; see `same`) are kept apart from them.
            vectors: (N, D), finite; of length 1 if the metric is cosine.
            column: which column of the rows was embedded.

        Raises:
            UserError: a vector is not finite, or not of length 1 where the metric is cosine.
            MismatchError: the vectors have another dimension than the index.
            UsageError: an id is missing, not text, or there twice.
        """
        known = ids(rows)
        blobs = self.encode_vectors(vectors, len(rows), column)
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

    def remove(self, ids: Iterable[str]) -> int:
        """Remove rows with all that belongs to them; ids that are not there are passed over.

        Returns:
            How many rows were removed.
        """
        with self.writing() as db:
            return remove(db, ids)

    def set_vocabulary(self, words: Sequence[str], vectors: npt.NDArray[np.float32], column: str) -> None:
        """Keep words of the model's own space with their vectors (N, D), in the place of those that the column had."""
        blobs = self.encode_vectors(vectors, len(words), column)
        with self.writing() as db:
            db.execute('DELETE FROM terms WHERE "column" = ?', (column,))
            db.executemany(
                "INSERT INTO terms VALUES(?, ?, ?, NULL)", zip([column] * len(words), words, blobs, strict=True)
            )

    def add_field(
        self, column: str, dim: int, metric: str, model: str = "", fingerprint: str = "", note: str = "", **about: str
    ) -> None:
        """Let vectors of a new column be of another model than the first ones; see `create` for what is told.

        Raises:
            UsageError: the column has vectors already, or there is no such metric.
        """
        if column in self.columns:
            raise UsageError(
                column, "this column has vectors of one model already", "choose another name for the other's"
            )
        check(column, dim, metric)
        known = {"dim": dim, "metric": metric, "model": model, "fingerprint": fingerprint, "note": note, **about}
        self.set_meta({"spaces": json.dumps({**self.meta()["spaces"], column: known})})

    def set_meta(self, about: Mapping[str, str], column: str | None = None) -> None:
        """Write over what the file says of itself, or of a column that another model made."""
        if column in self.meta()["spaces"]:
            spaces = self.meta()["spaces"]
            about = {"spaces": json.dumps({**spaces, column: {**spaces[column], **about}})}
        with self.writing() as db:
            sql = "INSERT OR REPLACE INTO meta VALUES(?, CAST(? AS TEXT))"
            db.executemany(sql, [(key, os.fsencode(value)) for key, value in about.items()])

    def unchanged(self, rows: Sequence[Row], column: str) -> list[bool]:
        """Of each row whether its vector was made from the same cell, as its `_cell` tells; never without one."""
        with self.reading() as db:
            return same(db, rows, column)

    def encode_vectors(self, vectors: npt.NDArray[np.float32], count: int, column: str) -> list[bytes]:
        """The vectors of `count` rows in a column as they are stored, if they may be; see `add`."""
        space = self.field_info(column)
        dim, metric = space["dim"], space["metric"]
        if vectors.shape != (count, dim):
            wrong = f"vectors of shape {vectors.shape} came for {count} rows of {dim} dimensions"
            raise MismatchError(self.path, wrong, anew(self.path))
        vectors = np.ascontiguousarray(vectors, "<f4")
        bad = np.flatnonzero(~valid(vectors, metric))
        if len(bad):
            ask = "finite and of length 1" if metric == "cosine" else "finite"
            raise UserError(self.path, f"vector {bad[0]} of {count} is not {ask}", "embed these rows again")
        return [one.tobytes() for one in vectors]

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
