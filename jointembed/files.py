"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed.

`JOINTEMBED_FAULT=kill@7` (or `eio`, `enospc`, `short`) makes the 7th operation here die or fail: the tests walk through
every N to prove that no interruption leaves a half file under a final name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import DiskFullError, UsageError

_operations = 0
PLACE = {  # what is wrong with a place, and not with the disk or with this program
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip


def _fault(kind: str) -> None:
    global _operations
    plan = os.environ.get("JOINTEMBED_FAULT")
    if not plan:
        return
    _operations += 1
    what, _, when = plan.partition("@")
    if _operations != int(when):
        return
    if what == "kill":
        os.kill(os.getpid(), 9)
    if what == "short" and kind != "write":
        return
    code = {"eio": errno.EIO, "enospc": errno.ENOSPC, "short": errno.EIO}[what]
    raise OSError(code, os.strerror(code))


def fsync_dir(folder: Path) -> None:
    """Flush a folder's own entries, so that a rename in it survives a power cut."""
    _fault("sync")
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _placing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in PLACE:
            raise
        fix = "choose another place, or correct its permissions"
        raise UsageError(path, f"it cannot be written here ({error.strerror})", fix) from error


def make_dir(path: Path | str) -> Path:
    """Make a folder, and those that it lies in, unless it is there; Usage if it cannot be."""
    with _placing(Path(path)):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def check_writable(path: Path | str, what: str, *endings: str) -> None:
    """Raise UsageError if what is to be written cannot have this path; to be asked before the work that makes it.

    Args:
        path: the file, which may be there.
        what: what is written, in the words of the complaint.
        endings: those that the path may have, in small letters.
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        fix = f"write {path.parent / (path.stem or 'name')}{endings[0]}"
        raise UsageError(path, f"{what} is written as {' or '.join(endings)}", fix)
    with _placing(path):
        near = next(one for one in path.absolute().parents if one.exists())
        code = errno.EISDIR if path.is_dir() else 0 if near.is_dir() else errno.ENOTDIR
        if code or not os.access(near, os.W_OK | os.X_OK):
            raise OSError(code or errno.EACCES, os.strerror(code or errno.EACCES))


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the place of `path` only once it is whole and on the disk.

    Raises:
        DiskFullError: no space is left on the disk; the old file is kept.
        UsageError: there is no such place, or it is not ours to write to.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _placing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            opened = open(part, "wb")
        with opened as file:
            _fault("write")
            yield file
            file.flush()
            _fault("fsync")
            os.fsync(file.fileno())
        _fault("rename")
        with _placing(path):
            os.replace(part, path)
        fsync_dir(path.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(
                path, "no space is left on the disk", "free some space and run the command again"
            ) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write(path: Path | str, content: bytes | str | Callable[[IO[bytes]], None]) -> None:
    """Write a whole file at once: bytes, text as UTF-8, or a function that writes to an open binary file."""
    with atomic_write(path) as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint(path: Path | str) -> Path:
    """The checkpoint of a run folder (its best, else its last), or the file itself.

    Raises:
        UsageError: there is no such file, or the folder holds none.
    """
    path = Path(path)
    for place in [path / "best.ckpt", path / "last.ckpt"] if path.is_dir() else [path]:
        if place.is_file():
            return place
    if path.is_dir():
        raise UsageError(
            path, "the folder holds no best.ckpt or last.ckpt", "give the folder of a run of `jointembed fit`"
        )
    raise UsageError(path, "there is no such checkpoint", "give a .ckpt file or a run folder")
