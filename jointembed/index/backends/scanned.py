"""What a scan of a folder finds: files, their contents, and what it skips."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...files import path_to_text


@dataclass(frozen=True, slots=True)
class File:
    """A file that may hold sound.

    Args:
        path: relative to its root and behind its label (see `Root`), as bytes.
        size: in bytes.
        mtime: the time of its last change, in nanoseconds.
        inode: its number in its file system.
        link: whether it is a symbolic link to a file.
    """

    path: bytes
    size: int
    mtime: int
    inode: int
    link: bool = False

    @property
    def rank(self) -> tuple[bool, int, int, bytes]:
        """Sorts files of the same bytes: the original before its copies, which are younger or have longer names."""
        return self.link, self.mtime, len(self.path), self.path


class IndexedFile(NamedTuple):
    """A file as the last scan found it, and the number of its content; `missing` is the time since when it is gone."""

    size: int
    mtime: int
    inode: int
    content: int
    missing: int | None


@dataclass(frozen=True, slots=True)
class Skip:
    """A file, link or folder that a scan left out.

    Args:
        path: relative to the root.
        reason: a one-word code, such as `truncated`.
        problem: what is wrong, as a sentence without its full stop.
        fix: how to correct it.
        size: in bytes, None if it could not be read.
        mtime: in nanoseconds.
        hash: of the content; a skip without one is tried again at every scan.
        decoder_version: of the decoder that refused the content.
    """

    path: bytes
    reason: str
    problem: str
    fix: str
    size: int | None = None
    mtime: int | None = None
    hash: str | None = None
    decoder_version: str = ""


@dataclass(slots=True)
class Content:
    """A content that gets a row.

    Args:
        hash: of its bytes.
        files: the files that have it; the first one is decoded.
        cells: its tags and length, filled in once it is decoded.
        derived: the cells that the model reads off its vector, filled in once it is embedded.
    """

    hash: str
    files: list[File]
    cells: dict[str, Any] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict)


def infer_title(path: bytes) -> dict[str, Any]:
    """The metadata that a path gives in any case: its stem as the title."""
    return {"title": stem(display_path(path))}


def display_path(path: bytes) -> str:
    """A path as text in composed characters (NFC)."""
    return unicodedata.normalize("NFC", path_to_text(path))


def stem(path: str) -> str:
    """The name of a file without its folder and extension."""
    return os.path.splitext(os.path.basename(path))[0]
