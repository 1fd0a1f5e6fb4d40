"""The index as the server reads it: each new version of the file, and another file in its place, is picked up."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from starlette.exceptions import HTTPException

from ..blas import shared_blas
from ..errors import DamagedError, MismatchError, UsageError, UserError
from ..index.index import Index
from .errors import log_error, public_message, unavailable

_POLL_SECONDS = 1.0
_MAX_WAIT_SECONDS = 5.0  # for those that still read a file whose content was overwritten
_LOGS = ("-wal", "-shm")  # what SQLite writes beside a file


class LiveIndex:
    """An index file that may change or be replaced while threads read it.

    Args:
        path: the index.
        on_poll: called with the index every second.
    """

    def __init__(self, path: Path, on_poll: Callable[[Index], None]) -> None:
        self.path, self._on_poll = path, on_poll
        self._index: Index | None = None
        self._file: tuple[int, int] | None = None
        self._content = (0, 0)  # its size and time
        self._logs: dict[str, tuple[int, int]] = {}
        self._readers: Counter[Index] = Counter()
        self._overwritten: Index | None = None  # the last index whose file was changed in place, and when
        self._overwritten_at = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Announce the version that is there, lest a request come before that, and begin to watch the file."""
        with contextlib.suppress(HTTPException, UserError), self.read() as index:
            self._on_poll(index)
        self._watcher.start()

    def reload(self) -> None:
        """Open the file again for the next reader; those that read finish."""
        with self._lock:
            self._drop()

    def close(self) -> None:
        """Stop watching, and close the index."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join(1)
        self.reload()

    @contextlib.contextmanager
    def read(self, field: str | None = None) -> Iterator[Index]:
        """The index, at one version until the end of the block.

        Raises:
            HTTPException: 503, it is missing, damaged, empty, or of another format. The next block tries again.
            UsageError: it has no such field.
        """
        try:
            index = self._open()
            try:
                with shared_blas(), index.reading() as snapshot:
                    if field is not None and field not in snapshot.info.fields:
                        fix = f"use one of: {', '.join(snapshot.info.fields)}"
                        raise UsageError("field", "the index has no vectors of this field", fix)
                    yield index
            finally:
                with self._lock:
                    self._readers[index] -= 1
                    if not self._readers[index]:
                        del self._readers[index]
        except UserError as error:
            if isinstance(error, DamagedError | MismatchError):
                self.reload()
            if error.subject == str(self.path):
                raise unavailable(public_message(error, str(self.path))) from error
            raise

    def _open(self) -> Index:
        """The index, opened again if another file has taken its place, or other content that of the file."""
        with self._lock:
            try:
                stat = os.stat(self.path)
            except OSError as error:
                self._drop()  # else a deleted file would still take up its space
                raise unavailable("the index does not exist at the moment") from error
            file, content = (stat.st_dev, stat.st_ino), (stat.st_size, stat.st_mtime_ns)
            if self._file is not None and file != self._file:
                self._remove_stale_logs()
                self._drop()
            elif self._index is not None and content != self._content and self._is_overwritten(self._index):
                self._overwritten, self._overwritten_at = self._index, time.monotonic()
                self._drop()
            if self._overwritten is not None:  # connections of a process share what they know of a file
                if self._readers[self._overwritten] and time.monotonic() - self._overwritten_at < _MAX_WAIT_SECONDS:
                    raise unavailable("the index has just been overwritten")
                self._overwritten = None
            if self._index is None:
                self._index, self._file = Index.open(self.path), file
                self._logs = {end: identity for end in _LOGS if (identity := _identify(f"{self.path}{end}"))}
            self._content = content
            self._readers[self._index] += 1
            return self._index

    def _is_overwritten(self, index: Index) -> bool:
        """Whether something else than a commit has changed the file, such as `cp`, which SQLite does not notice.

        A connection that has read nothing yet sees another version then than those that have pages in memory.
        """
        try:
            with Index.open(self.path) as fresh:
                return all(fresh.version != index.version for _ in range(3))  # a commit may come between the two
        except UserError:
            return True

    def _remove_stale_logs(self) -> None:
        """Remove the logs of a file that was replaced: SQLite would replay them into its successor."""
        for end, identity in self._logs.items():
            if _identify(f"{self.path}{end}") == identity:
                with contextlib.suppress(OSError):
                    os.unlink(f"{self.path}{end}")

    def _drop(self) -> None:
        """Close the index; threads that still read it finish."""
        index, self._index = self._index, None
        if index is not None:
            with contextlib.suppress(Exception):  # the file may be broken in any way
                index.close()

    def _watch(self) -> None:
        """Announce the index, and load the vectors of each version before they are asked for."""
        loaded = ""
        while not self._stop.is_set():
            try:
                with self.read() as index:
                    self._on_poll(index)
                    if (version := index.version) != loaded:
                        for field in index.fields:
                            index.vectors(field)
                        loaded = version
            except (HTTPException, UserError):
                pass  # the requests say so
            except Exception as error:  # the thread must go on
                log_error(error)
            self._stop.wait(_POLL_SECONDS)


def _identify(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
