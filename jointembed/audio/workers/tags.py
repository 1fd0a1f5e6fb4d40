"""The tags of a sound file, as short clean text."""

from __future__ import annotations

import os
import re
import struct
import unicodedata
from collections.abc import Iterator
from typing import Any, BinaryIO

MAX_TAG_CHARS = 1000
MAX_ID3_BYTES = 16 << 20  # a larger ID3 tag holds pictures, and reading it takes memory
_KEYS = {
    "title": ("title", "TIT2", "\xa9nam", "WM/Title", "Title", "INAM", "NAME"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist", "IART", "AUTH"),
    "album": ("album", "TALB", "\xa9alb", "WM/AlbumTitle", "Album", "IPRD"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre", "IGNR"),
    "year": ("date", "year", "TDRC", "TYER", "\xa9day", "WM/Year", "Year", "originaldate", "TDOR", "TDRL", "ICRD"),
    "track": ("tracknumber", "TRCK", "trkn", "WM/TrackNumber", "Track", "ITRK", "IPRT"),
    "musicbrainz_recordingid": (  # https://picard-docs.musicbrainz.org/en/appendices/tag_mapping.html
        "musicbrainz_trackid",
        "UFID:http://musicbrainz.org",
        "----:com.apple.iTunes:MusicBrainz Track Id",
        "MusicBrainz/Track Id",
    ),
}
_LISTS = ("artist", "genre")  # a sound may have several of these
_CHUNKS = {b"INAM", b"IART", b"IPRD", b"IGNR", b"ICRD", b"ITRK", b"IPRT", b"NAME", b"AUTH"}  # of WAV and AIFF
MAX_CHUNKS, MAX_CHUNK_BYTES, MAX_VALUES = 1000, 1 << 16, 32
_PATTERNS = {  # also of a day, such as 19990501, and of a number of tracks, such as 3/12
    "year": re.compile(r"(?<!\d)([12]\d{3})(?:\d{4})?(?!\d)"),
    "track": re.compile(r"\(?0*([1-9]\d{0,2})\b"),
    "musicbrainz_recordingid": re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z"),
}
LAST_YEAR = 2100  # 9999 stands for an unknown date
# They reverse the text that follows them, on a page and in a terminal.
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """A tag without control, bidirectional and unencodable characters, its white space joined, cut to 1,000."""
    text = text[: 8 * MAX_TAG_CHARS]
    characters = []
    for character in text:
        category = unicodedata.category(character)
        if character not in _BIDIRECTIONAL and category != "Cs":
            characters.append(" " if category in ("Cc", "Zl", "Zp") else character)
    return " ".join("".join(characters).split())[:MAX_TAG_CHARS].strip()


def tags(path: str | bytes) -> dict[str, str | list[str]]:
    """The tags of a file; never an error.

    They are title, artist, album, genre, year (four digits), track (digits) and musicbrainz_recordingid (a UUID).
    Several artists, or genres, are a list.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(12)
            if has_large_id3(header):
                return {}
            chunks = read_text_chunks(file) if header[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM") else {}
            return {**_select(chunks), **_select(_read_tags(file))}
    except (Exception, RecursionError):
        return {}  # a corrupt tag must not cost the sound


def has_large_id3(header: bytes) -> bool:
    """Whether a file that begins so has an ID3 tag that is too large to be read."""
    return header[:3] == b"ID3" and (header[6] & 127) << 21 >= MAX_ID3_BYTES


def _read_tags(file: BinaryIO) -> Any:
    """The tags that mutagen reads; those of a chunk are there if they are corrupt."""
    import mutagen
    import mutagen.apev2

    try:
        file.seek(0)
        parsed = getattr(mutagen.File(file), "tags", None)
        return parsed or mutagen.apev2.APEv2(file)  # type: ignore[no-untyped-call]  # which an MP3 may have too
    except (Exception, RecursionError):
        return None


def read_text_chunks(file: BinaryIO) -> dict[str, list[str]]:
    """The texts that a WAV file has in its INFO list, or an AIFF file in chunks of its own, by their four letters."""
    file.seek(0)
    order = ">" if file.read(4) in (b"FORM", b"RIFX") else "<"
    chunks = dict(_iter_chunks(file, order, 12, os.fstat(file.fileno()).st_size))
    info = next((span for name, span in chunks.items() if name == b"LIST"), None)
    spans = dict(_iter_chunks(file, order, info[0] + 4, sum(info))) if info else {}
    texts = {}
    for name, (offset, length) in {**chunks, **spans}.items():
        if name in _CHUNKS and length <= MAX_CHUNK_BYTES:
            file.seek(offset)
            data = file.read(length).rstrip(b"\0")
            texts[name.decode()] = [_decode(data)]
    return texts


def _iter_chunks(file: BinaryIO, order: str, offset: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The name, offset and length of each chunk before `end`; of lists only those of texts about the file."""
    for _ in range(MAX_CHUNKS):
        file.seek(offset)
        head = file.read(12)
        if len(head) < 8 or offset >= end:
            return
        name, length = struct.unpack(order + "4sI", head[:8])
        if name != b"LIST" or head[8:] == b"INFO":
            yield name, (offset + 8, length)
        offset += 8 + length + length % 2


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _select(raw: Any) -> dict[str, str | list[str]]:
    selected: dict[str, str | list[str]] = {}
    for name, keys in _KEYS.items() if raw else ():
        texts = next((texts for key in keys if (texts := _read_texts(raw, key, name))), [])
        if texts:
            selected[name] = texts if len(texts) > 1 and name in _LISTS else texts[0]
    return selected


def _read_texts(raw: Any, key: str, name: str) -> list[str]:
    """The different texts of a tag that are not empty, at most 32 of them."""
    try:
        value = raw[key]
    except (KeyError, ValueError):
        return []
    if key.startswith("UFID:"):
        value = value.data
    value = getattr(value, "genres", None) or getattr(value, "text", value)
    values = list(value) if isinstance(value, list | tuple) else _to_text(value).split("\0")  # APE joins them so
    texts = [clean(_to_text(part)) for part in values[:MAX_VALUES]]
    if name in _PATTERNS:
        texts = [_extract(text, name) for text in texts[:1]]
    return list(dict.fromkeys(filter(None, texts)))


def _to_text(value: Any) -> str:
    return _decode(value) if isinstance(value, bytes) else str(value)


def _extract(text: str, name: str) -> str:
    """The year, the number or the UUID in a text; "" if it has none."""
    match = _PATTERNS[name].search(text) if name == "year" else _PATTERNS[name].match(text.lower())
    return match[1] if match and not (name == "year" and int(match[1]) > LAST_YEAR) else ""
