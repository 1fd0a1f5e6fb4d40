"""Files beside an index that spare making something of it anew, and the first of them: the matrix of a field.

A cache is of one commit of an index, whose `state` is part of its name. Files of ours take the place of older ones only
as a whole; whoever writes into a cache that is in use, or cuts it, ends the process that reads it (SIGBUS).

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import DamagedError, DiskFullError, UsageError
from .backends.connection import anew
from .backends.meta import STATE, valid
from .backends.reader import Reader
from .search.base import NearestNeighbors, Positions
from .search.exact import ExactSearch
from .search.memmap import iter_slices, open_array
from .search.vectors import Vectors as SearchVectors

Numbers = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

_CHUNK = 8_192  # rows read at once
# Threads that have an index each share its vectors, and what was made of them to search faster.
_LOADED: WeakValueDictionary[tuple[object, ...], VectorField] = WeakValueDictionary()
_LOADING = threading.Lock()  # those that come together would each read them, and share nothing


@dataclass(eq=False)
class VectorField:
    """The vectors of one field of one commit, in row order.

    Args:
        state: the commit.
        row_ids: (N,), ascending.
        vectors: (N, D).
        exact: searches them exactly.
        nearest: searches them, maybe approximately.
        codes: group codes (N,) of the values of a column, by column.
    """

    state: str
    row_ids: Numbers
    vectors: SearchVectors
    exact: ExactSearch = field(init=False)
    nearest: NearestNeighbors = field(init=False)
    codes: dict[str, Numbers] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.exact = ExactSearch(self.vectors)
        self.nearest = self.exact
        self._bfloat16: ExactSearch | None = None

    def searcher(self, torch: Any = None) -> ExactSearch:
        """Return the exact search, with products in bfloat16 if torch is given; see `ExactSearch`."""
        if torch is None:
            return self.exact
        self._bfloat16 = self._bfloat16 or ExactSearch(self.vectors, torch)
        return self._bfloat16

    def positions_of(self, row_ids: Numbers) -> Positions:
        """Return the ascending positions of rows; rows without a vector in this field have none."""
        positions = np.searchsorted(self.row_ids, row_ids)
        inside = positions < len(self.row_ids)
        positions = positions[inside]
        return np.sort(positions[self.row_ids[positions] == row_ids[inside]])


def load(store: Reader, field: str) -> VectorField:
    """The matrix of a field as of the store's present commit, from its file, which is made anew if need be.

    The file holds N x D float32, N int64, and the sum of these as 32-bit words, an int64; all little-endian. It is only
    a cache: of another size or sum it is not used, those of other commits are removed, and where it cannot be
    written the matrix stays in memory. (The sum takes 20 ms for 100,000 x 512; a CRC-32 would take 90 ms.)

    Raises:
        DamagedError: a stored vector is not what may be stored.
    """
    with _LOADING:
        with store.reading() as db:
            space = store.field_info(field)
            dim, state, metric = space["dim"], space["state"], space["metric"]
            [(count,)] = db.execute("SELECT count(*) FROM vectors WHERE field = ?", (field,)).fetchall()
            path = cache(store, field)
            if (known := _LOADED.get(_which(path))) is not None:
                return known
            held = cached(path, count, dim)
            if held is None and count:
                # A cache that cannot be kept is no reason not to search.
                with contextlib.suppress(OSError, DiskFullError, UsageError):
                    _write(path, _chunks(db, store.path, field, dim, metric))
                    held = cached(path, count, dim)
                tidy(path)
            if held is None:
                held = read(db, store.path, field, count, dim, metric)
        for part in held:
            part.flags.writeable = False
        return _LOADED.setdefault(_which(path), VectorField(state, held[0], SearchVectors(held[1], metric)))


def _write(path: Path, chunks: Iterable[tuple[Numbers, Vectors]]) -> None:
    """Write a cache chunk by chunk, so that the vectors are never in memory all at once."""
    rows, whole = [], 0
    with files.atomic_write(path) as file:
        for numbers, values in chunks:
            file.write(values.data)
            rows.append(numbers)
            whole += total(values, numbers)
        file.write(np.concatenate(rows).data)
        file.write((whole % 2**64).to_bytes(8, "little"))


def _which(path: Path) -> tuple[object, ...]:
    """Which file a cache is: another one that takes its place, or a change in it, makes it another."""
    with contextlib.suppress(OSError):
        about = path.stat()
        return path.absolute(), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
    return (path.absolute(),)


def cache(store: Reader, field: str | None = None, kind: str = "f32") -> Path:
    """The file of a kind of cache of the present commit, which is of a field or of all rows."""
    meta = store.meta()
    of = "" if field is None else f"-{meta['fields'].index(field)}"
    return store.path.with_name(f"{store.path.name}-{meta['state']}{of}.{kind}")


def keep(path: Path, content: bytes) -> None:
    """Write a cache, which ends with the sum of its 32-bit words, an int64; that it cannot be kept is no failure."""
    with contextlib.suppress(OSError, DiskFullError, UsageError):
        with files.atomic_write(path) as file:
            file.write(content)
            file.write(total(np.frombuffer(content, "<u4")).to_bytes(8, "little"))
        tidy(path)


def kept(path: Path) -> npt.NDArray[np.uint32] | None:
    """The 32-bit words that were kept; None if the file is not there or not whole."""
    try:
        words = np.memmap(path, "<u4", "r")
    except (OSError, ValueError):  # no file; an empty one, or one that is cut within a word
        return None
    said = int.from_bytes(words[-2:].tobytes(), "little")
    return np.asarray(words[:-2]) if said == total(words[:-2]) else None


def cached(path: Path, count: int, dim: int) -> tuple[Numbers, Vectors] | None:
    """The (N,) numbers and (N, D) vectors that a cache holds; None if it is not there or not whole."""
    if not count or not path.is_file() or path.stat().st_size != count * (4 * dim + 8) + 8:
        return None
    values, numbers = open_array(path, "<f4", (count, dim)), open_array(path, "<i8", (count,), 4 * count * dim)
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        said = int.from_bytes(file.read(), "little")
    return (numbers, values) if said == total(values, numbers) else None


def total(*parts: npt.NDArray[Any]) -> int:
    """The sum of arrays as 32-bit words, modulo 2^64: it tells that one bit of them is another."""
    sums = (
        np.add.reduce(part[rows].view("<u4").ravel(), dtype=np.uint64) for part in parts for rows in iter_slices(part)
    )
    return sum(map(int, sums)) % 2**64


def read(db: sqlite3.Connection, path: Path, field: str, count: int, dim: int, metric: str) -> tuple[Numbers, Vectors]:
    """The (N,) numbers and (N, D) vectors of a field from the tables.

    Raises:
        DamagedError: one has another dimension, or is not what may be stored.
    """
    numbers, values = np.empty(count, "<i8"), np.empty((count, dim), "<f4")
    at = 0
    for some, part in _chunks(db, path, field, dim, metric):
        numbers[at : at + len(some)], values[at : at + len(some)] = some, part
        at += len(some)
    return numbers, values


def _chunks(db: sqlite3.Connection, path: Path, field: str, dim: int, metric: str) -> Iterator[tuple[Numbers, Vectors]]:
    found = db.execute("SELECT row, blob FROM vectors WHERE field = ? ORDER BY row", (field,))
    while chunk := found.fetchmany(_CHUNK):
        if any(len(blob) != 4 * dim for _, blob in chunk):
            raise DamagedError(path, f"a vector has not the {dim} dimensions of this index", anew(path))
        numbers = np.array([number for number, _ in chunk], "<i8")
        values = np.frombuffer(b"".join(blob for _, blob in chunk), "<f4").reshape(-1, dim)
        wrong = np.flatnonzero(~valid(values, metric))
        if len(wrong):
            said = f"the vector of row {numbers[wrong[0]]} is not finite, or not of length 1 where the metric is cosine"
            raise DamagedError(path, said, anew(path))
        yield numbers, values


def beside(path: Path) -> Iterator[tuple[Path, str, str]]:
    """The caches that lie beside an index, each with the state of the index that it is of, and what it is of it."""
    like = re.compile(re.escape(path.name) + f"-({STATE.pattern})" + r"((?:-[0-9]+)?\.(?:f32|fts|umap[23]))")
    with contextlib.suppress(OSError), os.scandir(path.absolute().parent) as entries:
        for entry in entries:
            if known := like.fullmatch(entry.name):
                yield path.with_name(entry.name), known[1], known[2]


def tidy(path: Path) -> None:
    """Remove what a cache takes the place of, and the caches of an older index that had the same name."""
    found = re.fullmatch(f"(.+)-({STATE.pattern})" + r"((?:-[0-9]+)?\.\w+)", path.name)
    assert found
    for old, state, what in beside(path.with_name(found[1])):
        if state != found[2] and (what == found[3] or state[:8] != found[2][:8]):
            with contextlib.suppress(OSError):
                old.unlink()
