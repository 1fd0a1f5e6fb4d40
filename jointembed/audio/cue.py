"""Cue sheets: the tracks of a sound file that holds a whole album."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .workers.tags import clean

MAX_CUE_BYTES = 1 << 20
FRAMES_PER_SECOND = 75  # of a compact disc
_LINE = re.compile(r"(?:REM\s+)?(\w+)\s+(.*)", re.IGNORECASE)
_FILE = re.compile(r'(?:"([^"]+)"|([^"]+?))(?:\s+\w+)?')
_TIME = re.compile(r"01\s+(\d{1,5}):([0-5]?\d):(\d\d?)")
_YEAR = re.compile(r"(?<!\d)([12]\d{3})(?!\d)")


class CueError(Exception):
    """A cue sheet that cannot be used; the message says why."""


@dataclass(frozen=True)
class CueTrack:
    """A track of a sound file.

    Args:
        number: from 1 on.
        start: in seconds.
        end: in seconds; None for the end of the file.
        cells: its title, artist, album, genre, year and track.
    """

    number: int
    start: float
    end: float | None
    cells: dict[str, Any]


@dataclass
class _Entry:
    """What the lines of a track, or those before the first one, say."""

    file: str = ""
    number: int = 0
    start: float | None = None
    title: str = ""
    performer: str = ""
    genre: str = ""
    date: str = ""


def parse_cue(data: bytes) -> dict[str, list[CueTrack]]:
    """The tracks that a cue sheet lists, by the name of their file. It is in UTF-8, UTF-16 or Windows-1252.

    Raises:
        CueError: it names no file, or its tracks have no numbers or times that ascend.
    """
    album, file = _Entry(), ""
    entries: list[_Entry] = []
    for line in _decode(data).splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue
        word, value = match[1].upper(), match[2].strip()
        entry = entries[-1] if entries else album
        if word == "FILE" and (name := _FILE.fullmatch(value)):
            file = name[1] or name[2]
        elif word == "TRACK":
            number = re.match(r"\d{1,3}", value)
            if not file or number is None:
                raise CueError("a track has no sound file, or no number")
            entries.append(_Entry(file, int(number[0])))
        elif word == "INDEX" and (time := _TIME.match(value)):
            entry.file = file  # the pause before a track, INDEX 00, may lie in the file of the one before
            entry.start = 60.0 * int(time[1]) + int(time[2]) + int(time[3]) / FRAMES_PER_SECOND
        elif word in ("TITLE", "PERFORMER", "GENRE", "DATE"):
            setattr(entry, word.lower(), clean(value.strip('"')))
    if not entries:
        raise CueError("it lists no tracks")
    names = dict.fromkeys(entry.file for entry in entries)
    return {name: _read_tracks(album, [entry for entry in entries if entry.file == name]) for name in names}


def _read_tracks(album: _Entry, entries: list[_Entry]) -> list[CueTrack]:
    for entry in entries:
        if entry.start is None:
            raise CueError(f"track {entry.number} has no line such as INDEX 01 03:25:00 (minutes:seconds:frames)")
    numbers = [entry.number for entry in entries]
    times = [entry.start for entry in entries if entry.start is not None]
    if times != sorted(set(times)) or numbers != sorted(set(numbers)):
        raise CueError("its tracks have no times or numbers that ascend")
    tracks = []
    for entry, start, end in zip(entries, times, [*times[1:], None], strict=True):
        year = _YEAR.search(entry.date or album.date)
        cells = {
            "title": entry.title or f"Track {entry.number}",
            "artist": entry.performer or album.performer,
            "album": album.title,
            "genre": entry.genre or album.genre,
            "year": int(year[1]) if year else None,
            "track": entry.number,
        }
        tracks.append(CueTrack(entry.number, start, end, {name: cell for name, cell in cells.items() if cell}))
    return tracks


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
