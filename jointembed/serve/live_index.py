"""The index as the server reads it: each new version of the file, and another file in its place, is picked up.

A connection of SQLite belongs to the thread that opened it, so each worker thread opens the index for itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from starlette.exceptions import HTTPException

from ..errors import DamagedError, MismatchError, UserError
from ..index.index import Index
from .errors import log_error, public_message, unavailable

_POLL_SECONDS = 1.0


class LiveIndex:
    """An index file that may change or be replaced while it is served.

    Args:
        path: the index.
        on_change: called, in any thread, with each version that is seen for the first time.
    """

    def __init__(self, path: Path, on_change: Callable[[Index], None]) -> None:
        self.path, self._on_change = path, on_change
        self._local = threading.local()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch the file."""
        self._watcher.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join(1)

    @contextlib.contextmanager
    def read(self) -> Iterator[Index]:
        """The index of this thread, at one version until the end of the block.

        Raises:
            HTTPException: 503, it is missing, damaged, or of another format. The next block tries again.
        """
        try:
            index = self._open()
            with index.reading():
                yield index
        except (DamagedError, MismatchError) as error:
            self._close()
            raise unavailable(public_message(error, self.path)) from error

    def _open(self) -> Index:
        """The index of this thread, opened again if another file has taken its place."""
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise unavailable("the index does not exist at the moment") from error
        file = stat.st_dev, stat.st_ino
        if getattr(self._local, "file", None) != file:
            self._close()
            try:
                self._local.index, self._local.file = Index.open(self.path), file
            except UserError as error:
                raise unavailable(public_message(error, self.path)) from error
        index: Index = self._local.index
        return index

    def _close(self) -> None:
        if getattr(self._local, "file", None) is not None:
            self._local.file = None
            with contextlib.suppress(Exception):  # the file may be broken in any way
                self._local.index.close()

    def _watch(self) -> None:
        """Announce each version, and load its vectors before they are asked for."""
        announced = ""
        while not self._stop.is_set():
            try:
                with self.read() as index:
                    if (version := index.version) != announced:
                        self._on_change(index)
                        for field in index.fields:
                            index.vectors(field)
                        announced = version
            except (HTTPException, UserError):
                pass  # the requests say so
            except Exception as error:  # the thread must go on
                log_error(error)
            self._stop.wait(_POLL_SECONDS)
        self._close()
