"""Composes songs: a key, a harmony, and a small band whose parts are read from the patterns of a genre.

Positions are counted in sixteenths from the beginning of a song. They become seconds, with swing and the players'
loose timing, only at the end. Pitch classes are 0 (C) to 11 (B).
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random

from .synth import DRUMS, Note

TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "blues": (0, 3, 5, 6, 7, 10),  # over major chords: the minor third against the major one is the blue note
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
_ROOTS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_FLAT_ROOTS = {"iii": 3, "vi": 8, "vii": 10, "ii": 1}


@dataclass(frozen=True)
class Genre:
    """A genre; genres.toml explains the patterns and numbers."""

    tempo: tuple[int, int]
    changes: list[str]
    drums: list[dict[str, str]]
    bass: list[str]
    comp: list[str]
    lead: list[str]
    leads: list[str]
    comps: list[str]
    basses: tuple[str, ...] = ("bass",)
    swing: float = 0.5
    wide: float = 0.25
    pad: float = 0.2
    loose: float = 0.008
    low: int = 60


@dataclass(frozen=True)
class Artist:
    """A fictional performer: the genres that they play, and habits that are the same in all of them."""

    name: str
    genres: list[str]
    lead: str
    comp: str
    octave: int = 0
    touch: float = 0.0


_DATA = tomllib.loads(Path(__file__).with_name("genres.toml").read_text("utf-8"))
GENRES = {name: Genre(**values) for name, values in _DATA["genres"].items()}
ARTISTS = [Artist(**values) for values in _DATA["artists"]]
_ADJECTIVES, _NOUNS = _DATA["title_adjectives"].split(), _DATA["title_nouns"].split()


@dataclass
class Song:
    """A composed song: its notes in seconds, and its description.

    Args:
        id: genre, number and a digest of the notes, so that different music has different file names.
        tempo: quarters a minute.
        key: such as "A minor".
        meter: quarters a bar.
        seconds: its length.
        parts: the instrument of each part that plays ("lead", "chords", "bass", perhaps "pad").
        drums: the drums that play.
        sections: the name of each section, and its beginning in seconds.
    """

    id: str
    title: str
    genre: str
    artist: str
    tempo: int
    key: str
    meter: int
    seconds: float
    notes: list[Note]
    parts: dict[str, str]
    drums: tuple[str, ...]
    sections: tuple[tuple[str, float], ...]


@dataclass
class Event:
    """A note on the grid: position and length in sixteenths."""

    at: float
    length: float
    pitch: int
    velocity: float
    instrument: str


def compose(number: int, seed: int = 0) -> Song:
    """Song `number` of the catalogue of a seed; the genres take turns."""
    random = Random(f"{seed}/{number}")
    name = list(GENRES)[number % len(GENRES)]
    genre = GENRES[name]
    artist = random.choice([artist for artist in ARTISTS if name in artist.genres])
    tempo, tonic, seconds = random.randint(*genre.tempo), random.randrange(12), random.uniform(9.0, 11.0)
    mode, changes = random.choice(genre.changes).split(": ")
    bar = len(genre.lead[0])
    step = 15 / tempo
    bars = math.ceil(seconds / (bar * step))
    harmony = _harmony(changes, tonic, bars, random)
    # The lead is the artist's own instrument more often than not; the others follow the genre and the artist.
    lead = artist.lead if random.random() < 0.5 else random.choice(genre.leads)
    chords = artist.comp if random.random() < 0.3 else random.choice(genre.comps)
    parts = {"lead": lead, "chords": chords, "bass": random.choice(genre.basses)}
    if random.random() < genre.pad:
        parts["pad"] = random.choice(("synth pad", "strings", "organ"))
    drums = random.choice(genre.drums)
    opening = random.choice(("all together", "the band alone", "the tune alone"))
    levels = {part: random.uniform(0.8, 1.15) for part in ("lead", "chords", "bass", "pad", "drums")}

    events = [
        *_drums(drums, bars, levels["drums"], random),
        *_bass(random.choice(genre.bass), harmony, bars, parts["bass"], levels["bass"], random),
        *_chords(random.choice(genre.comp), harmony, bars, parts["chords"], genre.low, levels["chords"], random),
        *_melody(genre, artist, harmony, scale_pitches(mode, tonic), bars, lead, levels["lead"], random),
    ]
    if "pad" in parts:
        sustained = "x" + "-" * (bar - 1)
        events += _chords(sustained, harmony, bars, parts["pad"], 57, 0.6 * levels["pad"], random)
    if opening == "the band alone":
        events = [event for event in events if event.at >= bar or event.instrument != lead]
    if opening == "the tune alone":
        events = [event for event in events if event.at >= bar or event.instrument in (lead, chords)]
    notes = _perform(events, step, seconds, genre, artist, random)
    sections = ("opening", "theme", "answer")
    starts = (0.0, bar * step, bar * step * max(2, (bars + 1) // 2))
    digest = blake2b(repr((seconds, notes)).encode(), digest_size=3).hexdigest()
    return Song(
        id=f"{name.replace(' ', '-')}-{number:03d}-{digest}",
        title=_title(number, seed),
        genre=name,
        artist=artist.name,
        tempo=tempo,
        key=f"{TONICS[tonic]} {'minor' if mode in ('minor', 'dorian', 'phrygian') else 'major'}",
        meter=bar // 4,
        seconds=seconds,
        notes=notes,
        parts=parts,
        drums=tuple(drums),
        sections=tuple((section, start) for section, start in zip(sections, starts, strict=True) if start < seconds),
    )


def _title(number: int, seed: int) -> str:
    """Two words; every pair occurs once before any occurs again, after 1,920 songs."""
    pairs = len(_ADJECTIVES) * len(_NOUNS)
    pair = (number * 1009 + Random(f"titles {seed}").randrange(pairs)) % pairs  # 1009 is prime
    lap = number // pairs
    return f"{_ADJECTIVES[pair // len(_NOUNS)]} {_NOUNS[pair % len(_NOUNS)]}" + (f" {lap + 1}" if lap else "")


def _harmony(changes: str, tonic: int, bars: int, random: Random) -> list[Chord]:
    """Two chords a bar, from the beginning of one of the sequence's phrases of four."""
    sequence = changes.split()
    start = 4 * random.randrange(len(sequence) // 4)
    harmony = []
    for index in range(bars):
        names = sequence[(start + index) % len(sequence)].split(",")
        harmony += [chord(names[0], tonic), chord(names[-1], tonic)]
    return harmony


def _read_pattern(pattern: str, bars: int) -> Iterator[tuple[int, int, str]]:
    """Repeat a bar's pattern: the position, length with holds, and sign of every note."""
    for match in re.finditer(r"[^.\-]-*", pattern):
        for index in range(bars):
            yield index * len(pattern) + match.start(), len(match.group()), match.group()[0]


_VELOCITIES = {"X": 1.0, "x": 0.8, "o": 0.5}


def _drums(patterns: dict[str, str], bars: int, level: float, random: Random) -> Iterator[Event]:
    for drum, pattern in patterns.items():
        bar = len(pattern)
        for at, _, sign in _read_pattern(pattern, bars):
            if at % bar and random.random() < 0.05:
                continue
            if drum == "crash" and (at // bar) % 4:
                continue  # a cymbal marks the phrase, not every bar
            yield Event(at, 1, DRUMS[drum].number, _VELOCITIES[sign] * level, drum)
    if patterns:  # a fill at the end of every fourth bar
        last = random.choice(list(patterns))
        bar = len(patterns[last])
        for index in range(3, bars, 4):
            for at in random.sample(range(bar - 4, bar), 2):
                yield Event(index * bar + at, 1, DRUMS[last].number, 0.6 * level, last)


def _bass(
    pattern: str, harmony: list[Chord], bars: int, instrument: str, level: float, random: Random
) -> Iterator[Event]:
    half = len(pattern) // 2
    for at, length, sign in _read_pattern(pattern, bars):
        current = harmony[at // half]
        root = 33 + (current.root - 33) % 12  # A1 to G#2
        third = current.intervals[1] if len(current.intervals) > 2 else 7
        if sign == "a":  # a semitone above or below the next root
            following = harmony[min(at // half + 1, len(harmony) - 1)].root
            pitch = 33 + (following - 33) % 12 + random.choice((-1, 1))
        else:
            pitch = root + {"1": 0, "3": third, "5": 7, "6": 9, "7": current.intervals[-1], "8": 12}[sign]
        yield Event(at, length, pitch, 0.85 * level, instrument)


def _chords(
    pattern: str, harmony: list[Chord], bars: int, instrument: str, low: int, level: float, random: Random
) -> Iterator[Event]:
    half = len(pattern) // 2
    for at, length, sign in _read_pattern(pattern, bars):
        if at % len(pattern) and random.random() < 0.06:
            continue
        current = harmony[at // half]
        if len(current.intervals) == 2:  # a power chord: root, fifth, octave
            root = 40 + (current.root - 40) % 12
            voicing = [root, root + 7, root + 12]
        else:  # each tone as near to the middle as it can lie, so that voices move little
            voicing = sorted(low + (pitch - low + 6) % 12 - 6 for pitch in current.pitches)
        if sign.isdigit():
            voicing.append(voicing[0] + 12)
            place = int(sign) - 1
            yield Event(at, max(length, 1.5), voicing[place % len(voicing)], 0.6 * level, instrument)
        else:
            for pitch in voicing:
                yield Event(at, length, pitch, 0.5 * _VELOCITIES[sign] * level, instrument)


def _melody(
    genre: Genre,
    artist: Artist,
    harmony: list[Chord],
    scale: list[int],
    bars: int,
    instrument: str,
    level: float,
    random: Random,
) -> Iterator[Event]:
    """Two motifs in one of four forms; each bar moves its motif to the chord, and strong beats use chord tones."""
    bar = len(genre.lead[0])
    motifs = []
    for pattern in random.choices(genre.lead, k=2):
        contour, at = [], 0
        for _ in _read_pattern(pattern, 1):
            contour.append(at)
            at += random.choice((-1, 1)) * (random.choice((2, 3, 4)) if random.random() < genre.wide else 1)
            at = max(-5, min(5, at))
        motifs.append((pattern, contour))
    form = random.choice(("AABA", "ABAB", "AAAB", "ABBA"))
    centre = random.randint(66, 74) + 7 * artist.octave
    anchor = centre
    for index in range(bars):
        pattern, contour = motifs["AB".index(form[index % 4])]
        first = harmony[2 * index]
        anchor = nearest_pitch((anchor + centre) // 2, first.pitches)
        foot = min(range(len(scale)), key=lambda rung: abs(scale[rung] - anchor))
        for (at, length, _), rise in zip(_read_pattern(pattern, 1), contour, strict=True):
            pitch = scale[max(0, min(len(scale) - 1, foot + rise))]
            if at % 4 == 0:
                pitch = nearest_pitch(pitch, harmony[2 * index + at // (bar // 2)].pitches)
            accent = 0.9 if at % 4 == 0 else 0.75
            yield Event(index * bar + at, length, pitch, accent * level, instrument)


def _perform(
    events: list[Event], step: float, seconds: float, genre: Genre, artist: Artist, random: Random
) -> list[Note]:
    """Play the grid: swung, with loose timing, in seconds, and cut to the length of the song."""

    def swung(at: float) -> float:
        beat, rest = divmod(at, 4.0)
        late = 2 * genre.swing
        return beat * 4 + (rest * late if rest < 2 else 4 * genre.swing + (rest - 2) * (2 - late))

    notes = []
    for event in sorted(events, key=lambda event: (event.at, event.instrument, event.pitch)):
        start = max(0.0, swung(event.at) * step + random.gauss(0, genre.loose))
        length = min((swung(event.at + event.length) - swung(event.at)) * step * 0.92, seconds - start)
        if length < 0.04:
            continue
        velocity = min(1.0, max(0.1, event.velocity + artist.touch + random.uniform(-0.05, 0.05)))
        notes.append(Note(start, length, event.pitch, velocity, event.instrument))
    return sorted(notes, key=lambda note: note.start)


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
    match = re.fullmatch(r"(b?)([iv]+)(M7|7|5|)", numeral, re.IGNORECASE)
    assert match, numeral
    flat, name, kind = match.groups()
    low = name.lower()
    root = (tonic + (_FLAT_ROOTS[low] if flat else _ROOTS[low])) % 12
    third = 4 if name.isupper() else 3
    chords = {"": (0, third, 7), "5": (0, 7), "7": (0, third, 7, 10), "M7": (0, third, 7, 11)}
    return Chord(root, chords[kind])


def scale_pitches(mode: str, tonic: int) -> list[int]:
    """The pitches of a scale over the whole keyboard."""
    steps = {(tonic + step) % 12 for step in _SCALES[mode]}
    return [pitch for pitch in range(21, 109) if pitch % 12 in steps]


def nearest_pitch(pitch: int, classes: tuple[int, ...]) -> int:
    """The pitch nearest to a pitch that belongs to one of the pitch classes."""
    return min(
        (pitch + away for away in range(-6, 7) if (pitch + away) % 12 in classes), key=lambda near: abs(near - pitch)
    )
