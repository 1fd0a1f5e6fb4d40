"""The index as one thread has it, and what all threads know of its present generation.

A connection of SQLite belongs to the thread that made it, so every thread of a pool opens an index of its own; the
vectors are one mapped file, which they share. No lock is held while a thread searches.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import DamagedError, MismatchError, UserError
from ..index.hits import Hit
from ..index.index import Index
from .security import log

_PLACE = re.compile(r"(?<![\w.])(?:/[^/\s'\"()]+)+/([^/\s'\"()]+)")  # of which only the last part is told
_PAUSE = 1.0  # seconds between two looks at the index
_CALM = 60  # looks at an index that has not changed, until a new graph is worth its making
_MANY = 500_000  # items from which on a graph is tried, which all threads then have


class Unready(Exception):
    """The index cannot be read just now; the message says why without naming a place."""


class Unknown(Exception):
    """There is no such thing; the message says which."""


@dataclass(frozen=True)
class Known:
    """One column of one generation of one file.

    Args:
        version: which file it is, and which commit of which index: a number of a file may come again.
        column: of vectors.
        identity: of the index.
        base: the folder that paths in its rows are relative to; "" if it knows of none.
        ids: (N,) of the rows that have a vector, in their order.
        numbers: (N,) int64, their numbers.
        places: of each id its place in these.
        vectors: (N, D) float32.
    """

    version: tuple[int, int, str]
    column: str
    identity: str
    base: str
    ids: list[str]
    numbers: npt.NDArray[np.int64]
    places: dict[str, int]
    vectors: npt.NDArray[np.float32]


class Shared:
    """What the threads share: the path of the index, and what is known of its present generation.

    Args:
        path: the index.
        changed: is called with an index whose file was not there before, or is another one, or has a new generation.
    """

    def __init__(self, path: Path, changed: Callable[[Index], None] = lambda index: None) -> None:
        self.path, self.changed = path, changed
        self.words = threading.Lock()
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()

    def file(self) -> tuple[int, int]:
        """Which file lies there now.

        Raises:
            Unready: none does.
        """
        try:
            about = os.stat(self.path)
        except OSError as error:
            raise Unready("the index is not there just now") from error
        return about.st_dev, about.st_ino

    def known(self, index: Index, file: tuple[int, int], column: str | None) -> Known:
        """What is known of a column; worked out by one thread while the others wait. Call it inside `reading`."""
        meta = index.meta()
        columns = meta["columns"]
        if not columns:
            raise Unready("the index is empty")
        name = columns[0] if column is None else column
        version = (*file, meta["state"])
        with self._lock:
            old = self._known.get(name)
            if old is not None and old.version == version:
                return old
            ids, vectors = index.vectors(name)
            with index.reading() as db:
                sql = 'SELECT row FROM vectors WHERE "column" = ? ORDER BY row'
                numbers = np.array([one for (one,) in db.execute(sql, (name,))], np.int64)
            base = str(meta.get("root") or meta.get("table") or "")
            places = {id: place for place, id in enumerate(ids)}
            self._known = {key: one for key, one in self._known.items() if one.version == version}
            new = Known(version, name, meta["identity"], base, ids, numbers, places, vectors)
            self._known[name] = new
            return new


class Handle:
    """An index that is opened anew whenever another file lies in its place; for one thread.

    Args:
        shared: what all threads share.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._index: Index | None = None
        self._file: tuple[int, int] | None = None
        self._told = ""  # the state whose words are there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Index]:
        """The index, in one and the same generation until the end of the block.

        Raises:
            Unready: it is gone, broken, or of another version. The next block tries again.
        """
        try:
            index = self._opened()
            with index.reading():
                yield index
        except (DamagedError, MismatchError) as error:
            self._close()
            raise Unready(plain(error, self.shared.path)) from error

    @property
    def version(self) -> tuple[int, int, str]:
        """Which file it is, and which commit of which index; inside `reading`."""
        assert self._index is not None and self._file is not None
        return (*self._file, self._index.state)

    def known(self, column: str | None = None) -> Known:
        """See `Shared.known`; inside `reading`."""
        assert self._index is not None and self._file is not None
        return self.shared.known(self._index, self._file, column)

    def text(self, words: str, k: int, where: str | None = None, column: str | None = None) -> list[Hit]:
        """What has some words; inside `reading`. One thread makes the file of a generation's words for all."""
        assert self._index is not None
        now = self._index.state
        if now == self._told:
            return self._index.search_text(words, k, where, column)
        with self.shared.words:
            hits = self._index.search_text(words, k, where, column)
        self._told = now
        return hits

    def watch(self, stop: threading.Event) -> None:
        """Until the server stops, make ready what a new generation or another file needs, before it is asked for."""
        ready: Any = None
        tried: Any = None  # of which a graph was made
        calm = _CALM  # looks since the last change; the first is not waited for
        while not stop.is_set():
            large = False
            try:
                with self.reading() as index:
                    now = self.version
                    if now != ready and index.columns:
                        calm = 0 if ready else calm
                        self.shared.changed(index)
                        self.known()
                        self.text("jointembed", 1)
                        ready = now
                    if tried != ready and calm >= _CALM:
                        large = len(self.known().ids) >= _MANY
                if large:  # a graph takes a minute, and no commit is kept open for it
                    tried = ready
                    index.build_approximate()
            except (Unready, UserError):
                pass  # whoever asks is told; or faiss is not installed, or the index has just gone
            except Exception as error:  # a thread that ended would look no more
                log(error)
            calm += 1
            stop.wait(_PAUSE)

    def _opened(self) -> Index:
        file = self.shared.file()
        if self._index is None or file != self._file:
            self._close()
            try:
                self._index, self._file, self._told = Index.open(self.shared.path), file, ""
            except UserError as error:
                raise Unready(plain(error, self.shared.path)) from error
            self.shared.changed(self._index)
        return self._index

    def _close(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            with contextlib.suppress(Exception):  # it may be broken in any way
                index.close()


def plain(failure: UserError, *paths: Any, fix: bool = False) -> str:
    """A failure in one line without the places of files, and without its fix unless that is for who asks."""
    text = f"{failure.subject}: {failure.problem}" + (f"; {failure.fix}" if fix else "")
    for path in paths:
        for form in (os.path.realpath(path), os.path.abspath(path), str(path)):
            text = text.replace(form, os.path.basename(form) or "the index")
    return " ".join(_PLACE.sub(r"\1", text).split())
