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
from .rows import Row, differs, ids, merge, names, note, remove, same, update, upsert
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

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], field: str) -> None:
        """Add rows and their vectors of one field, or replace those of the same id; all at once.

        Args:
            rows: N rows, each with its `id`; their other cells are kept if JSON can hold them in 64 kB.
                `_path` (relative to the root, text or bytes), `_hash` (of the content that lies there) and `_cell` (of
                what was embedded; see `same`) are kept apart from them.
            vectors: (N, D), finite; of length 1 if the metric is cosine.
            field: the vector field, such as `audio`.

        Raises:
            UserError: a vector is not finite, or not of length 1 where the metric is cosine.
            MismatchError: the vectors have another dimension than the index.
            UsageError: an id is missing, not text, or there twice.
        """
        known = ids(rows)
        blobs = self.encode_vectors(vectors, len(rows), field)
        with self.writing() as db:
            upsert(db, zip(known, rows, blobs, strict=True), field)
            note(db, "fields", [field])
            note(db, "columns", names(rows))

    def update(self, rows: Sequence[Row]) -> None:
        """Merge cells into rows: a cell that is given replaces the old one, None removes it, all others stay.

        Rows that are not in the index are ignored, and vectors stay as they are.

        Raises:
            UsageError: an id is missing, not text, or there twice.
        """
        known = ids(rows)
        with self.reading() as db:
            merged = [(id, merge(db, id, row)) for id, row in zip(known, rows, strict=True)]
            new = [(id, row) for id, row in merged if row is not None and differs(db, id, row)]
        if new:
            with self.writing() as db:
                update(db, new)
                note(db, "columns", names([row for _, row in new]))

    def remove(self, ids: Iterable[str]) -> int:
        """Remove rows with all that belongs to them; ids that are not there are passed over.

        Returns:
            How many rows were removed.
        """
        with self.writing() as db:
            return remove(db, ids)

    def set_vocabulary(self, words: Sequence[str], vectors: npt.NDArray[np.float32], field: str) -> None:
        """Keep words of the model's own space with their vectors (N, D), in the place of those that the field had."""
        blobs = self.encode_vectors(vectors, len(words), field)
        with self.writing() as db:
            db.execute("DELETE FROM terms WHERE field = ?", (field,))
            db.executemany(
                "INSERT INTO terms VALUES(?, ?, ?, NULL)", zip([field] * len(words), words, blobs, strict=True)
            )

    def add_field(
        self, field: str, dim: int, metric: str, model: str = "", fingerprint: str = "", note: str = "", **about: str
    ) -> None:
        """Let vectors of a new field be of another model than the first ones; see `create` for what is told.

        Raises:
            UsageError: the field has vectors already, or there is no such metric.
        """
        if field in self.fields:
            raise UsageError(field, "the index has this field already", "choose another name")
        check(field, dim, metric)
        known = {"dim": dim, "metric": metric, "model": model, "fingerprint": fingerprint, "note": note, **about}
        self.set_meta({"spaces": json.dumps({**self.meta()["spaces"], field: known})})

    def set_meta(self, about: Mapping[str, str], field: str | None = None) -> None:
        """Write over what the file says of itself, or of a field that another model made."""
        if field in self.meta()["spaces"]:
            spaces = self.meta()["spaces"]
            about = {"spaces": json.dumps({**spaces, field: {**spaces[field], **about}})}
        with self.writing() as db:
            sql = "INSERT OR REPLACE INTO meta VALUES(?, CAST(? AS TEXT))"
            db.executemany(sql, [(key, os.fsencode(value)) for key, value in about.items()])

    def unchanged(self, rows: Sequence[Row], field: str) -> list[bool]:
        """Of each row whether its vector was made from the same cell, as its `_cell` tells; never without one."""
        with self.reading() as db:
            return same(db, rows, field)

    def encode_vectors(self, vectors: npt.NDArray[np.float32], count: int, field: str) -> list[bytes]:
        """The vectors of `count` rows in a field as they are stored, if they may be; see `add`."""
        space = self.field_info(field)
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
