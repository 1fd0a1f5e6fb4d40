"""The tags of a sound file, as short clean text."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

MAX_TAG_CHARS = 1000
MAX_ID3_BYTES = 16 << 20  # a larger ID3 tag holds pictures, and reading it takes memory
_KEYS = {
    "title": ("title", "TIT2", "\xa9nam", "WM/Title", "Title"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist"),
    "album": ("album", "TALB", "\xa9alb", "WM/AlbumTitle", "Album"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre"),
    "year": ("date", "year", "TDRC", "TYER", "\xa9day", "WM/Year", "Year", "originaldate", "TDOR", "TDRL"),
    "track": ("tracknumber", "TRCK", "trkn", "WM/TrackNumber", "Track"),
}
_NUMBERS = {  # also of a day, such as 19990501, and of a number of tracks, such as 3/12
    "year": re.compile(r"(?<!\d)([12]\d{3})(?:\d{4})?(?!\d)"),
    "track": re.compile(r"\(?0*([1-9]\d{0,2})\b"),
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


def tags(path: str | bytes) -> dict[str, str]:
    """The tags that a file has: title, artist, album, genre, year (four digits) and track (digits); never an error."""
    try:
        import mutagen

        with open(path, "rb") as file:
            header = file.read(10)
            if header[:3] == b"ID3" and (header[6] & 127) << 21 >= MAX_ID3_BYTES:
                return {}
            file.seek(0)
            parsed: Any = mutagen.File(file)
        raw = getattr(parsed, "tags", None)
        return {name: text for name, keys in _KEYS.items() if raw and (text := _first_value(raw, keys, name))}
    except (Exception, RecursionError):
        return {}  # a corrupt tag must not cost the sound


def _first_value(raw: Any, keys: tuple[str, ...], name: str) -> str:
    for key in keys:
        try:
            value = raw[key]
        except (KeyError, ValueError):
            continue
        value = getattr(value, "genres", None) or getattr(value, "text", value)
        if isinstance(value, list | tuple):
            value = value[0] if value else ""
        text = clean(str(value))
        if name in _NUMBERS:
            number = _NUMBERS[name].search(text) if name == "year" else _NUMBERS[name].match(text)
            text = number[1] if number and int(number[1]) <= LAST_YEAR else ""
        if text:
            return text
    return ""
