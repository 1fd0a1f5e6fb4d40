"""What a sound file says of itself, as short clean text."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_LONGEST = 1000
_LARGEST = 16 << 20  # bytes of an ID3 tag: more is no text, and reading it takes memory
_KEYS = {
    "title": ("title", "TIT2", "\xa9nam", "WM/Title", "Title"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist"),
    "album": ("album", "TALB", "\xa9alb", "WM/AlbumTitle", "Album"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre"),
    "year": ("date", "year", "TDRC", "TYER", "\xa9day", "WM/Year", "Year"),
}
# They turn the text that follows them round, on a page as in a terminal.
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """A tag without control, bidirectional and unencodable characters, its white space joined, cut to 1,000."""
    text = text[: 8 * _LONGEST]
    kept = (" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text if one not in _BIDI)
    return " ".join("".join(one for one in kept if unicodedata.category(one) != "Cs").split())[:_LONGEST].strip()


def tags(path: str | bytes) -> dict[str, str]:
    """The title, artist, album, genre and year (four digits) of a file, as far as it has them; never an error."""
    try:
        import mutagen

        with open(path, "rb") as file:
            head = file.read(10)
            if head[:3] == b"ID3" and (head[6] & 127) << 21 >= _LARGEST:
                return {}
            file.seek(0)
            found: Any = mutagen.File(file)
        held = getattr(found, "tags", None)
        if not held:
            return {}
        return {name: text for name, keys in _KEYS.items() if (text := _first(held, keys, name))}
    except (Exception, RecursionError):
        return {}  # a broken tag never costs the sound


def _first(held: Any, keys: tuple[str, ...], name: str) -> str:
    for key in keys:
        try:
            value = held[key]
        except (KeyError, ValueError):
            continue
        value = getattr(value, "genres", None) or getattr(value, "text", value)
        if isinstance(value, list | tuple):
            value = value[0] if value else ""
        text = clean(str(value))
        if name == "year":
            year = re.search(r"(?<!\d)\d{4}(?!\d)", text)
            text = year.group() if year else ""
        if text:
            return text
    return ""
