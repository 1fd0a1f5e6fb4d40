"""One writer of an index at a time, and none over a network."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFullError, UsageError

REMOTE = {"nfs", "nfs4", "cifs", "smb", "smbfs", "smb3", "9p", "afs", "afpfs", "ncpfs", "ceph", "glusterfs", "davfs"}
_MOUNTS = Path("/proc/self/mountinfo")
_held: set[Path] = set()


@contextlib.contextmanager
def hold(path: Path | str) -> Iterator[None]:
    """Be the only writer of an index until the end of the block; hold it before the index is opened or made.

    The file INDEX.lock beside it is locked meanwhile, which the system undoes when a process dies, however it dies.
    It says who holds it. A process that holds an index may do so again.

    Raises:
        UsageError: another process holds it (its pid, start time and command are named), or the index is on a network
            file system, whose locks cannot be relied on.
    """
    import fcntl

    place = Path(path).resolve()
    if place in _held:
        yield
        return
    with _writable(path):
        place.parent.mkdir(parents=True, exist_ok=True)
    kind = remote(place.parent)
    if kind is not None:
        fix = f"put the index on a disk of this computer, such as {Path.home() / place.name}"
        raise UsageError(path, f"this is a network file system ({kind}), on which an index can be damaged", fix)
    lock = place.with_name(place.name + ".lock")
    while True:
        with _writable(path):
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wrong = f"another process is writing this index ({_holder(handle)})"
                raise UsageError(path, wrong, "wait until it has finished, or stop it") from None
            if not _same(handle, lock):  # its last holder has just removed it
                continue
            os.ftruncate(handle, 0)
            os.write(handle, _self().encode("utf-8", "replace"))
            _held.add(place)
            try:
                yield
            finally:
                _held.discard(place)
                lock.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


@contextlib.contextmanager
def _writable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(
                path, "no space is left on the disk", "free some space and run the command again"
            ) from error
        wrong = f"an index cannot be written here ({error.strerror})"
        raise UsageError(path, wrong, "choose another place, or correct its permissions") from error


def remote(folder: Path) -> str | None:
    """The kind of the network file system that a folder lies on; None for a disk, or where this cannot be told."""
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    best, kind = "", ""
    for line in mounts:
        words = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])  # a space is \040
        if len(point) >= len(best) and folder.resolve().is_relative_to(point):
            best, kind = point, words[words.index("-") + 1]
    name = kind.removeprefix("fuse.")
    return kind if name in REMOTE or name in ("sshfs", "rclone", "s3fs", "smbnetfs") else None


def _self() -> str:
    started = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return f"pid {os.getpid()}, since {started}: {' '.join(sys.argv)[:200]}"


def _holder(handle: int) -> str:
    text = os.pread(handle, 500, 0).decode("utf-8", "replace")
    return " ".join(text.split()) or "it has only just begun"


def _same(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(lock))
    except FileNotFoundError:
        return False
