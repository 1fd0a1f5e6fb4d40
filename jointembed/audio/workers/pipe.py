"""Reading from the pipe of a process with a timeout, on every system."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import select
import threading
from typing import Any

BLOCK_BYTES = 1 << 16
BLOCKS_AHEAD = 16  # that a thread reads
MAX_PIPE_BYTES = 1 << 20


def open_pipe(descriptor: int) -> PolledPipe | ThreadedPipe:
    """The best of the classes below for this system, which then owns the descriptor."""
    return PolledPipe(descriptor) if hasattr(select, "poll") else ThreadedPipe(descriptor)


class PolledPipe:
    """A pipe that the system can wait for."""

    def __init__(self, descriptor: int) -> None:
        self._file = open(descriptor, "rb", buffering=0)
        system: Any = select
        self._poll = system.poll()
        self._poll.register(descriptor, system.POLLIN)
        with contextlib.suppress(ImportError, AttributeError, OSError):  # Linux alone lets a pipe grow
            fcntl: Any = importlib.import_module("fcntl")
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, MAX_PIPE_BYTES)

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, or the end, within so many seconds."""
        return bool(self._poll.poll(1000 * seconds))

    def read_into(self, view: memoryview) -> int:
        """Read at least a byte; 0 at the end. Call it after `wait`."""
        return self._file.readinto(view) or 0

    def close(self) -> None:
        """Close the pipe."""
        self._file.close()


class ThreadedPipe:
    """A pipe that a thread reads, as Windows cannot wait for one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._blocks: queue.Queue[bytes] = queue.Queue(BLOCKS_AHEAD)
        self._block: bytes | None = None  # the next one, b"" at the end
        self._is_closed = False
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def _read(self) -> None:
        block = b"begin"
        while block and not self._is_closed:
            block = os.read(self._descriptor, BLOCK_BYTES)
            self._blocks.put(block)
        os.close(self._descriptor)

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, or the end, within so many seconds."""
        if self._block is None:
            with contextlib.suppress(queue.Empty):
                self._block = self._blocks.get(timeout=seconds) if seconds else self._blocks.get_nowait()
        return self._block is not None

    def read_into(self, view: memoryview) -> int:
        """Read at least a byte; 0 at the end. Call it after `wait`."""
        block = self._block or b""
        count = min(len(block), len(view))
        view[:count] = block[:count]
        self._block = block[count:] or (None if block else b"")
        return count

    def close(self) -> None:
        """Let the thread end with the process that writes; it closes the pipe."""
        self._is_closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._blocks.get_nowait()
