"""The scan of a folder: what is new is decoded, embedded and committed; what is known costs a look.

Letters: N songs of a batch, D dimension.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DamagedError, UsageError, UserError
from ..index.backends.meta import valid
from ..index.backends.rows import note
from ..index.backends.sqlite import Store
from ..index.index import Index
from . import file_table
from .lock import hold
from .report import ScanReport
from .sound_file import Decoded, Samples, Song
from .stages import Changes, FileSorter
from .walk import Walk

_CHANGES = 1_000  # paths and skips that may wait to be committed

_Decode = Callable[[Iterable[bytes]], Iterable[Decoded]]
_Embed = Callable[[Iterable[Samples]], Iterable[npt.NDArray[np.float32]]]


def scan(
    index: Index,
    root: Path | str,
    decode: _Decode,
    embed: _Embed,
    *,
    column: str = "audio",
    retry: bool = False,
    follow: bool = False,
    decoder: str = "",
    batch: int = 32,
    seconds: float = 10.0,
    progress: Callable[[ScanReport], None] | None = None,
) -> ScanReport:
    """Bring an index up to what a folder holds. A scan that was broken off is finished by the next one.

    A file is known by its content. The same size and time as before, and it is not read; the same bytes as another,
    and it shares that one's row and vector; moved, and its row keeps its id, which is the path that it had at first
    (`Index.resolve` finds it by its new one); changed, and its row is written anew. What is not there any more is
    marked and kept, see `prune`. Searches see every commit while the scan goes on.

    A row has the cells title, path, seconds, those of artist, album, genre and year that the file tells, and partial
    if it is so.

    Args:
        index: an index that was made empty, or by scans of this folder. Hold its lock (`hold`) before it is made or
            opened; the scan holds it in any case.
        root: the folder. If the one of the last scan is gone, this one is taken as the same one, moved.
        decode: from absolute paths to what they hold, in their order. It draws paths in the thread that iterates it.
        embed: from samples to vectors (D,) in their order. It draws samples in the thread that iterates it, and may
            draw some ahead.
        column: the column of the index that the vectors belong to.
        retry: also try again what was skipped and has not changed.
        follow: also go where links leave the folder.
        decoder: the version of the decoder; what another one gave up is tried again.
        batch: songs between two commits.
        seconds: time between two commits, once there is something to commit.
        progress: is called with the books after each commit, and now and then between.

    Returns:
        The books, which balance.

    Raises:
        DamagedError: the folder cannot be read, or is empty although the index has files of it; nothing changes.
        UsageError: the index is of another folder or of a table, or another process writes it.
        DiskFullError: no space is left; what was committed stays.
    """
    with hold(index.path):
        walk = Walk(os.fsencode(root), follow)
        _check(index, os.fsdecode(walk.root))
        one = _Scan(index, embed, column, batch, seconds, progress)
        one.intake = FileSorter(index, walk, column, decoder, retry, one.looked)
        one.read(decode)
        one.settle()
        one.intake.books.check()
        return one.intake.books


def _check(index: Index, root: str) -> None:
    old = index.meta().get("root")
    if not os.path.isdir(root):
        raise DamagedError(root, "there is no such folder now", "correct the path, or mount its disk")
    if old is None and len(index):
        raise UsageError(index.path, "this index was made from a table", "choose another name for the folder's")
    if old is not None and old != root and os.path.isdir(old):
        raise UsageError(
            index.path, f"this index is of another folder ({old})", "choose another name for this folder's"
        )


class _Scan:
    intake: FileSorter

    def __init__(
        self,
        store: Store,
        embed: _Embed,
        column: str,
        batch: int,
        seconds: float,
        progress: Callable[[ScanReport], None] | None,
    ) -> None:
        self.store, self.embed, self.column = store, embed, column
        self.batch, self.seconds, self.progress = batch, seconds, progress
        self.heard: deque[Song] = deque()  # decoded, and not yet embedded
        self.ready: list[tuple[Song, npt.NDArray[np.float32]]] = []  # embedded, and not yet committed
        self.last = time.monotonic()

    def read(self, decode: _Decode) -> None:
        """Decode, embed and commit all that is new."""
        intake = self.intake
        with contextlib.closing(intake.paths()) as paths:
            for vector in self.embed(self.sounds(decode(paths))):
                self.ready.append((self.heard.popleft(), np.asarray(vector)))
                self.looked()
        if intake.queue or self.heard or not intake.whole:
            raise UserError("decode", "the decoder stopped before the end", "report this")
        self.commit()

    def sounds(self, decoded: Iterable[Decoded]) -> Iterator[Samples]:
        """The samples of what can be used; all else is noted."""
        intake = self.intake
        for sound in decoded:
            song = intake.queue.popleft()
            if sound.path != intake.walk.full(song.files[0].path):
                raise UserError(os.fsdecode(sound.path), "the decoder gave it out of turn", "report this")
            if intake.restless(song.files[0]):
                intake.put_off(song)
            elif sound.samples is None:
                intake.give_up(song, sound.reason, sound.wrong, sound.fix)
            else:
                song.heard(sound)
                self.heard.append(song)
                yield sound.samples
            self.looked()

    def looked(self) -> None:
        """Commit if enough is waiting, or for long enough."""
        waiting, changes = len(self.ready), len(self.intake.changes)
        late = time.monotonic() - self.last >= self.seconds
        if waiting >= self.batch or changes >= _CHANGES or (late and waiting + changes):
            self.commit()
        elif late or not waiting + changes:
            self.last = time.monotonic()
        if self.progress and self.intake.books.seen % 1_000 == 0:
            self.progress(self.intake.books)

    def commit(self) -> None:
        """Write what is embedded and all else that is new in one transaction."""
        intake = self.intake
        songs = self.fine()
        if songs or intake.changes:
            with self.store.writing() as db:
                _remember(db, root=os.fsdecode(intake.walk.root))
                note(db, "columns", [self.column])
                note(db, "cells", (name for song, _ in songs for name in song.row))
                for file, content in intake.changes.paths:  # first, lest a new song take the row of what has moved
                    file_table.place(db, file, content)
                for song, vector in songs:
                    content = file_table.put(db, song.files[0], song.hash, song.row, self.column, vector)
                    for file in song.files[1:]:
                        file_table.place(db, file, content)
                        intake.copied(content)
                for one in intake.changes.skips:
                    file_table.skip(db, one)
        intake.books.indexed += len(songs)
        for song, _ in songs:
            del intake.songs[song.hash]
        self.ready, intake.changes, self.last = [], Changes(), time.monotonic()
        if self.progress:
            self.progress(intake.books)

    def fine(self) -> list[tuple[Song, bytes]]:
        """The songs that are ready, with their vectors as they are stored; one whose may not be stored is skipped."""
        if not self.ready:
            return []
        meta = self.store.field_info(self.column)
        songs, vectors = [song for song, _ in self.ready], np.stack([vector for _, vector in self.ready])
        if vectors.shape[1:] == (meta["dim"],):
            usable = valid(vectors, meta["metric"])
            for at in np.flatnonzero(~usable):
                wrong = "the model gives it no vector that can be compared"
                self.intake.give_up(songs[at], "vector", wrong, "leave the file out, or use another model")
            songs, vectors = [songs[at] for at in np.flatnonzero(usable)], vectors[usable]
        return list(zip(songs, self.store.encode_vectors(vectors, len(songs), self.column), strict=True))

    def settle(self) -> None:
        """Mark what is gone, unless all of it is: then the disk is gone, not the files."""
        intake, books = self.intake, self.intake.books
        root = os.fsdecode(intake.walk.root)
        gone = [path for path in intake.known if not intake.walk.hidden(path)]
        if gone and intake.empty:
            wrong = f"none of the {len(gone)} files that the index has of this folder is there, nor any other"
            raise DamagedError(root, wrong, "mount the disk that they are on, or delete the index if they are gone")
        over = [(path,) for path in intake.skips if not intake.walk.hidden(path)]
        with self.store.writing() as db:
            _remember(db, root=root, device=str(os.stat(root).st_dev))
            db.executemany("DELETE FROM skips WHERE path = ?", over)
            moved = file_table.settle(db, gone)
            [(books.missing,)] = db.execute("SELECT count(*) FROM paths WHERE missing IS NOT NULL").fetchall()
        books.moved = sum(min(count, intake.added.get(content, 0)) for content, count in moved.items())
        books.duplicate -= books.moved
        books.unchanged += books.moved


def _remember(db: Any, **about: str) -> None:
    for key, value in about.items():
        db.execute("INSERT OR REPLACE INTO meta VALUES(?, CAST(? AS TEXT))", (key, os.fsencode(value)))
