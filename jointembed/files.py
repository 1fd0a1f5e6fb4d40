"""Files that are either complete or absent: written beside their final place, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import os
import re
import shutil
import stat
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import DiskFullError, UsageError

UNWRITABLE = {  # error numbers that blame the path, not the disk or this program
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip
LOCKED_BYTE = 1 << 30  # behind the text of a lock file, because Windows lets nobody else read a locked byte
LOCK_POLL_SECONDS = 0.05
SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SHELL_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")  # what <(command) and | give in the place of a file
ADOPT_MUSIC = "jointembed adopt music music.ckpt"  # the command by which anybody gets a model of music
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # such as s3://bucket/file; Path makes s3:/ of it
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # owner/name


def path_to_text(path: bytes) -> str:
    r"""A path as valid text, in which bytes that are not UTF-8 are written as \xNN."""
    return path.decode("utf-8", "backslashreplace")


def text_to_path(text: str, folder: str) -> str:
    """The path in a folder of the file with this text as its path, which may be normalised (NFC), name by name.

    If no such file exists, it is the folder and the text.
    """
    literal = os.path.join(folder, text)
    if sys.platform == "win32" or (text.isascii() and "\\x" not in text):  # on Windows all names are valid text
        return literal
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda escape: bytes([int(escape[1], 16)]), os.fsencode(text))
    forms = (text, unicodedata.normalize("NFD", text), os.fsdecode(raw))
    for form in forms:
        if os.path.lexists(path := os.path.join(folder, form)):
            return path
    paths = [folder]  # of several systems: a folder may be stored in other characters than a file in it
    for name in text.split("/"):
        paths = [os.path.join(path, same) for path in paths for same in (_find_names(path, name) if name else ["/"])]
    return paths[0] if paths else literal


def _find_names(folder: str, name: str) -> list[str]:
    """The names in a folder that are equal to a name in composed characters (NFC), the same one first."""
    if name in (".", ".."):
        return [name]
    composed = unicodedata.normalize("NFC", name)
    with contextlib.suppress(OSError, ValueError):
        names = sorted(os.listdir(folder), key=lambda stored: stored != name)
        return [
            stored for stored in names if unicodedata.normalize("NFC", path_to_text(os.fsencode(stored))) == composed
        ]
    return []


def expand_user(path: str | Path) -> Path:
    """A path with the home of the user in place of `~`; as it is where a file's own name begins so."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user
        return Path(path)


def sound_path(path: bytes) -> bytes:
    """The path of the sound file that a track is of, such as album.flac of album.flac#03; else the path itself."""
    file, _, number = path.rpartition(b"#")
    return file if number.isdigit() else path  # no other path of a sound file ends so


class LockedError(Exception):
    """Another process has the lock; `holder` is the description that it left, or ""."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def available_cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_inside(path: str | bytes, folder: str | bytes) -> bool:
    """Whether a path is that of a folder or lies in it; both are absolute and without links."""
    return Path(os.fsdecode(path)).is_relative_to(os.fsdecode(folder))


def fsync_dir(folder: Path) -> None:
    """Flush the entries of a folder, so that a rename in it survives a power failure, where the system lets us."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder, and a folder that may be written to may not be readable
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_local(path: Path | str) -> None:
    """Raise UsageError for the address of an object store, in whose place a folder called `s3:` would be made."""
    if ADDRESS.match(str(path)):
        wrong = "this is an address, not a file of this computer"
        raise UsageError(path, wrong, "write a file here, and copy it there")


@contextlib.contextmanager
def _blame_path(path: Path) -> Iterator[None]:
    check_local(path)
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        fix = "choose another path, or correct its permissions"
        raise UsageError(path, f"it cannot be written ({error.strerror})", fix) from error


def make_dir(path: Path | str) -> Path:
    """Create a folder and its parents unless they exist; raise UsageError if that is impossible."""
    with _blame_path(Path(path)):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def check_writable(path: Path | str, content: str, *suffixes: str) -> None:
    """Raise UsageError unless a file can be written to this path; call it before the work that produces the file.

    Args:
        path: the file, which may exist.
        content: the kind of file, such as "a report", for the error message.
        suffixes: the suffixes that the path may have, in lower case.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        fix = f"write {path.parent / (path.stem or 'name')}{suffixes[0]}"
        raise UsageError(path, f"{content} is written as {' or '.join(suffixes)}", fix)
    with _blame_path(path):
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        code = errno.EISDIR if path.is_dir() else 0 if parent.is_dir() else errno.ENOTDIR
        if code or not os.access(parent, os.W_OK | os.X_OK):
            raise OSError(code or errno.EACCES, os.strerror(code or errno.EACCES))


def check_regular(path: Path | str, is_read_once: bool = False) -> None:
    """Raise UsageError for a named pipe, a socket or a device: reading might wait for a writer, or never end.

    Args:
        path: the file, which may not exist.
        is_read_once: it is read from its beginning to its end, once, as a pipe of the shell can be.
    """
    if is_read_once and str(path).startswith(SHELL_PIPES):
        return
    try:
        noun = SPECIAL_FILES.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):  # whoever opens it says why it cannot be read
        return
    if noun:
        raise UsageError(path, f"this is {noun}, not a file", "give the path of a file")


def check_not_input(out: Path | str, source: Path | str | None) -> None:
    """Raise UsageError if a file that is to be written is one that is read."""
    if source is not None and Path(out).exists() and Path(source).exists() and Path(out).samefile(source):
        raise UsageError(out, "this is the file that is read", "write another file")


def _part(path: Path) -> Path:
    """Where a file is written before it takes the place of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` only once it is complete and on the disk.

    Raises:
        DiskFullError: no space is left on the disk; the old file stays.
        UsageError: the path cannot be written.
    """
    path = Path(path)
    part = _part(path)
    try:
        with _blame_path(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            opened = open(part, "wb")
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _blame_path(path):
            os.replace(part, path)
        fsync_dir(path.parent)
    except Exception as error:
        if _is_disk_full(error):
            fix = "free some space and run the command again"
            raise DiskFullError(path, "no space is left on the disk", fix) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether an error is that of a full disk, or was raised while one was handled, as torch does."""
    return error is not None and (
        (isinstance(error, OSError) and error.errno == errno.ENOSPC) or _is_disk_full(error.__context__)
    )


def link(source: Path | str, path: Path | str) -> None:
    """Make `path` another name of a complete file, instead of the file that it names now; copy where links fail."""
    source, path = Path(source), Path(path)
    part = _part(path)
    try:
        part.unlink(missing_ok=True)
        os.link(source, part)
        os.replace(part, path)
        fsync_dir(path.parent)
    except OSError:  # a file system without hard links
        with open(source, "rb") as file, atomic_write(path) as copy:
            shutil.copyfileobj(file, copy)
    finally:
        part.unlink(missing_ok=True)  # renaming a file to another of its own names leaves both


def remove_parts(folder: Path | str) -> None:
    """Delete what killed processes left of incomplete files in a folder that no other process writes to."""
    for path in Path(folder).glob(".*.part"):
        if path.suffixes[-2:-1] and path.suffixes[-2][1:].isdecimal():
            path.unlink(missing_ok=True)


def write(path: Path | str, content: bytes | str | Callable[[IO[bytes]], None]) -> None:
    """Write a complete file at once: bytes, text as UTF-8, or a function that writes to an open binary file."""
    with atomic_write(path) as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def lock(path: Path | str, holder: str = "", wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` until the end of the block, then delete it.

    The system releases the lock when the process dies, however it dies; the file that is left does no harm.

    Args:
        path: the lock file.
        holder: a description of this process, for the others.
        wait: whether to wait for another process instead of raising an error.

    Raises:
        LockedError: another process has the lock.
    """
    descriptor = _open_locked(path, wait)
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, holder.encode("utf-8", "replace"))
        yield
    finally:
        if sys.platform == "win32":  # it deletes no open file; this one stays if another process opens it now
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(path)
        else:
            Path(path).unlink(missing_ok=True)
            os.close(descriptor)


def _open_locked(path: Path | str, wait: bool) -> int:
    """The descriptor of the lock file, once this process has the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _lock_descriptor(descriptor, wait):
                os.lseek(descriptor, 0, os.SEEK_SET)
                raise LockedError(" ".join(os.read(descriptor, 500).decode("utf-8", "replace").split()))
            with contextlib.suppress(FileNotFoundError):  # its last holder has just deleted it
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock_descriptor(descriptor: int, wait: bool) -> bool:
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:  # Windows
        return _lock_byte(descriptor, wait)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _lock_byte(descriptor: int, wait: bool) -> bool:
    msvcrt: Any = importlib.import_module("msvcrt")
    while True:
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            if not wait:
                return False
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return True


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint(path: Path | str) -> Path:
    """The checkpoint of a run folder (its best, else its last), the config.json of an exported model, or the file.

    Raises:
        UsageError: the file does not exist, or the folder holds no checkpoint.
    """
    path = Path(path)
    names = "best.ckpt", "last.ckpt", "config.json"
    for candidate in [path / name for name in names] if path.is_dir() else [path]:
        if candidate.is_file():
            return candidate
    wrong = "the checkpoint does not exist"
    if path.is_dir():
        wrong = "the folder holds no best.ckpt or last.ckpt, nor the config.json of an exported model"
    if path == Path("music"):
        fix = f"run {ADOPT_MUSIC} once, and give music.ckpt"
    elif HUB_NAME.fullmatch(str(path)) and path.suffix != ".ckpt" and not path.parent.is_dir():
        fix = f"for this model of the Hub, run jointembed adopt {path} {path.name}.ckpt once, and give {path.name}.ckpt"
    else:
        fix = f"give a .ckpt file or the folder of a run of `jointembed fit`; a model of music comes from {ADOPT_MUSIC}"
    raise UsageError(path, wrong, fix)
