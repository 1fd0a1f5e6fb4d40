"""Threads that work off a short queue, so that too many questions are refused at once and none is forgotten."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .limits import ANSWER

_TOGETHER = 32  # jobs that are done as one
_WAIT = 1.0  # seconds that a job may be expected to wait
_SMOOTH = 0.1
_NICE = 5  # of 19, how far the threads give way: refusals come two to three times sooner
_END = 1.0  # seconds that a thread is waited for in the end

T = TypeVar("T")


class Busy(Exception):
    """No place is left in the queue, or an answer took too long."""


@dataclass(eq=False)
class _Job:
    work: Callable[[Any, list[Any]], Sequence[Any]]
    what: Any
    kind: Hashable
    answer: asyncio.Future[Any]


class Pool(Generic[T]):
    """Threads, each with a tool of its own, that take jobs in the order of their coming.

    Jobs of one kind that wait together are done as one: the more of them come, the less each costs. A job that would
    wait for too long, as far as the last ones tell, is refused at once.

    They are daemons: what hangs in one (a network disk, a library) does not keep the process from ending. On Linux,
    where threads have priorities of their own, they give way to the one that takes and refuses questions.

    Args:
        threads: jobs that are done at once.
        waiting: jobs that may wait beside these.
        tool: makes what the jobs of one thread are done with, in that thread, which ends it too.
        patience: seconds after which a job is given up by who asked; its thread goes on.
        linger: seconds that a thread waits for as many jobs as there were the last time, whose askers ask again.
    """

    def __init__(
        self,
        threads: int,
        waiting: int,
        tool: Callable[[], AbstractContextManager[T]],
        name: str = "serve",
        patience: float = ANSWER,
        linger: float = 0.0,
    ) -> None:
        self._waiting, self._tool, self._patience = waiting, tool, patience
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._threads, self._idle, self._open = threads, threads, True
        self._linger, self._expected = linger, 0
        self._each = 0.0  # seconds that a job takes, smoothed
        self._running = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._running:
            thread.start()

    async def ask(self, work: Callable[[T, list[Any]], Sequence[Any]], what: Any, kind: Hashable = None) -> Any:
        """What `work` makes of `what` in one of the threads.

        Args:
            work: is given a tool and what was asked, and returns as many answers; one that is an exception is raised.
            what: what is asked.
            kind: questions of the same kind that wait together are given to `work` together; None waits alone.

        Raises:
            Busy: so many wait already, or the answer took too long.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, what, kind, loop.create_future())
        with self._ready:
            waiting = len(self._jobs)
            if waiting >= self._waiting + self._idle or waiting * self._each > _WAIT * self._threads:
                raise Busy
            self._jobs.append(job)
            self._ready.notify()
        try:
            async with asyncio.timeout(self._patience):
                return await job.answer
        except TimeoutError:
            raise Busy from None

    def close(self) -> None:
        """Let the threads end; what takes long is not waited for."""
        with self._ready:
            self._open = False
            self._jobs.clear()
            self._ready.notify_all()
        for thread in self._running:
            thread.join(_END)

    def _run(self) -> None:
        give_way()
        with self._tool() as tool:
            while jobs := self._take():
                self._do(tool, jobs)

    def _do(self, tool: T, jobs: list[_Job]) -> None:
        begun = time.monotonic()
        try:
            answers = jobs[0].work(tool, [job.what for job in jobs])
        except BaseException as error:  # whoever asked hears of it
            answers = [error] * len(jobs)
        with self._ready:
            self._idle += 1
            self._expected += len(self._jobs) if self._linger else 0
            self._each += _SMOOTH * ((time.monotonic() - begun) / len(jobs) - self._each)
        _tell(jobs, answers)

    def _take(self) -> list[_Job]:
        with self._ready:
            while self._open:
                while self._jobs and self._jobs[0].answer.done():
                    self._jobs.popleft()  # nobody waits for it any more
                if self._jobs:
                    end = time.monotonic() + self._linger
                    while len(self._jobs) < self._expected and (left := end - time.monotonic()) > 0:
                        self._ready.wait(left)
                    if not self._jobs:
                        continue
                    self._idle -= 1
                    self._expected = min(len(self._jobs), _TOGETHER) if self._linger else 0
                    first = self._jobs[0]
                    alike = [one for one in self._jobs if one is first or (first.kind and one.kind == first.kind)]
                    for job in alike[:_TOGETHER]:
                        self._jobs.remove(job)
                    return alike[:_TOGETHER]
                self._ready.wait()
        return []


def give_way() -> None:
    """Let the thread that takes and refuses questions go before this one, where threads have priorities."""
    if sys.platform == "linux":  # elsewhere this would slow the whole process
        os.nice(_NICE)


def _tell(jobs: list[_Job], answers: Sequence[Any]) -> None:
    def tell() -> None:
        for job, answer in zip(jobs, answers, strict=True):
            if job.answer.done():
                continue
            if isinstance(answer, BaseException):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)

    loop = jobs[0].answer.get_loop()
    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        return  # the server has stopped
