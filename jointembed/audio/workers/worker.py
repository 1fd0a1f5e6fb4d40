"""The process that decodes: jobs come as lines on its standard input, answers go to a pipe of their own.

An answer is a line of JSON, then the samples as raw float32, then for a good file a line of JSON with its tags: those
come last, so that a tag at which the parser hangs does not cost the sound.
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


def _bound(parent: int, memory: int) -> None:
    """Die with the parent, leave no core dump, take no more memory than is allowed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _budget(seconds: float) -> None:
    """Let the kernel end this process if its next job takes so many seconds of CPU time and nobody else does."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _send(pipe: int, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(pipe, view) :]


def _line(pipe: int, **words: Any) -> None:
    _send(pipe, json.dumps(words).encode() + b"\n")


def main(pipe: int, parent: int, memory: int, function: str) -> None:
    """Answer jobs until standard input ends."""
    _bound(parent, memory)
    module, _, name = function.partition(":")
    decode = getattr(importlib.import_module(module), name)
    _line(pipe, ready=True)
    for text in sys.stdin.buffer:
        job = json.loads(text)
        path = bytes.fromhex(job["path"])
        _budget(job["cpu"])
        try:
            sound = decode(path, job["rate"], job["limit"])
        except Undecodable as error:
            _line(pipe, reason=error.reason, problem=error.problem, fix=error.fix)
        except MemoryError:
            _line(pipe, reason="memory", problem="decoding it takes too much memory", fix="")
            return  # what is left of the memory may be in pieces
        else:
            good = np.ascontiguousarray(sound.samples, np.float32)
            _line(pipe, count=len(good), partial=sound.partial, seconds=sound.seconds, times=sound.times)
            _send(pipe, good.data)
            del good, sound
            _line(pipe, tags=tags(path))
