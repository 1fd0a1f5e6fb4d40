"""The decoding process: jobs arrive as lines on its standard input, answers leave through a pipe of their own.

The answer for a good file is a line of JSON, the samples as raw float32, and a line of JSON with the tags. The tags
come last, so that a tag that hangs the parser does not cost the sound. The answer for a bad file is one line.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from typing import Any

import numpy as np

from .. import Undecodable
from .tags import tags


def _limit_process(parent: int, memory: int) -> None:
    """Die with the parent, leave no core dump, and limit the memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _limit_cpu_time(seconds: float) -> None:
    """Let the kernel end this process if its next job takes too much CPU time, in case the parent cannot."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _send(pipe: int, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(pipe, view) :]


def _send_line(pipe: int, **words: Any) -> None:
    _send(pipe, json.dumps(words).encode() + b"\n")


def main(pipe: int, parent: int, memory: int, function: str) -> None:
    """Do jobs until standard input ends."""
    _limit_process(parent, memory)
    module, _, name = function.partition(":")
    decode = getattr(importlib.import_module(module), name)
    _send_line(pipe, ready=True)
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
