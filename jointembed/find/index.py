"""An index: rows with vectors in one space, and the nearest of them by one exact score.

Letters: N rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import Mismatch, Usage, closest
from . import names
from .matrix import Matrix, load
from .rows import Row, fetch
from .sqlite import anew, mend
from .store import LONGEST, Store
from .where import parse


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Args:
        id: its id.
        score: more is nearer: the cosine, the product, or minus the squared Euclidean distance.
        row: its cells, `id` among them.
    """

    id: str
    score: float
    row: dict[str, Any]


class Index:
    """Rows and their vectors in one SQLite file, searched exactly.

    A search sees one committed generation, whoever writes meanwhile; a handle that is open sees the next one at its
    next call. Equal scores stand in the order in which the rows came.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/songs.index", 2, "cosine") as index:
    ...     index.add([{"id": "a", "genre": "waltz"}, {"id": "b"}], np.eye(2, dtype=np.float32), "audio")
    ...     index.similar("b")
    [Hit(id='a', score=0.0, row={'id': 'a', 'genre': 'waltz'})]
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._matrices: dict[str, Matrix] = {}

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
    ) -> Index:
        """Make an empty index, in the place of an older one.

        Args:
            path: the SQLite file; caches of its vectors come to lie beside it.
            dim: numbers in a vector.
            metric: `cosine`, `dot` or `euclidean`.
            model: where the model that embeds its rows lies.
            fingerprint: what tells that model, with its preprocessing, from others.
            note: what a user should know of the vectors, such as what the model was trained on.
            about: what else to remember; see `about`.

        Raises:
            Usage: something else has this name, or there is no such metric.
        """
        return cls(Store.create(path, dim, metric, model=model, fingerprint=fingerprint, note=note, **about))

    @classmethod
    def open(cls, path: Path | str) -> Index:
        """Open an index for reading and, where the file allows, writing.

        Raises:
            Usage: there is none, or it may not be read.
            Damaged: the file is broken, or no index.
            Mismatch: another version of jointembed wrote it.
        """
        return cls(Store(path))

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self.store.reading() as db:
            return int(db.execute("SELECT count(*) FROM rows").fetchall()[0][0])

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.store.path

    @property
    def columns(self) -> list[str]:
        """The columns that have vectors, the first one indexed first."""
        return list(self.store.meta()["columns"])

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.store.meta()["dim"])

    @property
    def metric(self) -> str:
        """`cosine`, `dot` or `euclidean`."""
        return str(self.store.meta()["metric"])

    @property
    def model(self) -> str:
        """Where the model lies that made the vectors."""
        return str(self.store.meta()["model"])

    @property
    def note(self) -> str:
        """What a user should know of the vectors."""
        return str(self.store.meta()["note"])

    def about(self, key: str) -> str:
        """What the index remembers under a key of `create`; "" if nothing."""
        return str(self.store.meta().get(key, ""))

    def check(self, fingerprint: str) -> None:
        """Raise Mismatch unless the model of this fingerprint made the vectors."""
        if fingerprint != self.store.meta()["fingerprint"]:
            wrong = f"another model made the vectors of this index ({self.model or 'unnamed'})"
            raise Mismatch(self.path, wrong, anew(self.path))

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], column: str) -> None:
        """Add rows with their vectors of one column, or replace those of the same id, in one transaction.

        Args:
            rows: N rows, each with an `id` that is text. Other cells are kept if JSON can hold them in 64 kB; arrays
                are not. `_path` (relative to the root, text or bytes) and `_hash` (of the content) tell of the file,
                `_cell` (text) of what was embedded; see `same`.
            vectors: (N, D) float32, finite; of length 1 if the metric is cosine.
            column: the column of the rows that was embedded.

        Raises:
            Failure: a vector is not finite, or not of length 1 where it must be.
            Mismatch: the vectors have another dimension.
            Usage: an id is missing, not text, or there twice; or another process is writing.
        """
        self.store.add(rows, vectors, column)

    def same(self, rows: Sequence[Row], column: str) -> list[bool]:
        """Of each row whether its vector in the column was made from the cell that it has now.

        Args:
            rows: N rows, each with its `id` and with `_cell`, the digest of its cell, as text; one without is new.
            column: the column that is embedded.
        """
        return self.store.same(rows, column)

    def update(self, rows: Sequence[Row]) -> None:
        """Write the cells and `_path` of rows over the old ones, keeping their vectors; unknown ids are passed over."""
        self.store.update(rows)

    def remove(self, ids: Collection[str]) -> int:
        """Remove rows with their vectors; ids that are not there are passed over. Returns how many went."""
        return self.store.remove(ids)

    def search(
        self,
        vector: npt.NDArray[np.floating[Any]],
        k: int = 10,
        column: str | None = None,
        where: str | None = None,
        exclude: Collection[str] = (),
    ) -> list[Hit]:
        """The k rows whose vectors are nearest, the best first; fewer if there are not so many.

        Args:
            vector: (D,), finite; of any length but 0 if the metric is cosine.
            k: how many.
            column: among the vectors of this column, by default the first one indexed.
            where: a condition that the rows meet, such as `genre = 'waltz' and tempo > 120` (see `where.py`).
            exclude: ids of rows that are not wanted.

        Raises:
            Usage: no such column, no such condition, or not a vector of this space.
        """
        if k < 1:
            raise Usage("k", f"{k} results cannot be had", "use a whole number from 1 on")
        with self.store.reading() as db:
            matrix = self._matrix(column)
            query = _query(vector, matrix)
            pool = None
            if where is not None:
                clause, values = parse(where, self.store.meta()["cells"])
                allowed = db.execute(f"SELECT number FROM rows WHERE {clause}", values).fetchall()
                pool = matrix.find(np.array(allowed, np.int64).ravel())
            unwanted = [number for id in exclude if (number := names.number(db, id)) is not None]
            if unwanted:
                every = np.arange(len(matrix.numbers)) if pool is None else pool
                pool = np.setdiff1d(every, matrix.find(np.array(unwanted)), assume_unique=True)
            places, scores = matrix.nearest(query, k, pool)
            found = fetch(db, matrix.numbers[places].tolist())
        return [Hit(row["id"], score, row) for row, score in zip(found, scores.tolist(), strict=True)]

    def similar(self, id: str, k: int = 10, column: str | None = None, where: str | None = None) -> list[Hit]:
        """The k rows nearest to one of the index, which is itself left out; see `search`.

        Raises:
            Usage: there is no such id, or it has no vector in this column.
        """
        with self.store.reading() as db:
            matrix = self._matrix(column)
            place = matrix.find(np.array([names.known(db, id)]))
            if not len(place):
                raise Usage(id, "this item has no vector in the column", f"use one of {', '.join(self.columns)}")
            return self.search(matrix.values[place[0]], k, column, where, exclude=(id,))

    def ids(self, column: str | None = None) -> list[str]:
        """The ids of the rows that have a vector in the column, in their order."""
        with self.store.reading() as db:
            name = self._column(column)
            sql = 'SELECT id FROM rows JOIN vectors ON row = number WHERE "column" = ? ORDER BY number'
            return [id for (id,) in db.execute(sql, (name,))]

    def vectors(self, column: str | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The ids and the (N, D) float32 vectors of a column, in the same order; the array is read only."""
        with self.store.reading():
            return self.ids(column), self._matrix(column).values

    def row(self, id: str) -> dict[str, Any]:
        """The cells of a row, `id` among them; Usage if there is none."""
        with self.store.reading() as db:
            return fetch(db, [names.known(db, id)])[0]

    def resolve(self, item: str) -> str | None:
        """The id that an item is known by: an id, else an indexed path, else a title or path that only one row has.

        An id never changes, so that of a file that was moved is the path that it had at first. The last try does not
        tell composed from decomposed accents (NFC from NFD), in which file systems differ.

        Returns:
            The id, or None if the index knows nothing of that name.

        Raises:
            Usage: several rows have this title or path.
        """
        with self.store.reading() as db:
            return names.resolve(db, item)

    def _column(self, column: str | None) -> str:
        columns = self.columns
        if not columns:
            raise Usage(self.path, "this index is empty", f"fill it with: {mend(self.path)}")
        if column is not None and column not in columns:
            raise Usage(column, "this column has no vectors in the index", closest(column, columns))
        return columns[0] if column is None else column

    def _matrix(self, column: str | None) -> Matrix:
        name = self._column(column)
        known = self._matrices.get(name)
        if known is None or known.generation != self.store.meta()["generation"]:
            known = self._matrices[name] = load(self.store, name)
        return known


def _query(vector: npt.NDArray[np.floating[Any]], matrix: Matrix) -> npt.NDArray[np.float64]:
    query, width = np.asarray(vector, np.float64), matrix.values.shape[1]
    if query.shape != (width,):
        raise Usage("query", f"a vector of shape {query.shape} came", f"use one of {width} numbers")
    length = float(np.sqrt(query @ query))
    if not length <= LONGEST or (matrix.metric == "cosine" and length == 0):
        raise Usage("query", "this vector has no direction or no end", "use a finite vector that is not zero")
    return query / length if matrix.metric == "cosine" else query
