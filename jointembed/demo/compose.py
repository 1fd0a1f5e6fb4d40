"""Composes songs: a key, a harmony, and a small band whose parts are read off the patterns of a genre.

Positions are counted in sixteenths from the beginning of a song, and become seconds, with swing and the players' loose
timing, only at the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from .harmony import TONICS, Chord, chord, ladder, nearest
from .styles import ARTISTS, STYLES, Artist, Style
from .synth import DRUMS, Note

GENRES = tuple(STYLES)

_FIRST = (
    "Amber Borrowed Broken Copper Crooked Distant Early Empty Falling Faithful Gentle Glass Golden Hidden Hollow Idle "
    "Late Little Lonely Lost Narrow Northern Open Paper Patient Quiet Restless Second Secret Silver Sleeping Southern "
    "Sudden Tangled Tender Unwritten Velvet Wandering Winter Yellow"
).split()
_SECOND = (
    "Almanac Anchor Arrow Avenue Balcony Bridge Candle Carousel Compass Corridor Curtain Drawer Elevator Engine "
    "Feather Fountain Garden Harbour Hour Island Kettle Ladder Lantern Letter Lighthouse Map Meadow Mirror Orchard "
    "Parade Passenger Pocket Promise Railway River Sail Shadow Signal Staircase Station Summer Telephone Thread Tower "
    "Umbrella Valley Weather Window"
).split()


@dataclass
class Song:
    """A composed song: its notes in seconds, and what can be said about it.

    Args:
        id: genre, number and a digest of the notes, so that different music never shares a file name.
        tempo: quarters a minute.
        key: such as "A minor".
        meter: quarters a bar.
        seconds: its length.
        parts: the instrument of each part that plays ("lead", "chords", "bass", perhaps "pad").
        drums: the drums that play.
        sections: name and beginning in seconds of each stretch.
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
    genre = GENRES[number % len(GENRES)]
    style = STYLES[genre]
    artist = random.choice([one for one in ARTISTS if genre in one.genres])
    tempo, tonic, seconds = random.randint(*style.tempo), random.randrange(12), random.uniform(9.0, 11.0)
    mode, changes = random.choice(style.changes)
    bar = len(style.lead[0])
    step = 15 / tempo
    bars = math.ceil(seconds / (bar * step))
    harmony = _harmony(changes, tonic, bars, random)
    # The lead is the artist's own instrument more often than not; the others follow the genre and the artist.
    lead = artist.lead if random.random() < 0.5 else random.choice(style.leads)
    chords = artist.comp if random.random() < 0.3 else random.choice(style.comps)
    parts = {"lead": lead, "chords": chords, "bass": random.choice(style.basses)}
    if random.random() < style.pad:
        parts["pad"] = random.choice(("synth pad", "strings", "organ"))
    drums = random.choice(style.drums)
    opening = random.choice(("all together", "the band alone", "the tune alone"))
    loud = {part: random.uniform(0.8, 1.15) for part in ("lead", "chords", "bass", "pad", "drums")}

    events = [
        *_drums(drums, bars, loud["drums"], random),
        *_bass(random.choice(style.bass), harmony, bars, parts["bass"], loud["bass"], random),
        *_chords(random.choice(style.comp), harmony, bars, parts["chords"], style.low, loud["chords"], random),
        *_melody(style, artist, harmony, ladder(mode, tonic), bars, lead, loud["lead"], random),
    ]
    if "pad" in parts:
        held = "x" + "-" * (bar - 1)
        events += _chords(held, harmony, bars, parts["pad"], 57, 0.6 * loud["pad"], random)
    if opening == "the band alone":
        events = [one for one in events if one.at >= bar or one.instrument != lead]
    if opening == "the tune alone":
        events = [one for one in events if one.at >= bar or one.instrument in (lead, chords)]
    notes = _perform(events, step, seconds, style, artist, random)
    names = ("opening", "theme", "answer")
    starts = (0.0, bar * step, bar * step * max(2, (bars + 1) // 2))
    digest = blake2b(repr((seconds, notes)).encode(), digest_size=3).hexdigest()
    return Song(
        id=f"{genre.replace(' ', '-')}-{number:03d}-{digest}",
        title=_title(number, seed),
        genre=genre,
        artist=artist.name,
        tempo=tempo,
        key=f"{TONICS[tonic]} {'minor' if mode in ('minor', 'dorian', 'phrygian') else 'major'}",
        meter=bar // 4,
        seconds=seconds,
        notes=notes,
        parts=parts,
        drums=tuple(drums),
        sections=tuple((name, start) for name, start in zip(names, starts, strict=True) if start < seconds),
    )


def _title(number: int, seed: int) -> str:
    """Two words; a walk that meets every pair once, so that no title returns within a catalogue of 1,920 songs."""
    pairs = len(_FIRST) * len(_SECOND)
    at = (number * 1009 + Random(f"titles {seed}").randrange(pairs)) % pairs  # 1009 is prime
    lap = number // pairs
    return f"{_FIRST[at // len(_SECOND)]} {_SECOND[at % len(_SECOND)]}" + (f" {lap + 1}" if lap else "")


def _harmony(changes: str, tonic: int, bars: int, random: Random) -> list[Chord]:
    """Two chords a bar, entering the sequence at the beginning of one of its phrases of four."""
    sequence = changes.split()
    enter = 4 * random.randrange(len(sequence) // 4)
    harmony = []
    for index in range(bars):
        names = sequence[(enter + index) % len(sequence)].split(",")
        harmony += [chord(names[0], tonic), chord(names[-1], tonic)]
    return harmony


def _read(pattern: str, bars: int) -> Iterator[tuple[int, int, str]]:
    """A bar's pattern over all bars: position, length (its holds included) and sign of each beginning."""
    for found in re.finditer(r"[^.\-]-*", pattern):
        for index in range(bars):
            yield index * len(pattern) + found.start(), len(found.group()), found.group()[0]


_FORCE = {"X": 1.0, "x": 0.8, "o": 0.5}


def _drums(patterns: dict[str, str], bars: int, loud: float, random: Random) -> Iterator[Event]:
    for drum, pattern in patterns.items():
        bar = len(pattern)
        for at, _, sign in _read(pattern, bars):
            if at % bar and random.random() < 0.05:
                continue
            if drum == "crash" and (at // bar) % 4:
                continue  # a cymbal marks the phrase, not every bar
            yield Event(at, 1, DRUMS[drum].number, _FORCE[sign] * loud, drum)
    if patterns:  # a fill at the end of every fourth bar
        last = random.choice(list(patterns))
        bar = len(patterns[last])
        for index in range(3, bars, 4):
            for at in random.sample(range(bar - 4, bar), 2):
                yield Event(index * bar + at, 1, DRUMS[last].number, 0.6 * loud, last)


def _bass(
    pattern: str, harmony: list[Chord], bars: int, instrument: str, loud: float, random: Random
) -> Iterator[Event]:
    half = len(pattern) // 2
    for at, length, sign in _read(pattern, bars):
        here = harmony[at // half]
        root = 33 + (here.root - 33) % 12  # A1 to G#2
        third = here.intervals[1] if len(here.intervals) > 2 else 7
        if sign == "a":  # a semitone above or below the root that comes
            following = harmony[min(at // half + 1, len(harmony) - 1)].root
            pitch = 33 + (following - 33) % 12 + random.choice((-1, 1))
        else:
            pitch = root + {"1": 0, "3": third, "5": 7, "6": 9, "7": here.intervals[-1], "8": 12}[sign]
        yield Event(at, length, pitch, 0.85 * loud, instrument)


def _chords(
    pattern: str, harmony: list[Chord], bars: int, instrument: str, low: int, loud: float, random: Random
) -> Iterator[Event]:
    half = len(pattern) // 2
    for at, length, sign in _read(pattern, bars):
        if at % len(pattern) and random.random() < 0.06:
            continue
        here = harmony[at // half]
        if len(here.intervals) == 2:  # a power chord: root, fifth, octave
            root = 40 + (here.root - 40) % 12
            voicing = [root, root + 7, root + 12]
        else:  # each tone where it lies nearest to the middle, so that common tones stay and the others move least
            voicing = sorted(low + (pitch - low + 6) % 12 - 6 for pitch in here.pitches)
        if sign.isdigit():
            voicing.append(voicing[0] + 12)
            place = int(sign) - 1
            yield Event(at, max(length, 1.5), voicing[place % len(voicing)], 0.6 * loud, instrument)
        else:
            for pitch in voicing:
                yield Event(at, length, pitch, 0.5 * _FORCE[sign] * loud, instrument)


def _melody(
    style: Style,
    artist: Artist,
    harmony: list[Chord],
    scale: list[int],
    bars: int,
    instrument: str,
    loud: float,
    random: Random,
) -> Iterator[Event]:
    """Two motifs in one of a few forms; each bar sets its motif on the chord, and strong beats keep to chord tones."""
    bar = len(style.lead[0])
    motifs = []
    for pattern in random.choices(style.lead, k=2):
        contour, at = [], 0
        for _ in _read(pattern, 1):
            contour.append(at)
            at += random.choice((-1, 1)) * (random.choice((2, 3, 4)) if random.random() < style.wide else 1)
            at = max(-5, min(5, at))
        motifs.append((pattern, contour))
    form = random.choice(("AABA", "ABAB", "AAAB", "ABBA"))
    centre = random.randint(66, 74) + 7 * artist.octave
    anchor = centre
    for index in range(bars):
        pattern, contour = motifs["AB".index(form[index % 4])]
        first = harmony[2 * index]
        anchor = nearest((anchor + centre) // 2, first.pitches)
        foot = min(range(len(scale)), key=lambda rung: abs(scale[rung] - anchor))
        for (at, length, _), rise in zip(_read(pattern, 1), contour, strict=True):
            pitch = scale[max(0, min(len(scale) - 1, foot + rise))]
            if at % 4 == 0:
                pitch = nearest(pitch, harmony[2 * index + at // (bar // 2)].pitches)
            accent = 0.9 if at % 4 == 0 else 0.75
            yield Event(index * bar + at, length, pitch, accent * loud, instrument)


def _perform(
    events: list[Event], step: float, seconds: float, style: Style, artist: Artist, random: Random
) -> list[Note]:
    """The grid as it is played: swung, a little loose, in seconds, and no longer than the song."""

    def swung(at: float) -> float:
        beat, rest = divmod(at, 4.0)
        late = 2 * style.swing
        return beat * 4 + (rest * late if rest < 2 else 4 * style.swing + (rest - 2) * (2 - late))

    notes = []
    for event in sorted(events, key=lambda one: (one.at, one.instrument, one.pitch)):
        start = max(0.0, swung(event.at) * step + random.gauss(0, style.loose))
        length = min((swung(event.at + event.length) - swung(event.at)) * step * 0.92, seconds - start)
        if length < 0.04:
            continue
        velocity = min(1.0, max(0.1, event.velocity + artist.touch + random.uniform(-0.05, 0.05)))
        notes.append(Note(start, length, event.pitch, velocity, event.instrument))
    return sorted(notes, key=lambda note: note.start)
