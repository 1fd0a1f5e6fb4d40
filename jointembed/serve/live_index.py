"""The index as the server reads it: each new version of the file, and another file in its place, is picked up."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from starlette.exceptions import HTTPException

from ..errors import DamagedError, MismatchError, UsageError, UserError
from ..index.index import Index
from .errors import log_error, public_message, unavailable

_POLL_SECONDS = 1.0


class LiveIndex:
    """An index file that may change or be replaced while threads read it.

    Args:
        path: the index.
        on_change: called with each version that is seen for the first time.
    """

    def __init__(self, path: Path, on_change: Callable[[Index], None]) -> None:
        self.path, self._on_change = path, on_change
        self._index: Index | None = None
        self._file: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Announce the version that is there, lest a request come before that, and begin to watch the file."""
        with contextlib.suppress(HTTPException, UserError), self.read() as index:
            self._on_change(index)
        self._watcher.start()

    def close(self) -> None:
        """Stop watching, and close the index."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join(1)
        self._replace(None, None)

    @contextlib.contextmanager
    def read(self, field: str | None = None) -> Iterator[Index]:
        """The index, at one version until the end of the block.

        Raises:
            HTTPException: 503, it is missing, damaged, empty, or of another format. The next block tries again.
            UsageError: it has no such field.
        """
        try:
            index = self._open()
            with index.reading() as snapshot:
                if field is not None and field not in snapshot.info.fields:
                    fix = f"use one of: {', '.join(snapshot.info.fields)}"
                    raise UsageError("field", "the index has no vectors of this field", fix)
                yield index
        except UserError as error:
            if isinstance(error, DamagedError | MismatchError):
                with self._lock:
                    self._replace(None, None)
            if error.subject == str(self.path):
                raise unavailable(public_message(error, str(self.path))) from error
            raise

    def _open(self) -> Index:
        """The index, opened again if another file has taken its place."""
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise unavailable("the index does not exist at the moment") from error
        file = stat.st_dev, stat.st_ino
        with self._lock:
            if self._index is None or self._file != file:
                self._replace(Index.open(self.path), file)
            assert self._index is not None
            return self._index

    def _replace(self, index: Index | None, file: tuple[int, int] | None) -> None:
        """Read another index from now on; threads that still read the old one finish."""
        old, self._index, self._file = self._index, index, file
        if old is not None:
            with contextlib.suppress(Exception):  # the file may be broken in any way
                old.close()

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
