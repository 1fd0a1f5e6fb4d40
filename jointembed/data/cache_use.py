"""Locks that tell caches that a process uses from those that may be removed."""

from __future__ import annotations

import contextlib
import importlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUFFIX = ".use"


class CacheUse:
    """Marks a cache as used, for as long as this object lives; the time of the mark is that of its last use.

    A process that dies, however it dies, marks nothing any more. Copies in other processes mark it too.

    Args:
        cache: the file or folder.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        with contextlib.suppress(OSError):  # a folder that cannot be written, from which nothing is removed
            descriptor = _lock(mark(cache), exclusive=False)
            os.utime(mark(cache))
            weakref.finalize(self, os.close, descriptor)

    def __reduce__(self) -> Any:
        return CacheUse, (self.cache,)


@contextmanager
def hold_unused(cache: Path) -> Iterator[bool]:
    """Keep processes from using a cache until the end of the block; False if one is using it.

    Args:
        cache: the file or folder, which the block may remove.
    """
    try:
        descriptor = _lock(mark(cache), exclusive=True)
    except OSError:  # in use, or not to be written
        yield False
        return
    try:
        yield True
        if not cache.exists():
            with contextlib.suppress(PermissionError):  # Windows removes no open file
                mark(cache).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def last_use(cache: Path) -> float:
    """When a cache was used last, in seconds since 1970; one that was never marked, when it was written."""
    return (mark(cache) if mark(cache).exists() else cache).stat().st_mtime


def mark(cache: Path) -> Path:
    """The file that is locked while a cache is used."""
    return cache.with_name(cache.name + SUFFIX)


def _lock(path: Path, exclusive: bool) -> int:
    """The descriptor of a locked mark: for a single process, at once, or for several, after waiting.

    Raises:
        OSError: another process has it, or it cannot be written.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            with contextlib.suppress(ImportError):  # Windows, which removes no file that is mapped
                fcntl: Any = importlib.import_module("fcntl")
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
            with contextlib.suppress(FileNotFoundError):  # removed with its cache; the next mark is a new file
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
