"""Worker processes that decode and may be killed: a file that crashes or hangs a decoder costs only itself."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from .process import Decoded, FileSpan, Worker

__all__ = ["Decoded", "Decoders", "FileSpan"]


class Decoders:
    """A pool of decoding processes; a context manager.

    Args:
        rate: of the samples, in Hz.
        workers: the number of processes.
        seconds: the time that a file may take; 4 MB of its size add a second.
        memory: the bytes that a process may use; a sound that does not fit into half of it is refused as too long.
        recycle: the number of files after which a process is replaced.
        function: the decoder that the processes call, as `module:name`.
    """

    def __init__(
        self,
        rate: int,
        workers: int = 2,
        seconds: float = 30.0,
        memory: int = 2 << 30,
        recycle: int = 200,
        function: str = "jointembed.audio:decode",
    ) -> None:
        self.workers = [Worker(rate, seconds, memory, recycle, function) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.workers:
            self._idle.put(worker)
        # A worker dies with the thread that started it, so the threads must last as long as the workers.
        self._threads = ThreadPoolExecutor(workers, "decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def map(self, paths: Iterable[bytes | FileSpan], ahead: int | None = None) -> Iterator[Decoded]:
        """Decode files; the results are in the order of the paths, which are drawn as they are needed.

        Args:
            paths: the files, or parts of them.
            ahead: the number of files that are being decoded or wait to be yielded; by default twice the number of
                workers.

        Raises:
            UserError: a process cannot be started.
        """
        ahead = max(1, 2 * len(self.workers) if ahead is None else ahead)
        waiting: deque[Future[Decoded]] = deque()
        try:
            for path in paths:
                waiting.append(self._threads.submit(self._decode, path))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _decode(self, path: bytes | FileSpan) -> Decoded:
        worker = self._idle.get()
        try:
            return worker.decode(path)
        finally:
            if worker.closed:
                worker.kill()
            self._idle.put(worker)

    def close(self) -> None:
        """Kill all processes; the files that they are decoding are lost."""
        for worker in self.workers:
            worker.closed = True
        self._threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.kill()
