"""One process that decodes, as its parent sees it: asked, waited for, killed and started again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
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

_LINE = 1 << 20  # bytes of an answer's line, at most
_START = 60.0  # seconds that a worker may take to start on a busy machine
_TAGS = 3.0  # seconds that the tags of a decoded file may take
_SPEED = 4e6  # bytes a second that any decoder manages: large files get more time
_MAIN = (
    "import sys; sys.path.append(sys.argv[1]); from jointembed.audio.workers.worker import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])"
)
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX")
_FIX = "replace the file or leave it out"


@dataclass(frozen=True)
class Decoded:
    """What became of one file.

    Args:
        path: its name as the system has it.
        samples: (N,) mono float32 at the rate of the `Decoders`; None if the file cannot be used.
        reason: "" if it is fine, else a code: one of `jointembed.audio.Undecodable`, timeout, decoder-crash or memory.
        problem: what is wrong with it.
        fix: how to correct it.
        partial: something of the sound is missing.
        seconds: its length as decoded.
        tags: title, artist, album, genre and year, as far as the file has them.
        times: seconds spent in read, decode, mono and resample.
    """

    path: bytes
    samples: NDArray[np.float32] | None
    reason: str = ""
    problem: str = ""
    fix: str = ""
    partial: bool = False
    seconds: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)


class _Lost(Exception):
    """The worker died, broke the protocol or was too slow; its only argument is the reason."""


class Worker:
    """One process, started when it is first needed and again after it was lost."""

    def __init__(self, rate: int, seconds: float, memory: int, recycle: int, function: str) -> None:
        self.rate, self.seconds, self.memory, self.recycle, self.function = rate, seconds, memory, recycle, function
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.rest = b""
        self.done = 0
        self.closed = False

    def decode(self, path: bytes) -> Decoded:
        try:
            size = os.stat(path).st_size
        except (OSError, ValueError):
            size = 0
        wait = self.seconds + size / _SPEED
        if self.process is None:
            self._start()
        try:
            result = self._ask(path, wait)
        except _Lost as lost:
            self.kill()
            reason, wrong = str(lost), f"the decoder took more than {wait:.0f} s"
            if reason == "decoder-crash":
                wrong = "the decoder crashed"
            return Decoded(path, None, reason, wrong, _FIX)
        self.done += 1
        if result.reason == "memory" or self.done >= self.recycle:
            self.kill()
        return result

    def _start(self) -> None:
        ours, theirs = os.pipe()
        try:
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 1 << 20)
            root = str(Path(__file__).parents[3])
            words = [root, str(theirs), str(os.getpid()), str(self.memory), self.function]
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, *words],  # -P: a folder of music may hold a numpy.py
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs],
                start_new_session=True,
                # Each more would reserve memory that counts against the limit.
                env={**os.environ, **dict.fromkeys(_THREADS, "1")},
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self.pipe, self.rest, self.done = ours, b"", 0
        try:
            self._line(time.monotonic() + _START)
        except _Lost as lost:
            self.kill()
            if self.closed:
                raise
            wrong = "a process that decodes sounds does not start"
            raise UserError("decode", wrong, "free some memory, or give the decoders more") from lost

    def _ask(self, path: bytes, wait: float) -> Decoded:
        assert self.process is not None and self.process.stdin is not None
        limit = min(12 * 3600.0, self.memory / (8 * self.rate))  # of the memory, half for the samples
        job = {"path": path.hex(), "rate": self.rate, "cpu": wait, "limit": limit}
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise _Lost("decoder-crash") from error
        end = time.monotonic() + wait
        head = self._line(end)
        if "reason" in head:
            return Decoded(path, None, str(head["reason"]), str(head.get("problem")), str(head.get("fix")) or _FIX)
        try:
            count = int(head["count"])
            if not 0 < count <= (limit + 60) * self.rate:
                raise ValueError(count)
            samples = np.empty(count, np.float32)
            partial, seconds = bool(head["partial"]), float(head["seconds"])
            times = {str(name): float(value) for name, value in head["times"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _Lost("decoder-crash") from error
        self._fill(samples.data.cast("B"), end)
        tags: dict[str, str] = {}
        try:
            tags = {str(name): str(text) for name, text in self._line(time.monotonic() + _TAGS)["tags"].items()}
        except (_Lost, KeyError, AttributeError):
            self.kill()
        return Decoded(path, samples, "", "", "", partial, seconds, tags, times)

    def _wait(self, end: float) -> None:
        """Return when the pipe holds something; that it is open proves nothing: a dead worker's child may hold it."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        while not poll.poll(50):
            if self.closed or self._dead():
                if poll.poll(0):
                    return
                raise _Lost("decoder-crash")
            if time.monotonic() > end:
                raise _Lost("timeout")

    def _dead(self) -> bool:
        assert self.process is not None
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _line(self, end: float) -> dict[str, Any]:
        parts = self.rest
        while b"\n" not in parts:
            self._wait(end)
            part = os.read(self.pipe, 1 << 16)
            if not part:
                raise _Lost(self._why())
            parts += part
            if len(parts) > _LINE + (1 << 16):
                raise _Lost("decoder-crash")
        line, _, self.rest = parts.partition(b"\n")
        try:
            words = json.loads(line)
        except ValueError as error:
            raise _Lost("decoder-crash") from error
        if not isinstance(words, dict):
            raise _Lost("decoder-crash")
        return words

    def _fill(self, view: memoryview, end: float) -> None:
        have = min(len(self.rest), len(view))
        view[:have], self.rest = self.rest[:have], self.rest[have:]
        while have < len(view):
            self._wait(end)
            got = os.readv(self.pipe, [view[have:]])
            if not got:
                raise _Lost(self._why())
            have += got
            if time.monotonic() > end:
                raise _Lost("timeout")

    def _why(self) -> str:
        """Why the pipe ended: the kernel may have stopped the worker for its CPU time."""
        assert self.process is not None
        status = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return "timeout" if status is not None and status.si_status == signal.SIGXCPU else "decoder-crash"

    def kill(self) -> None:
        """End the process and all that it started. It is reaped last: until then nobody else can get its number."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        process.wait()
        os.close(self.pipe)
