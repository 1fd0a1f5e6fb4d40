"""Threads with a bounded queue: a full queue refuses at once, and a request whose client has gone leaves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import unavailable

T = TypeVar("T")


class Workers:
    """A thread pool for requests.

    An executor, because cancelling one of its futures removes work that has not begun, while work that has begun keeps
    its thread, and so its place, until it is done.

    Args:
        name: of the threads.
        threads: requests that run at once.
        queue: requests that may wait.
        timeout: seconds after which a client is refused; the thread goes on.
    """

    def __init__(self, name: str, threads: int, queue: int, timeout: float = 30.0) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit, self._timeout = threads + queue, timeout
        self._pending = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The result of a call in one of the threads; cancel it to leave the queue.

        Raises:
            HTTPException: 503, the queue is full or the call takes too long.
        """
        with self._lock:
            if self._pending >= self._limit:
                raise unavailable("the server is busy; try again in a second")
            self._pending += 1
        future = self._executor.submit(function, *args)
        future.add_done_callback(self._release)
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise unavailable("the answer takes too long; try again in a second") from None

    def close(self) -> None:
        """Drop what waits; what runs is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _release(self, _: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1
