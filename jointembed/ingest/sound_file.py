"""A sound as the decoder gives it, its hash, and the row that it becomes."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .file_table import stem, text
from .walk import File

Samples = npt.NDArray[np.float32]
_TAGS = ("artist", "album", "genre", "year")


class Decoded(Protocol):
    """What a decoder gives for a path."""

    @property
    def path(self) -> bytes:
        """The path that it was given."""

    @property
    def samples(self) -> Samples | None:
        """The sound; None if there is none to be had."""

    @property
    def reason(self) -> str:
        """One word for why there is none, '' if there is."""

    @property
    def wrong(self) -> str:
        """What is wrong with the file, as a sentence without its full stop."""

    @property
    def fix(self) -> str:
        """What mends it."""

    @property
    def partial(self) -> bool:
        """Whether only a part of the file could be decoded."""

    @property
    def seconds(self) -> float:
        """How long the sound is."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What the file says of itself: title, artist, album, genre, year."""


@dataclass(slots=True)
class Song:
    """A content on its way through the decoder.

    Args:
        hash: of its bytes.
        files: those that have it; the first one is decoded.
        row: the cells that it gets once it is decoded.
    """

    hash: str
    files: list[File]
    row: dict[str, Any] = field(default_factory=dict)

    def heard(self, sound: Decoded) -> None:
        """Make the cells of its row: title, path, seconds and what its tags tell; its texts are NFC."""
        path = text(self.files[0].path)
        tags = {name: unicodedata.normalize("NFC", tag) for name, tag in sound.tags.items() if tag}
        self.row = {"title": tags.get("title") or stem(path)}
        self.row |= {name: tags[name] for name in _TAGS if name in tags}
        self.row |= {"path": path, "seconds": round(sound.seconds, 3)}
        self.row |= {"partial": True} if sound.partial else {}


def digest(path: bytes) -> str:
    """The BLAKE2b hash of a regular file's bytes, as 40 hexadecimal digits; OSError if it cannot be read."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is no file any more")
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
