"""The threads of NumPy's BLAS library: all where one search has the processor, one where several share it.

The threads of OpenBLAS wait for work in a busy loop, which takes the processor from other searches: on two cores, three
searches at once have half the throughput that they have with one thread each. A limit of threadpoolctl has no effect
while another thread holds one; these are counted.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_serial = _shared = 0  # blocks that are running
_threads: list[int] = []  # of each library while they are limited to one


def blas_threads() -> int:
    """The number of threads of BLAS where nothing limits it."""
    with _lock:
        return max(_threads or [library.num_threads for library in _libraries()], default=1)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, in the whole process, until the last such block ends."""
    _count_blocks(serial=1)
    try:
        yield
    finally:
        _count_blocks(serial=-1)


@contextmanager
def shared_blas() -> Iterator[None]:
    """Limit BLAS to one thread while several such blocks run at once."""
    _count_blocks(shared=1)
    try:
        yield
    finally:
        _count_blocks(shared=-1)


def _count_blocks(serial: int = 0, shared: int = 0) -> None:
    global _serial, _shared
    with _lock:
        _serial, _shared = _serial + serial, _shared + shared
        is_limited = _serial > 0 or _shared > 1
        if is_limited and not _threads:
            _threads.extend(library.num_threads for library in _libraries())
            _set_threads([1] * len(_threads))
        elif _threads and not is_limited:
            _set_threads(_threads)
            _threads.clear()


def _set_threads(threads: list[int]) -> None:
    for library, count in zip(_libraries(), threads, strict=True):
        if hasattr(library, "clear_controlling_thread"):  # else only the first thread that sets a limit may change it
            library.clear_controlling_thread(force=True)
        library.set_num_threads(count)


@functools.cache
def _libraries() -> list[Any]:
    """The controllers of the libraries that are loaded at the first search; NumPy's is always one of them."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
