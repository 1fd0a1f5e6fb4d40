"""Threads with a bounded queue: a full queue refuses at once, and a request whose client has gone leaves it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from .errors import unavailable

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
_GATHER_SECONDS = 0.002  # much less than a call takes
_MAX_BATCH = 32  # calls that are made as one


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
        self.name = name
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads, self._limit, self._timeout = threads, threads + queue, timeout
        self._pending = 0
        self._lock = threading.Lock()

    @property
    def queue_length(self) -> int:
        """The number of requests that wait for a thread."""
        return max(0, self._pending - self._threads)

    async def run(self, request: Request, function: Callable[..., T], *args: Any) -> T:
        """The result of a call in one of the threads.

        Raises:
            HTTPException: 503, the queue is full or the call takes too long.
            ClientDisconnect: the client went away while the call waited; it is dropped.
        """
        with self._lock:
            if self._pending >= self._limit:
                raise unavailable("the server is busy; try again in a second")
            self._pending += 1
            is_queued = self._pending > self._threads
        future = self._executor.submit(function, *args)
        future.add_done_callback(self._release)
        answer = asyncio.wrap_future(future)
        # What already runs cannot be cancelled: watching for its client would cost more than many an answer.
        departure = [asyncio.ensure_future(_wait_for_disconnect(request))] if is_queued else []
        tasks: list[asyncio.Future[Any]] = [answer, *departure]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            if answer in done:
                return answer.result()
            if done:
                raise ClientDisconnect
            raise unavailable("the answer takes too long; try again in a second")
        finally:
            for task in tasks:
                task.cancel()

    def in_thread(self, function: Callable[..., T]) -> Callable[..., Awaitable[T]]:
        """Decorate the function of a route, so that it runs in one of the threads."""

        @functools.wraps(function)
        async def answer(request: Request, *args: Any) -> T:
            return await self.run(request, function, *args)

        return answer

    def close(self) -> None:
        """Drop what waits; what runs is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _release(self, _: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1


class Batches:
    """Calls that wait for one thread, where those of a function with the same key are made as one call.

    Args:
        name: of the thread.
        queue: calls that may wait.
    """

    def __init__(self, name: str, queue: int) -> None:
        self.workers = Workers(name, 1, queue + _MAX_BATCH - 1)
        self._waiting: dict[Future[Any], tuple[tuple[Callable[..., Any], Hashable], Any]] = {}
        self._arrival = threading.Condition()
        self._last_size = 1

    async def run(
        self, request: Request, function: Callable[[K, list[A]], Sequence[T | Exception]], key: K, argument: A
    ) -> T:
        """The result of a call; see `Workers.run` for what is raised.

        Args:
            request: the request.
            function: gets a key and the arguments of all calls with it, and returns a result or an exception for each.
            key: the key of the call.
            argument: its argument.
        """
        future: Future[T] = Future()
        with self._arrival:
            self._waiting[future] = (function, key), argument
            self._arrival.notify()
        try:
            return await self.workers.run(request, self._answer, future)
        finally:
            with self._arrival:
                self._waiting.pop(future, None)

    def close(self) -> None:
        """Drop what waits."""
        self.workers.close()

    def _answer(self, future: Future[Any]) -> Any:
        """The result of a call, which an earlier call may have computed together with its own."""
        if not future.done():
            with self._arrival:
                if self._last_size > 1:  # clients that got their answers together ask again together
                    self._arrival.wait_for(lambda: len(self._waiting) >= self._last_size, _GATHER_SECONDS)
                call = self._waiting[future][0] if future in self._waiting else None
                alike = ((each, argument) for each, (its_call, argument) in self._waiting.items() if its_call == call)
                batch = dict(islice(alike, _MAX_BATCH))
                for each in batch:
                    del self._waiting[each]
            self._last_size = len(batch)
            try:
                results = call[0](call[1], list(batch.values())) if call else []
            except Exception as error:
                results = [error] * len(batch)
            for each, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    each.set_exception(result)
                else:
                    each.set_result(result)
        return future.result(timeout=0)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
