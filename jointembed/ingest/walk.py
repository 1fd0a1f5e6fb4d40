"""The files of a folder, each once, in the order of their names; names are bytes, as the file system has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import DamagedError

SOUNDS = frozenset(
    b".aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .caf .flac .m4a .m4b .mka .mp2 .mp3 .mpc .oga .ogg .opus .rf64"
    b" .snd .tta .voc .w64 .wav .weba .webm .wma .wv".split()
)
_AGAIN = "run the command again"


@dataclass(frozen=True, slots=True)
class File:
    """A file that may hold sound.

    Args:
        path: relative to the root.
        size: in bytes.
        mtime: when it was last changed, in nanoseconds.
        inode: its number in its file system.
    """

    path: bytes
    size: int
    mtime: int
    inode: int


@dataclass(frozen=True, slots=True)
class Skip:
    """A file, link or folder that is left out.

    Args:
        path: relative to the root.
        reason: one word, the same for all that are left out for this.
        wrong: what is wrong, as a sentence without its full stop.
        fix: what mends it.
        size: in bytes, None if it could not be read.
        mtime: in nanoseconds.
        hash: of its content; one without is tried again at every scan.
        decoder: the version of the decoder that gave it up.
    """

    path: bytes
    reason: str
    wrong: str
    fix: str
    size: int | None = None
    mtime: int | None = None
    hash: str | None = None
    decoder: str = ""


class Walk:
    """All that lies in a folder: a File, a Skip, or None for what is no sound file by its name.

    Names that begin with a dot are passed over. A folder is visited once, whatever links and mounts lead to it. A link
    to a file is a file; a link that leaves the root is skipped unless `follow`, one to a folder inside always, for
    that folder is visited under its own name.

    Args:
        root: the folder.
        follow: also go where links leave it.

    Raises:
        DamagedError: the root itself cannot be listed.
    """

    def __init__(self, root: bytes, follow: bool = False) -> None:
        self.root, self.follow = os.path.realpath(root), follow
        self.unread: list[bytes] = []  # paths that could not be listed or read: what lies there is not missing
        self._visited: set[tuple[int, int]] = set()

    def full(self, path: bytes) -> bytes:
        """The absolute path of one that is relative to the root."""
        return os.path.join(self.root, path)

    def hidden(self, path: bytes) -> bool:
        """Whether a path lies where this walk could not look."""
        return any(path == folder or path.startswith(folder + b"/") for folder in self.unread)

    def __iter__(self) -> Iterator[File | Skip | None]:
        folders = [b""]
        while folders:
            folder = folders.pop()
            try:
                place = os.stat(self.full(folder))
                if (place.st_dev, place.st_ino) in self._visited:
                    yield Skip(folder, "link", "this folder was visited under another name", "nothing need be done")
                    continue
                with os.scandir(self.full(folder)) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                if not folder:
                    wrong = f"the folder cannot be read ({error.strerror})"
                    raise DamagedError(
                        os.fsdecode(self.root), wrong, "correct its permissions, or mount its disk"
                    ) from error
                yield self.unreadable(folder, error)
                continue
            self._visited.add((place.st_dev, place.st_ino))
            deeper = []
            for entry in listed:
                if entry.name.startswith(b"."):
                    continue
                path = os.path.join(folder, entry.name)
                try:
                    found = self._look(path, entry)
                except OSError as error:
                    found = self.unreadable(path, error)
                if isinstance(found, bytes):
                    deeper.append(found)
                else:
                    yield found
            folders.extend(reversed(deeper))

    def unreadable(self, path: bytes, error: OSError) -> Skip:
        """The skip of what the system does not let us read; what the index knows of it stays as it is."""
        self.unread.append(path)
        wrong = f"it cannot be read ({error.strerror or error})"
        return Skip(path, "unreadable", wrong, f"correct its permissions or its disk, then {_AGAIN}")

    def _look(self, path: bytes, entry: os.DirEntry[bytes]) -> bytes | File | Skip | None:
        """A folder's path, or what `__iter__` gives."""
        if entry.is_symlink():
            try:
                target = os.path.realpath(entry.path, strict=True)
            except OSError:
                self.unread.append(path)
                return Skip(path, "link", "this link leads nowhere, or to itself", "correct the link, or delete it")
            inside = os.path.commonpath([self.root, target]) == self.root
            if not inside and not self.follow:
                self.unread.append(path)
                wrong = "this link leads out of the folder that is indexed"
                return Skip(
                    path, "link", wrong, f"put what it leads to into the folder, or {_AGAIN} with --follow-symlinks"
                )
            if os.path.isdir(target):
                wrong = "this link leads to a folder that is visited under its own name"
                return Skip(path, "link", wrong, "nothing need be done") if inside else path
        elif entry.is_dir(follow_symlinks=False):
            return path
        if os.path.splitext(entry.name)[1].lower() not in SOUNDS:
            return None
        about = entry.stat()
        if not stat.S_ISREG(about.st_mode):
            return None
        return File(path, about.st_size, about.st_mtime_ns, about.st_ino)
