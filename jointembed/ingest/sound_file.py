"""The hash of a file, and the row that a decoded sound becomes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..audio.cue import CueTrack
from ..audio.formats import open_for_reading
from ..audio.workers import FileSpan

Samples = npt.NDArray[np.float32]


class Decoded(Protocol):
    """The answer of a decoder for one path."""

    @property
    def path(self) -> bytes | FileSpan:
        """The path, or the part of a file, that the decoder was given."""

    @property
    def samples(self) -> Samples | None:
        """The sound (N,), or None if the file cannot be decoded."""

    @property
    def reason(self) -> str:
        """A one-word code if the file cannot be decoded, else ''."""

    @property
    def problem(self) -> str:
        """What is wrong with the file, as a sentence without its full stop."""

    @property
    def fix(self) -> str:
        """How to correct it."""

    @property
    def partial(self) -> bool:
        """Whether only a part of the file could be decoded."""

    @property
    def seconds(self) -> float:
        """The length of the sound."""

    @property
    def tags(self) -> Mapping[str, str | list[str]]:
        """The tags of the file, see `audio.workers.tags`; several artists or genres as a list."""


def metadata(sound: Decoded, track: CueTrack | None = None) -> dict[str, Any]:
    """The cells of a sound: its tags as NFC text, with year and track as numbers, `seconds`, and `partial` if so.

    The entries of a cue sheet take precedence over the tags, and the tagged recording is not that of a track; the
    `start` of a track is in seconds.
    """
    row: dict[str, Any] = {name: _compose(tag) for name, tag in sound.tags.items() if tag}
    row |= {name: int(row[name]) for name in ("year", "track") if name in row}
    if track is not None:
        row.pop("musicbrainz_recordingid", None)
        row |= {"start": round(track.start, 3)} | track.cells
    row["seconds"] = round(sound.seconds, 3)
    return row | ({"partial": True} if sound.partial else {})


def _compose(tag: str | list[str]) -> str | list[str]:
    """The tag in composed characters (NFC)."""
    return unicodedata.normalize("NFC", tag) if isinstance(tag, str) else [str(_compose(text)) for text in tag]


def hash_track(hash: str, track: CueTrack) -> str:
    """The hash of a track, as long as that of its file, which changes with its times and its cells too."""
    text = json.dumps([hash, track.start, track.end, track.cells])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def hash_file(path: bytes) -> str:
    """The BLAKE2b hash of a regular file, as 40 hexadecimal digits; OSError if it cannot be read."""
    with open(open_for_reading(path), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is not a regular file any more")
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
