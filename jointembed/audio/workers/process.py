"""A decoding process as its parent sees it: it gets jobs, is waited for, killed and started again."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ..formats import FIX
from .pipe import PolledPipe, ThreadedPipe, open_pipe

MAX_LINE_BYTES = 1 << 20
LINE_BLOCK_BYTES = 1 << 16
POLL_SECONDS = 0.05
MAX_START_SECONDS = 60.0  # on a busy machine
MAX_TAG_SECONDS = 3.0
MIN_BYTES_PER_SECOND = 4e6  # any decoder is faster; large files get more time
MAX_SOUND_SECONDS = 12 * 3600.0
_MAIN = (
    "import sys; sys.path.append(sys.argv[1]); from jointembed.audio.workers.worker import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
)
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX")


@dataclass(frozen=True)
class FileSpan:
    """A part of a sound file, such as a track of an album.

    Args:
        path: the file.
        start: in seconds.
        end: in seconds; None for the end of the file.
    """

    path: bytes
    start: float
    end: float | None


@dataclass(frozen=True)
class Decoded:
    """The result for one file.

    Args:
        path: as the system has it, or the part of a file.
        samples: (N,) mono float32 at the rate of the `Decoders`; None if the file cannot be used.
        reason: "", or a code: one of `jointembed.audio.Undecodable`, timeout, decoder-crash or memory.
        problem: what is wrong with the file.
        fix: how to correct it.
        partial: whether a part of the sound is missing.
        seconds: the length as decoded.
        tags: those that the file has, see `tags.py`; several artists as a list.
        times: seconds spent in read, decode, mono and resample.
    """

    path: bytes | FileSpan
    samples: NDArray[np.float32] | None
    reason: str = ""
    problem: str = ""
    fix: str = ""
    partial: bool = False
    seconds: float = 0.0
    tags: dict[str, str | list[str]] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)


class _WorkerLostError(Exception):
    """The worker died, broke the protocol or was too slow; the argument is the reason code."""


class Worker:
    """One process, started when it is first needed and again after it was lost."""

    def __init__(self, rate: int, seconds: float, memory: int, recycle: int, function: str) -> None:
        self.rate, self.seconds, self.memory, self.recycle, self.function = rate, seconds, memory, recycle, function
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe: PolledPipe | ThreadedPipe | None = None
        self.buffer = b""
        self.done = 0
        self.closed = False

    def decode(self, path: bytes | FileSpan) -> Decoded:
        try:
            size = os.stat(path.path if isinstance(path, FileSpan) else path).st_size
        except (OSError, ValueError):
            size = 0
        wait = self.seconds + size / MIN_BYTES_PER_SECOND
        try:
            if self.process is None:
                self._start()
            result = self._request(path, wait)
        except _WorkerLostError as error:
            self.kill()
            reason = str(error)
            problem = "the decoder crashed" if reason == "decoder-crash" else f"the decoder took more than {wait:.0f} s"
            return Decoded(path, None, reason, problem, FIX)
        self.done += 1
        if result.reason == "memory" or self.done >= self.recycle:
            self.kill()
        return result

    def _start(self) -> None:
        read_end, write_end = os.pipe()
        try:
            words = [str(Path(__file__).parents[3]), str(os.getpid()), str(self.memory), self.function]
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, *words],  # -P: a folder of music may hold a numpy.py
                stdin=subprocess.PIPE,
                stdout=write_end,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                # Every thread would reserve memory that counts against the limit.
                env={**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")},
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.pipe, self.buffer, self.done = open_pipe(read_end), b"", 0
        try:
            end = time.monotonic() + MAX_START_SECONDS
            while "ready" not in (greeting := _parse(self._read_line(end)) or {}):
                pass  # what the start of Python printed
        except _WorkerLostError as error:
            self.kill()
            if self.closed:
                raise
            problem = "the decoding process does not start"
            raise UserError("decode", problem, "free some memory, or give the decoders more") from error
        if not greeting["ready"]:
            _warn_of_unlimited_memory()

    def _request(self, path: bytes | FileSpan, wait: float) -> Decoded:
        assert self.process is not None and self.process.stdin is not None
        limit = min(MAX_SOUND_SECONDS, self.memory / (8 * self.rate))  # half of the memory is for the samples
        part = [path.start, path.end] if isinstance(path, FileSpan) else []
        file = path.path if isinstance(path, FileSpan) else path
        job = {"path": file.hex(), "rate": self.rate, "cpu": wait, "limit": limit, "part": part}
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise _WorkerLostError("decoder-crash") from error
        end = time.monotonic() + wait
        answer = self._read_answer(end)
        if "reason" in answer:
            reason, problem, fix = (str(answer.get(name, "")) for name in ("reason", "problem", "fix"))
            return Decoded(path, None, reason, problem, fix or FIX)
        try:
            count = int(answer["count"])
            if not 0 < count <= (limit + 60) * self.rate:
                raise ValueError(count)
            samples = np.empty(count, np.float32)
            partial, seconds = bool(answer["partial"]), float(answer["seconds"])
            times = {str(name): float(value) for name, value in answer["times"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _WorkerLostError("decoder-crash") from error
        self._read_into(samples.data.cast("B"), end)
        tags: dict[str, str | list[str]] = {}
        try:
            tags = {
                str(name): [str(part) for part in text] if isinstance(text, list) else str(text)
                for name, text in self._read_answer(time.monotonic() + MAX_TAG_SECONDS)["tags"].items()
            }
        except (_WorkerLostError, KeyError, AttributeError):
            self.kill()
        return Decoded(path, samples, "", "", "", partial, seconds, tags, times)

    def _wait(self, end: float) -> None:
        """Return when the pipe has data. That it is open proves nothing: a child of a dead worker may have it open."""
        assert self.pipe is not None
        while not self.pipe.wait(POLL_SECONDS):
            if self.closed or self._status() is not None:
                if self.pipe.wait(0):
                    return
                raise _WorkerLostError("decoder-crash")
            if time.monotonic() > end:
                raise _WorkerLostError("timeout")

    def _read(self, view: memoryview, end: float) -> int:
        """Read at least a byte into a view."""
        self._wait(end)
        assert self.pipe is not None
        count = self.pipe.read_into(view)
        if not count:
            raise _WorkerLostError(self._reason_of_end())
        return count

    def _read_line(self, end: float) -> bytes:
        parts = self.buffer
        block = memoryview(bytearray(LINE_BLOCK_BYTES))
        while b"\n" not in parts:
            parts += block[: self._read(block, end)]
            if len(parts) > MAX_LINE_BYTES + LINE_BLOCK_BYTES:
                raise _WorkerLostError("decoder-crash")
        line, _, self.buffer = parts.partition(b"\n")
        return line

    def _read_answer(self, end: float) -> dict[str, Any]:
        words = _parse(self._read_line(end))
        if words is None:
            raise _WorkerLostError("decoder-crash")
        return words

    def _read_into(self, view: memoryview, end: float) -> None:
        filled = min(len(self.buffer), len(view))
        view[:filled], self.buffer = self.buffer[:filled], self.buffer[filled:]
        while filled < len(view):
            filled += self._read(view[filled:], end)
            if time.monotonic() > end:
                raise _WorkerLostError("timeout")

    def _status(self, wait: bool = False) -> int | None:
        """The exit status of the process, or the negative number of the signal that killed it; None while it runs.

        Where the system lets us look without reaping it, its children can still be killed by its number.
        """
        assert self.process is not None
        system: Any = os
        if not hasattr(system, "waitid"):
            return self.process.wait() if wait else self.process.poll()
        options = system.WEXITED | system.WNOWAIT | (0 if wait else system.WNOHANG)
        result = system.waitid(system.P_PID, self.process.pid, options)
        if result is None:
            return None
        return int(result.si_status if result.si_code == system.CLD_EXITED else -result.si_status)

    def _reason_of_end(self) -> str:
        """The reason code after the pipe has ended: the kernel may have stopped the worker for its CPU time."""
        return "timeout" if self._status(wait=True) == -getattr(signal, "SIGXCPU", 0) != 0 else "decoder-crash"

    def kill(self) -> None:
        """Kill the process and its children. It is reaped last: until then no other process can get its number."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, getattr(signal, "SIGKILL"))  # noqa: B009 (Windows has neither)
            else:
                process.kill()
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        process.wait()
        if self.pipe is not None:
            self.pipe.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The object that a line of JSON describes; None for anything else."""
    try:
        words = json.loads(line)
    except ValueError:
        return None
    return words if isinstance(words, dict) else None


@functools.cache
def _warn_of_unlimited_memory() -> None:
    wrong = "this system does not limit the memory of the processes that decode: a damaged file may fill it"
    print(f"warning: {wrong}", file=sys.stderr)
