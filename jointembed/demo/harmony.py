"""Keys, scales and chords, with pitch classes 0 (C) to 11 (B) and MIDI pitches."""

from __future__ import annotations

import re
from dataclasses import dataclass

TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "blues": (0, 3, 5, 6, 7, 10),  # over major chords: the minor third against the major one is the blue note
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
_NUMERALS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_FLATTED = {"iii": 3, "vi": 8, "vii": 10, "ii": 1}


@dataclass(frozen=True)
class Chord:
    """A root (pitch class) and the intervals above it in semitones."""

    root: int
    intervals: tuple[int, ...]

    @property
    def pitches(self) -> tuple[int, ...]:
        return tuple((self.root + interval) % 12 for interval in self.intervals)


def chord(numeral: str, tonic: int) -> Chord:
    """A chord in a key, named by its Roman numeral.

    Example:
        >>> chord("V7", 0).pitches  # G7 in C: G B D F
        (7, 11, 2, 5)
    """
    found = re.fullmatch(r"(b?)([iv]+)(M7|7|5|)", numeral, re.IGNORECASE)
    assert found, numeral
    flat, name, kind = found.groups()
    low = name.lower()
    root = (tonic + (_FLATTED[low] if flat else _NUMERALS[low])) % 12
    third = 4 if name.isupper() else 3
    chords = {"": (0, third, 7), "5": (0, 7), "7": (0, third, 7, 10), "M7": (0, third, 7, 11)}
    return Chord(root, chords[kind])


def ladder(mode: str, tonic: int) -> list[int]:
    """The pitches of a scale over the whole keyboard."""
    steps = {(tonic + step) % 12 for step in _SCALES[mode]}
    return [pitch for pitch in range(21, 109) if pitch % 12 in steps]


def nearest(pitch: int, classes: tuple[int, ...]) -> int:
    """The pitch nearest to a pitch that belongs to one of the pitch classes."""
    return min((pitch + away for away in range(-6, 7) if (pitch + away) % 12 in classes), key=lambda p: abs(p - pitch))
