"""One writer of an index at a time, and none over a network."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..errors import DiskFullError, UsageError
from ..index.backends.mounts import MOUNTS, network_file_system

_locked: set[Path] = set()


@contextlib.contextmanager
def exclusive_lock(path: Path | str, mounts: Path = MOUNTS) -> Iterator[None]:
    """Be the only writer of an index until the end of the block; take the lock before you open or create the index.

    The file INDEX.lock beside the index is locked meanwhile and names its holder. The system releases the lock when
    the process dies, however it dies. A process that has the lock may take it again.

    Args:
        path: the index.
        mounts: the system's list of mounted file systems.

    Raises:
        UsageError: another process has the lock (its pid, start time and command are named), or the index is on a
            network file system, whose locks are not reliable.
    """
    place = Path(path).resolve()
    if place in _locked:
        yield
        return
    with _writable(path):
        place.parent.mkdir(parents=True, exist_ok=True)
    file_system = network_file_system(place.parent, mounts)
    if file_system is not None:
        fix = f"put the index on a disk of this computer, such as {Path.home() / place.name}"
        raise UsageError(path, f"it is on a network file system ({file_system}), where an index can be damaged", fix)
    with contextlib.ExitStack() as stack:
        try:
            with _writable(path):
                stack.enter_context(files.lock(place.with_name(place.name + ".lock"), _describe_process()))
        except files.LockedError as error:
            problem = f"another process is writing this index ({error.holder or 'it has only just begun'})"
            raise UsageError(path, problem, "wait until it has finished, or stop it") from None
        _locked.add(place)
        stack.callback(_locked.discard, place)
        yield


@contextlib.contextmanager
def _writable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            fix = "free some space and run the command again"
            raise DiskFullError(path, "no space is left on the disk", fix) from error
        problem = f"an index cannot be written here ({error.strerror})"
        raise UsageError(path, problem, "choose another place, or correct its permissions") from error


def _describe_process() -> str:
    started = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return f"pid {os.getpid()}, since {started}: {' '.join(sys.argv)[:200]}"
