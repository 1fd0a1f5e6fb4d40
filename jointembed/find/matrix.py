"""All vectors of one column as one array, cached in a file beside the index, and the exact nearest among them.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import Damaged, Full
from .sqlite import anew
from .store import Store, valid

_CHUNK = 8_192  # rows read, or scored a second time, at once
_UNIT = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Matrix:
    """The vectors of one column of one generation, in the order in which their rows came.

    Args:
        generation: which commit of the store they are.
        numbers: (N,) int64, the rows' numbers, ascending.
        values: (N, D) float32, read only.
        metric: `cosine`, `dot` or `euclidean`.
    """

    generation: int
    numbers: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    metric: str

    @cached_property
    def _squares(self) -> npt.NDArray[np.float32]:
        return np.asarray(np.einsum("nd,nd->n", self.values, self.values))

    @cached_property
    def scale(self) -> float:
        """How far apart the vectors lie: 1 if the metric is cosine, else the root of the mean square of a sample's.

        With the metric dot they are lengths, with euclidean distances from the mean.
        """
        if self.metric == "cosine" or not len(self.values):
            return 1.0
        some = self.values[:: max(1, len(self.values) // _CHUNK)].astype(np.float64)
        some = some - some.mean(0) if self.metric == "euclidean" else some
        return float(np.sqrt(np.square(some).sum(1).mean())) or 1.0

    def find(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The places of these rows' vectors, ascending; rows without a vector here have none."""
        places = np.searchsorted(self.numbers, numbers)
        inside = places < len(self.numbers)
        places = places[inside]
        return np.sort(places[self.numbers[places] == numbers[inside]])

    def nearest(
        self,
        query: npt.NDArray[np.float64],
        k: int,
        pool: npt.NDArray[np.intp] | None = None,
        metric: str | None = None,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The k best of the vectors, or of those at the places `pool`, exactly; equals stay in their order.

        One float32 product finds all that may be among the best, given its rounding error (Higham, Accuracy and
        Stability of Numerical Algorithms, section 3.1); these few are scored again in float64.

        Args:
            query: (D,); of length 1 if the metric is cosine.
            k: how many.
            pool: ascending places, all if None.
            metric: another one than that of the vectors.

        Returns:
            Places and scores, the best first. The score is minus the squared distance if the metric is euclidean,
            else the product.
        """
        metric, width = metric or self.metric, self.values.shape[1]
        scores, error = self.values @ query.astype(np.float32), np.float32((width + 4) * _UNIT)
        wide: Any = error
        if metric == "dot":
            wide = error * np.sqrt(self._squares * np.float32(query @ query))
        elif metric == "euclidean":
            length = np.float32(query @ query)
            scores = 2 * scores - self._squares - length
            wide = 2 * error * (self._squares + length)
        if pool is not None:
            scores, wide = scores[pool], wide if np.ndim(wide) == 0 else wide[pool]
        k = min(k, len(scores))
        if k == 0:
            return np.empty(0, np.intp), np.empty(0)
        least = np.partition(scores - wide, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores + wide >= least)
        if pool is not None:
            places = pool[places]
        exact = np.concatenate(
            [self._exact(places[at : at + _CHUNK], query, metric) for at in range(0, len(places), _CHUNK)]
        )
        best = np.argsort(-exact, kind="stable")[:k]
        return places[best], exact[best]

    def error(self, queries: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """How far the rough scores of queries (B, D) may be from the true ones, for each (B,)."""
        most = 1.0 if self.metric == "cosine" else float(self._squares.max(initial=0))
        lengths = np.square(queries).sum(1)
        wide = 2 * (most + lengths) if self.metric == "euclidean" else np.sqrt(most * lengths)
        return np.asarray((queries.shape[1] + 4) * _UNIT * wide, np.float32)

    def roughly(self, rows: slice, queries: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores (C, B) of some rows with queries (D, B), less what is the same for all rows; see `error`."""
        scores = self.values[rows] @ queries
        if self.metric == "euclidean":
            scores *= 2
            scores -= self._squares[rows, None]
        return scores

    def pairs(
        self, places: npt.NDArray[np.intp], queries: npt.NDArray[np.float64], who: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float64]:
        """The scores (n,) in float64 of pairs: the vectors at some places, and for each the number of a query."""
        made = np.empty(len(places))
        for at in range(0, len(places), _CHUNK):
            part = slice(at, at + _CHUNK)
            made[part] = self._exact(places[part], queries[who[part]], self.metric)
        return made

    def scored(self, places: npt.NDArray[np.intp], query: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The scores (n,) of the vectors at some places, in float64."""
        return self._exact(places, query, self.metric)

    def _exact(
        self, places: npt.NDArray[np.intp], query: npt.NDArray[np.float64], metric: str
    ) -> npt.NDArray[np.float64]:
        values = self.values[places].astype(np.float64)
        if metric == "euclidean":
            return np.asarray(-np.square(values - query).sum(1))
        return np.asarray((values * query).sum(1))


def load(store: Store, column: str) -> Matrix:
    """The matrix of a column as of the store's present generation, from its file, which is made anew if need be.

    The file holds N x D float32, N int64, and the sum of these as 32-bit words, an int64; all little-endian. It is only
    a cache: of another size or sum it is not used, that of an older generation is removed, and where it cannot be
    written the matrix stays in memory. (The sum takes 20 ms for 100,000 x 512; a CRC-32 would take 90 ms.)

    Raises:
        Damaged: a stored vector is not what may be stored.
    """
    with store.reading() as db:
        meta = store.meta()
        dim, generation, metric = meta["dim"], meta["generation"], meta["metric"]
        [(count,)] = db.execute('SELECT count(*) FROM vectors WHERE "column" = ?', (column,)).fetchall()
        path = cache(store, column)
        held = cached(path, count, dim)
        if held is not None:
            return Matrix(generation, *held, metric)
        numbers, values = read(db, store.path, column, count, dim)
    wrong = np.flatnonzero(~valid(values, metric))
    if len(wrong):
        raise Damaged(store.path, f"the vector of row {numbers[wrong[0]]} is broken", anew(store.path))
    if count:
        # A cache that cannot be kept is no reason not to search.
        with contextlib.suppress(OSError, Full), files.writing(path) as file:
            file.write(values.data)
            file.write(numbers.data)
            file.write(_sum(values, numbers).to_bytes(8, "little"))
        _tidy(path)
    values.flags.writeable = numbers.flags.writeable = False
    return Matrix(generation, numbers, values, metric)


def cache(store: Store, column: str) -> Path:
    """The file of a column's matrix of the present generation."""
    meta = store.meta()
    stem = f"{store.path.name}-{meta['identity']}-{meta['columns'].index(column)}"
    return store.path.with_name(f"{stem}-{meta['generation']}.f32")


def cached(path: Path, count: int, dim: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """The (N,) numbers and (N, D) vectors that a cache holds; None if it is not there or not whole."""
    if not count or not path.is_file() or path.stat().st_size != count * (4 * dim + 8) + 8:
        return None
    values = np.asarray(np.memmap(path, "<f4", "r", shape=(count, dim)))
    numbers = np.asarray(np.memmap(path, "<i8", "r", offset=4 * count * dim, shape=(count,)))
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        total = int.from_bytes(file.read(), "little")
    return (numbers, values) if total == _sum(values, numbers) else None


def _sum(values: npt.NDArray[np.float32], numbers: npt.NDArray[np.int64]) -> int:
    return sum(int(np.add.reduce(part.view("<u4").ravel(), dtype=np.uint64)) for part in (values, numbers)) % 2**64


def read(
    db: sqlite3.Connection, path: Path, column: str, count: int, dim: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The (N,) numbers and (N, D) vectors of a column from the tables; Damaged if one has another dimension."""
    numbers, values = np.empty(count, "<i8"), np.empty((count, dim), "<f4")
    found = db.execute('SELECT row, blob FROM vectors WHERE "column" = ? ORDER BY row', (column,))
    at = 0
    while chunk := found.fetchmany(_CHUNK):
        if any(len(blob) != 4 * dim for _, blob in chunk):
            raise Damaged(path, f"a vector has not the {dim} dimensions of this index", anew(path))
        numbers[at : at + len(chunk)] = [number for number, _ in chunk]
        values[at : at + len(chunk)] = np.frombuffer(b"".join(blob for _, blob in chunk), "<f4").reshape(-1, dim)
        at += len(chunk)
    return numbers, values


def _tidy(path: Path) -> None:
    """Remove the caches of older generations, and of an older index that had the same name."""
    stem, identity, column, generation = path.name.removesuffix(".f32").rsplit("-", 3)
    like = re.compile(re.escape(stem) + r"-([0-9a-f]{8})-([0-9]+)-([0-9]+)\.f32")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            known = like.fullmatch(entry.name)
            if known and (known[1] != identity or (known[2] == column and int(known[3]) < int(generation))):
                os.unlink(entry.path)
