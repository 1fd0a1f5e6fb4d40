"""The layouts that take long are computed while nobody asks for anything, so that choosing them shows them at once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.exceptions import HTTPException

from ..analyze import layout
from ..errors import UserError
from .errors import log_error
from .live_index import LiveIndex

MAX_ROWS = 5_000  # UMAP of more takes minutes of a processor
IDLE_SECONDS = 3.0  # without a request, before a layout is computed
_POLL_SECONDS = 0.5
_AXES = ("umap2", "umap3")
_MAIN = """
import os, sys
sys.path.insert(0, sys.argv[1])
if hasattr(os, "nice"):
    os.nice(10)
from jointembed.analyze.layout import compute_layout
from jointembed.index.index import Index
with Index.open(sys.argv[2]) as index:
    compute_layout(index, sys.argv[4], sys.argv[3])
"""


class LayoutPrecomputer:
    """Computes the UMAP layouts of small indexes in a process of low priority, once the server is idle.

    They are cached beside the index, where `analyze.layout` looks for them.

    Args:
        lives: the indexes.
        idle_seconds: the seconds since the last request.
    """

    def __init__(self, lives: Sequence[LiveIndex], idle_seconds: Callable[[], float]) -> None:
        self._lives, self._idle_seconds = lives, idle_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: set[tuple[Path, str | None, str]] = set()  # index, field and axes that ask for what it computes
        self._attempts: set[tuple[str, str, str]] = set()  # version, field and axes: a failure is not repeated
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="precompute", daemon=True)

    def start(self) -> None:
        """Begin to wait for idle times."""
        self._thread.start()

    def close(self) -> None:
        """Stop waiting, and the process that computes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def wait(self, path: Path, field: str | None, axes: str) -> None:
        """Wait for a layout if it is being computed: computing it a second time would take longer.

        Args:
            path: the index.
            field: the field; the first one if None.
            axes: the layout.
        """
        process = self._process
        if process is not None and (path, field, axes) in self._requests:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(600)

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            for live in self._lives:
                try:
                    is_idle = self._idle_seconds() >= IDLE_SECONDS and not self._stop.is_set()
                    if is_idle and (job := self._next(live)):
                        self._compute(live.path, *job)
                except (HTTPException, UserError):
                    pass  # the index is missing or damaged at the moment; the requests say so
                except Exception as error:  # the thread must go on
                    log_error(error)

    def _next(self, live: LiveIndex) -> tuple[str, str] | None:
        """The field and axes of a layout of an index that is not cached yet."""
        with live.read() as index:
            if not os.access(index.path.parent, os.W_OK):
                return None
            for field in index.fields:
                is_small = layout.UMAP_MIN_ROWS <= len(index.ids(field)) <= MAX_ROWS
                available = layout.available_axes(index, field) if is_small else []
                for axes in (axes for axes in _AXES if axes in available):
                    attempt = (index.version, field, axes)
                    if attempt not in self._attempts and not layout.is_cached(index, axes, field):
                        self._attempts.add(attempt)
                        names = (field, None) if field == index.fields[0] else (field,)
                        self._requests = {(live.path, name, axes) for name in names}
                        return field, axes
        return None

    def _compute(self, path: Path, field: str, axes: str) -> None:
        """Compute a layout in a process, which is stopped with the server."""
        words = [str(Path(__file__).parents[2]), str(path), field, axes]
        process = self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, *words],  # -P: a folder of music may hold a numpy.py
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while process.poll() is None and not self._stop.wait(_POLL_SECONDS):
                pass
        finally:
            process.kill()
            process.wait()
            self._process = None
