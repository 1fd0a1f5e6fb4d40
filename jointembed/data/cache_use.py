"""Locks that tell caches that a process uses from those that may be removed."""

from __future__ import annotations

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
        descriptor = _lock(mark(cache), wait=True, exclusive=False)
        if descriptor is not None:
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
    descriptor = _lock(mark(cache), wait=False, exclusive=True)
    if descriptor is None:
        yield False
        return
    try:
        yield True
        mark(cache).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def last_use(cache: Path) -> float:
    """When a cache was used last, in seconds since 1970; one that was never marked, when it was written."""
    return (mark(cache) if mark(cache).exists() else cache).stat().st_mtime


def mark(cache: Path) -> Path:
    """The file that is locked while a cache is used."""
    return cache.with_name(cache.name + SUFFIX)


def _lock(path: Path, wait: bool, exclusive: bool) -> int | None:
    """The descriptor of a locked mark; None if it cannot be locked, or marks cannot be written here."""
    try:
        import fcntl
    except ImportError:  # Windows, which removes no file that is open
        return None
    kind = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:  # a folder that cannot be written, from which nothing is removed
            return None
        try:
            fcntl.flock(descriptor, kind)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:  # removed with its cache; the next mark is a new file
            pass
        os.close(descriptor)
