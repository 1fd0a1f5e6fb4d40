"""The Nottingham tunes as they are published: ABC texts and MIDI files, or one packed file of both.

A tune is a dict of id, type, title, key, meter, notes and perhaps split; a note is start, duration (24 ticks a quarter
note), pitch and track (0 melody, 1 chords).
"""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointembed.errors import DamagedError

Tune = dict[str, Any]
TYPES = {"hpps": "hornpipe", "jigs": "jig", "slip": "slip jig", "waltzes": "waltz", "reels": "reel"}  # others: as named


def packed(path: Path) -> Iterator[Tune]:
    """The tunes of a `nottingham.jsonl.gz`."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from (json.loads(line) for line in file)
    except (EOFError, ValueError, gzip.BadGzipFile) as error:
        raise DamagedError(path, f"cannot be read ({error})", "fetch it again") from None


def repository(source: Path) -> Iterator[Tune]:
    """The tunes of the jukedeck repository; those without their MIDI file have no notes."""
    for collection in sorted((source / "ABC_cleaned").glob("*.abc")):
        kind = next((kind for start, kind in TYPES.items() if collection.stem.startswith(start)), collection.stem)
        for text in re.split(r"^(?=X:)", collection.read_text("utf-8", errors="replace"), flags=re.MULTILINE)[1:]:
            header = re.match(r"(?:(?:[A-Za-z]:|%).*\n|[ \t]*\n)*", text)[0]
            # The last line of a kind counts: a few tunes correct their metre below the key.
            fields = dict(re.findall(r"^([XTKM]): *(.*?) *$", header, re.MULTILINE))
            name = collection.stem + fields["X"]
            path = source / "MIDI" / f"{name}.mid"
            yield {
                "id": name,
                "type": kind,
                "title": fields.get("T", name),
                "key": fields.get("K", ""),
                "meter": fields.get("M", ""),
                "notes": read_midi(path) if path.is_file() else [],
            }


def read_midi(path: Path, quarter: int = 24) -> list[list[int]]:
    """The notes of a file with `quarter` ticks a quarter note, in the order of their starts.

    Raises:
        DamagedError: it is not a MIDI file, or is truncated.
    """
    content = path.read_bytes()
    try:
        head, length, _, _, division = struct.unpack_from(">4sLHHH", content)
        if head != b"MThd":
            raise ValueError("no header")
        notes, at, track = [], 8 + length, 0
        while at < len(content):
            kind, length = struct.unpack_from(">4sL", content, at)
            at += 8
            if kind == b"MTrk":
                for start, end, pitch in _track(content[at : at + length]):
                    first, last = (round(tick * quarter / division) for tick in (start, end))
                    if last > first:
                        notes.append([first, last - first, pitch, track])
                track += 1
            at += length
        return sorted(notes, key=lambda note: (note[0], note[3], note[2]))
    except (struct.error, IndexError, ValueError) as error:
        raise DamagedError(path, f"cannot be read as MIDI ({error})", "fetch it again") from None


def _track(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The notes of a track as (start, end, pitch), in the file's own ticks."""
    at = tick = status = 0
    sounding: defaultdict[int, list[int]] = defaultdict(list)

    def number() -> int:
        nonlocal at
        value, more = 0, True
        while more:
            value, more = value << 7 | content[at] & 127, content[at] > 127
            at += 1
        return value

    while at < len(content):
        tick += number()
        if content[at] > 127:  # otherwise the last status still runs
            status, at = content[at], at + 1
        if status == 0xFF:
            at += 1
        if status >= 0xF0:  # a meta or system message: skip it
            length = number()
            at += length
            continue
        pitch, velocity = content[at], content[at + 1]
        kind = status >> 4
        at += 1 if kind in (0xC, 0xD) else 2
        if kind == 9 and velocity:
            sounding[pitch].append(tick)
        elif kind in (8, 9) and sounding[pitch]:  # of a note that is struck again too early, the first ends first
            yield sounding[pitch].pop(0), tick, pitch
