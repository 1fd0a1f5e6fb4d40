"""From what lies in a folder to what of it must be decoded; all else is known, and noted."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ..index.backends.sqlite import Store
from . import file_table
from .report import ScanReport
from .sound_file import Song, digest
from .walk import File, Skip, Walk

_AHEAD = 8  # files hashed ahead of the decoder, which then finds them in memory
_Paths = Generator[bytes, None, None]


@dataclass(slots=True)
class Changes:
    """What the next commit writes apart from new songs."""

    paths: list[tuple[File, int]] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths) + len(self.skips)


class FileSorter:
    """Sorts the files of a walk by what the index knows of them.

    Args:
        store: the index's.
        walk: over the folder.
        column: which column's vectors count.
        decoder: the version of the decoder; a skip of another one is tried again.
        retry: whether all skips are.
        looked: is called after each file that was read, and now and then between.
    """

    def __init__(
        self, store: Store, walk: Walk, column: str, decoder: str, retry: bool, looked: Callable[[], None]
    ) -> None:
        self.store, self.walk, self.column, self.decoder, self.looked = store, walk, column, decoder, looked
        with store.reading() as db:
            self.known = file_table.known(db, column)  # what the walk comes to is taken out, what is left is gone
            self.skips = file_table.skipped(db)  # likewise
            self._alike = file_table.alike(db)
        trusted = [one for one in self.skips.values() if one.hash and one.decoder == decoder and not retry]
        self._bad = {one.hash: one for one in trusted}
        self._resting = {one.path: (one.size, one.mtime) for one in trusted}
        self.books = ScanReport()
        self.changes = Changes()
        self.queue: deque[Song] = deque()  # those in the decoder
        self.songs: dict[str, Song] = {}  # until they are committed
        self.added: dict[int, int] = {}  # new paths by content
        self.empty, self.whole = True, False

    def paths(self) -> _Paths:
        """The absolute paths of what must be decoded; each one's song waits in the queue."""
        ahead: deque[tuple[File, int | None, Future[str]]] = deque()
        changed = []
        with ThreadPoolExecutor(2) as pool:
            for found in self.walk:
                self.books.seen += 1
                if found is None:
                    self.books.unsupported += 1
                elif isinstance(found, Skip):
                    self.skip(found)
                else:
                    self.empty = False
                    if self._rests(found):
                        self.books.skipped += 1
                    elif (old := self.known.pop(found.path, None)) is None:
                        ahead.append((found, None, pool.submit(digest, self.walk.full(found.path))))
                    elif not self._unchanged(found, old):
                        # Last, so that what has moved away from this path is known to lie elsewhere by then.
                        changed.append((found, old.content))
                if len(ahead) > _AHEAD:
                    yield from self._hashed(*ahead.popleft())
                elif self.books.seen % 1_000 == 0:
                    self.looked()
            for file, content in changed:
                ahead.append((file, content, pool.submit(digest, self.walk.full(file.path))))
                if len(ahead) > _AHEAD:
                    yield from self._hashed(*ahead.popleft())
            while ahead:
                yield from self._hashed(*ahead.popleft())
        self.whole = True

    def copied(self, content: int) -> None:
        """Count one more file with a content; that it was moved, if so, is told at the end of the scan."""
        self.books.duplicate += 1
        self.added[content] = self.added.get(content, 0) + 1

    def skip(self, one: Skip) -> None:
        """Note a skip, unless it is noted already."""
        self.books.skipped += 1
        if one.hash is None:
            self.known.pop(one.path, None)  # nothing is known of what lies there now, so it is not gone
        if self.skips.pop(one.path, None) != one:
            self.changes.skips.append(one)

    def give_up(self, song: Song, reason: str, wrong: str, fix: str) -> None:
        """Skip all files of a content until they change."""
        del self.songs[song.hash]
        for file in song.files:
            one = Skip(file.path, reason, wrong, fix, file.size, file.mtime, song.hash, self.decoder)
            self._bad[song.hash] = one
            self.skip(one)

    def put_off(self, song: Song) -> None:
        """Leave all files of a content to the next scan, because the one that was decoded has changed meanwhile."""
        del self.songs[song.hash]
        for file in song.files:
            self.skip(_changing(file))

    def restless(self, file: File) -> bool:
        """Whether a file is not any more what the walk saw."""
        try:
            about = os.stat(self.walk.full(file.path))
        except OSError:
            return True
        return (about.st_size, about.st_mtime_ns) != (file.size, file.mtime)

    def _rests(self, file: File) -> bool:
        """Whether a file was skipped as it is, so that it is not even read."""
        if self._resting.get(file.path) != (file.size, file.mtime):
            return False
        del self.skips[file.path]
        self.known.pop(file.path, None)
        return True

    def _unchanged(self, file: File, old: file_table.Known) -> bool:
        same = (file.size, file.mtime) == (old.size, old.mtime)
        # Some file systems number their files anew at every mount, so the number counts only where it must.
        if not same or (file.inode != old.inode and (old.size, old.mtime) in self._alike):
            return False
        self.books.unchanged += 1
        if old.missing is not None or file.inode != old.inode:
            self.changes.paths.append((file, old.content))
        return True

    def _hashed(self, file: File, old: int | None, future: Future[str]) -> _Paths:
        """A path if its content must be decoded; else a copy, a move, or the copy of a skip is noted."""
        try:
            hash = future.result()
        except OSError as error:
            self.skip(self.walk.unreadable(file.path, error))
            return
        with self.store.reading() as db:
            content = file_table.content(db, hash, self.column)
        if self.restless(file):
            self.skip(_changing(file))
        elif hash in self.songs:
            self.songs[hash].files.append(file)
        elif hash in self._bad:
            self.skip(replace(self._bad[hash], path=file.path, size=file.size, mtime=file.mtime))
        elif content is not None:
            self.changes.paths.append((file, content))
            if content == old:
                self.books.unchanged += 1
            else:
                self.copied(content)
        else:
            song = self.songs[hash] = Song(hash, [file])
            self.queue.append(song)
            yield self.walk.full(file.path)
        self.looked()


def _changing(file: File) -> Skip:
    return Skip(file.path, "changing", "the file was changed while it was read", "run the command again")
