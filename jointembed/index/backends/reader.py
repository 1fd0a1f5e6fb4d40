"""Reading an index: one SQLite file that holds rows, their vectors, and what they were made with.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...errors import DamagedError, MismatchError, UsageError, did_you_mean
from .. import ids as names
from .connection import allowed, anew, connect, faults, logged, mend, verify
from .meta import read
from .rows import fetch


class Reader:
    """The SQLite file behind an index, as whoever reads it sees it: whole generations, one committed after another.

    The connection cannot write and may only select.

    Raises:
        UsageError: there is no such file, or it may not be read.
        DamagedError: the file is broken, or it is not an index.
        MismatchError: another version of jointembed wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise UsageError(path, "there is no such index, only a folder", "give the file of an index")
        if not self.path.is_file():
            raise UsageError(path, "there is no such index", f"make it with: {mend(self.path)}")
        self._meta: dict[str, Any] = {}
        self._commit: list[tuple[str]] = []  # the one that `_meta` is of
        self._sure = False  # whether that is the one that is being read
        with faults(self.path):
            try:
                self._reader = self._open("mode=rw")
            except sqlite3.OperationalError:
                # A reader of a log writes beside the file. Where it may not and there is no log, nobody writes.
                if os.access(self.path.parent, os.W_OK) or logged(self.path):
                    raise
                self._reader = self._open("immutable=1")

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open an index for reading and, where the file allows, writing.

        Raises:
            UsageError: there is none, or it may not be read.
            DamagedError: the file is broken, or no index.
            MismatchError: another version of jointembed wrote it.
        """
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

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
    def fields(self) -> list[str]:
        """The fields that have vectors, the first one indexed first."""
        return list(self.meta()["fields"])

    @property
    def columns(self) -> list[str]:
        """The metadata columns that rows have, in the order in which they first came."""
        return list(self.meta()["columns"])

    @property
    def dim(self) -> int:
        """Numbers in a vector of the first field."""
        return int(self.field_info()["dim"])

    @property
    def metric(self) -> str:
        """That of the first field: `cosine`, `dot` or `euclidean`."""
        return str(self.field_info()["metric"])

    @property
    def model(self) -> str:
        """Where the model lies that made the vectors of the first field."""
        return str(self.field_info()["model"])

    @property
    def note(self) -> str:
        """What a user should know of the vectors of the first field."""
        return str(self.field_info()["note"])

    def get_meta(self, key: str) -> str:
        """What the index remembers under a key of `create`; "" if nothing."""
        return str(self.meta().get(key, ""))

    def field_info(self, field: str | None = None) -> dict[str, Any]:
        """What is known of the vectors of a field, of the first one if not given, besides all else in `meta`.

        `dim`, `metric`, `model`, `fingerprint`, `note`, and what `create` or `declare` was told to remember.
        """
        meta = self.meta()
        name = meta["fields"][0] if field is None and meta["fields"] else field
        return {**meta, **meta["spaces"].get(name, {})}

    def check_model(self, fingerprint: str, field: str | None = None) -> None:
        """Raise MismatchError unless the model of this fingerprint made the vectors of a field, or the first ones."""
        space = self.field_info(field)
        if fingerprint != space["fingerprint"]:
            wrong = f"another model made the vectors of this index ({space['model'] or 'unnamed'})"
            raise MismatchError(self.path, wrong, anew(self.path) + " (with --field it holds those of both)")

    def ids(self, field: str | None = None) -> list[str]:
        """The ids of the rows that have a vector in the field, in their order."""
        with self.reading() as db:
            name = self._field(field)
            sql = "SELECT id FROM rows JOIN vectors ON row = number WHERE field = ? ORDER BY number"
            return [id for (id,) in db.execute(sql, (name,))]

    def row(self, id: str) -> dict[str, Any]:
        """The cells of a row, `id` among them; Usage if there is none."""
        with self.reading() as db:
            return fetch(db, [names.known(db, id)])[0]

    def resolve(self, item: str) -> str | None:
        """The id that an item is known by: an id, else an indexed path, else a title or path that only one row has.

        An id never changes, so that of a file that was moved is the path that it had at first. The last try does not
        tell composed from decomposed accents (NFC from NFD), in which file systems differ.

        Returns:
            The id, or None if the index knows nothing of that name.

        Raises:
            UsageError: several rows have this title or path.
        """
        with self.reading() as db:
            return names.resolve(db, item)

    def vocabulary(self, field: str | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The words of the model's own space that a field, or the first, is told in, and their vectors (N, D)."""
        with self.reading() as db:
            name = self.fields[0] if field is None and self.fields else field
            found = db.execute("SELECT word, blob FROM terms WHERE field = ? ORDER BY rowid", (name,)).fetchall()
            vectors = np.frombuffer(b"".join(blob for _, blob in found), "<f4").reshape(
                -1, self.field_info(name)["dim"]
            )
        return [word for word, _ in found], vectors

    def meta(self) -> dict[str, Any]:
        """What the file says of itself: model, fingerprint, note, metric, dim, identity, generation, state, fields ...

        `fields` have vectors, `columns` are the metadata that rows have, both in the order of their coming; `spaces`
        is what is different of fields that another model made, see `space`.
        """
        with self.reading() as db:
            if not self._sure:
                commit = db.execute("SELECT value FROM meta WHERE key = 'commit'").fetchall()
                if not commit or commit != self._commit:  # every commit has another
                    self._meta, self._commit = self._read(dict(db.execute("SELECT key, value FROM meta"))), commit
                self._sure = True
            return dict(self._meta)

    def _read(self, meta: dict[str, str]) -> dict[str, Any]:
        try:
            return read(meta)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DamagedError(self.path, "what this index says of itself is broken", anew(self.path)) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one and the same generation until the end of the block."""
        with faults(self.path):
            if self._reader.in_transaction:
                yield self._reader
                return
            self._reader.execute("BEGIN")
            self._sure = False
            try:
                yield self._reader
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("COMMIT")

    @contextlib.contextmanager
    def inspecting(self) -> Iterator[sqlite3.Connection]:
        """The reading connection, for the length of the block without the bounds that conditions are held in."""
        with faults(self.path):
            self._reader.set_authorizer(None)
            try:
                yield self._reader
            finally:
                self._reader.set_authorizer(allowed)

    def _field(self, field: str | None) -> str:
        fields = self.fields
        if not fields:
            raise UsageError(self.path, "this index is empty", f"fill it with: {mend(self.path)}")
        if field is not None and field not in fields:
            raise UsageError(field, "the index has no such field", did_you_mean(field, fields))
        return fields[0] if field is None else field

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
