"""The picture that a sound file carries: the cover of its album."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from .workers.tags import has_large_id3

MAX_COVER_BYTES = 4 << 20
_MAX_READ_BYTES = 32 << 20  # of a file, to bound the memory whatever it declares
_FRONT = 3  # the type of the picture that is the front cover, in ID3 and FLAC alike
_SIGNATURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


@dataclass(frozen=True)
class Cover:
    """A picture.

    Args:
        media_type: `image/jpeg`, `image/png` or `image/webp`, by how the content begins.
        content: the file of the picture, at most 4 MB.
    """

    media_type: str
    content: bytes


def read_cover(path: str | bytes) -> Cover | None:
    """The picture of a file, the front cover of several; None if it has none that can be shown; never an error."""
    try:
        with open(path, "rb") as file:
            if has_large_id3(file.read(12)):
                return None
            pictures = sorted(_iter_pictures(file), key=lambda picture: picture[0] != _FRONT)
    except (Exception, RecursionError):
        return None  # a corrupt tag must not cost the sound
    for _, content in pictures:
        media_type = _media_type(content)
        if media_type and len(content) <= MAX_COVER_BYTES:
            return Cover(media_type, content)
    return None


def _media_type(content: bytes) -> str | None:
    """The type of a picture by its first bytes; what its tag declares may lie."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), None)


def _iter_pictures(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The type and content of each picture that mutagen finds."""
    import mutagen
    import mutagen.apev2
    import mutagen.flac

    read_block: Any = mutagen.flac.Picture
    bounded: Any = _BoundedReader(file)
    bounded.seek(0)
    sound = mutagen.File(bounded)
    tags: Any = getattr(sound, "tags", None)
    if tags is None:
        with contextlib.suppress(mutagen.apev2.error):
            tags = mutagen.apev2.APEv2(bounded)  # type: ignore[no-untyped-call]  # which an MP3 may have
    if hasattr(tags, "getall"):  # of ID3
        yield from ((frame.type, frame.data) for frame in tags.getall("APIC"))
    for picture in getattr(sound, "pictures", ()):  # of FLAC
        yield picture.type, picture.data
    if not hasattr(tags, "get"):
        return
    for text in tags.get("metadata_block_picture", ()):  # of Ogg
        with contextlib.suppress(ValueError, mutagen.flac.error):
            picture = read_block(base64.b64decode(text))
            yield picture.type, picture.data
    for content in tags.get("covr", ()):  # of MP4
        yield _FRONT, bytes(content)
    if isinstance(tags, mutagen.apev2.APEv2) and "Cover Art (Front)" in tags:
        yield _FRONT, tags["Cover Art (Front)"].value.partition(b"\0")[2]


class _BoundedReader:
    """A file that refuses to be read beyond a limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _MAX_READ_BYTES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("the tags are too large")
        return content
