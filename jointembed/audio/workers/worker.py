"""The decoding process: jobs arrive as lines on its standard input, answers leave through its standard output.

The first line says that it is ready, and whether its memory is limited. The answer for a good file is a line of JSON,
the samples as raw float32, and a line of JSON with the tags. The tags come last, so that a tag that hangs the parser
does not cost the sound. The answer for a bad file is one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
from typing import Any

import numpy as np

from .. import Undecodable
from .tags import tags

try:
    resource: Any = importlib.import_module("resource")
except ImportError:  # Windows
    resource = None


def _claim_stdout() -> int:
    """A descriptor of the standard output; what decoders print goes nowhere from now on."""
    pipe, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    return pipe


def _limit_process(parent: int, memory: int) -> bool:
    """Die with the parent, leave no core dump, and limit the memory; whether the system can limit it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if sys.platform != "win32" and os.getppid() != parent:  # there a virtual environment puts a process in between
        os._exit(1)
    if resource is None:
        return False
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS reserves more than any limit from the beginning
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        return True
    return False


def _limit_cpu_time(seconds: float) -> None:
    """Let the kernel end this process if its next job takes too much CPU time, in case the parent cannot."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _send(pipe: int, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(pipe, view) :]


def _send_line(pipe: int, **words: Any) -> None:
    _send(pipe, json.dumps(words).encode() + b"\n")


def main(parent: int, memory: int, function: str) -> None:
    """Do jobs until standard input ends."""
    pipe = _claim_stdout()
    is_limited = _limit_process(parent, memory)
    module, _, name = function.partition(":")
    decode = getattr(importlib.import_module(module), name)
    _send_line(pipe, ready=is_limited)
    for text in sys.stdin.buffer:
        job = json.loads(text)
        path = bytes.fromhex(job["path"])
        _limit_cpu_time(job["cpu"])
        try:
            sound = decode(path, job["rate"], job["limit"], *job["part"])
        except Undecodable as error:
            _send_line(pipe, reason=error.reason, problem=error.problem, fix=error.fix)
        except MemoryError:
            _send_line(pipe, reason="memory", problem="decoding it takes too much memory", fix="")
            return  # the free memory may be fragmented
        else:
            samples = np.ascontiguousarray(sound.samples, np.float32)
            _send_line(pipe, count=len(samples), partial=sound.partial, seconds=sound.seconds, times=sound.times)
            _send(pipe, samples.data)
            del samples, sound
            _send_line(pipe, tags=tags(path))
