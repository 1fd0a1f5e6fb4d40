"""The instruments and drums of the synthesiser, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """The sound of a pitched instrument. Times in seconds, frequencies in Hz.

    Args:
        tilt: partial h has the amplitude h ** -tilt.
        even: the level of the even partials; a low one sounds hollow.
        body: centre of a broad resonance, 0 for none.
        cap: the frequency above which partials fade out.
        attack: time to the full level.
        decay: time constant of a struck or plucked note at 220 Hz; 0 for a sustained one.
        release: time to silence after the note.
        dull: time constant with which the upper partials decay before the rest; 0 keeps them.
        vibrato: depth in cents, at about 5.5 Hz, once the note has settled.
        chorus: cents between two copies of the voice.
        breath: level of the noise of breath or bow.
        fm: ratio and index of a modulating sine; it replaces the wavetable.
        drive: gain into a soft clipper that all notes of the instrument share, as in an amplifier.
        level: gain in the mix.
    """

    tilt: float = 1.0
    even: float = 1.0
    body: float = 0.0
    cap: float = 6000.0
    attack: float = 0.005
    decay: float = 0.0
    release: float = 0.08
    dull: float = 0.0
    vibrato: float = 0.0
    chorus: float = 0.0
    breath: float = 0.0
    fm: tuple[float, float] = (0.0, 0.0)
    drive: float = 0.0
    level: float = 1.0


@dataclass(frozen=True)
class Drum:
    """A one-shot: a falling tone (Hz from, Hz to, decay in seconds, level) and noise (Hz from, Hz to, decay, level)."""

    number: int
    tone: tuple[float, float, float, float]
    noise: tuple[float, float, float, float]
    level: float = 1.0


VOICES = {
    "piano": Voice(tilt=1.1, cap=4500, attack=0.003, decay=1.0, release=0.15, dull=0.25, chorus=1.5),
    "electric piano": Voice(attack=0.003, decay=1.1, release=0.12, fm=(1.0, 1.3)),
    "bell": Voice(attack=0.002, decay=0.9, release=0.5, fm=(3.5, 0.9), level=0.8),
    "organ": Voice(tilt=0.9, even=0.8, cap=3000, attack=0.012, release=0.06, vibrato=8, level=0.8),
    "accordion": Voice(tilt=0.8, body=1400, cap=5000, attack=0.04, release=0.08, chorus=12, level=0.8),
    "guitar": Voice(tilt=1.2, body=300, cap=4500, attack=0.002, decay=0.6, release=0.1, dull=0.12),
    "electric guitar": Voice(tilt=0.9, even=0.7, cap=4000, attack=0.003, decay=0.9, release=0.06, dull=0.3),
    "distorted guitar": Voice(tilt=1.0, cap=2500, attack=0.003, decay=2.5, release=0.05, dull=0.8, drive=5, level=0.7),
    "strings": Voice(tilt=1.0, body=900, cap=5000, attack=0.12, release=0.25, vibrato=12, chorus=14, level=0.8),
    "fiddle": Voice(tilt=0.9, body=2000, cap=6500, attack=0.03, release=0.06, vibrato=14, breath=0.04, level=0.8),
    "flute": Voice(tilt=2.2, cap=4000, attack=0.05, release=0.07, vibrato=12, breath=0.12),
    "reed": Voice(tilt=1.0, even=0.25, body=1200, cap=5000, attack=0.03, release=0.06, vibrato=8, breath=0.03),
    "brass": Voice(tilt=0.8, body=1100, cap=3800, attack=0.05, release=0.08, vibrato=5, level=0.8),
    "synth lead": Voice(tilt=0.8, even=0.5, cap=6000, attack=0.004, release=0.05, dull=0.35, chorus=9, level=0.75),
    "synth pad": Voice(tilt=1.3, cap=3000, attack=0.3, release=0.5, chorus=16, level=0.8),
    "bass": Voice(tilt=1.4, cap=1500, attack=0.006, decay=0.7, release=0.08, dull=0.2, level=1.2),
    "synth bass": Voice(tilt=0.9, even=0.6, cap=1400, attack=0.004, decay=1.5, release=0.05, dull=0.2, level=1.1),
}
DRUMS = {
    "thump": Drum(35, (170, 46, 0.22, 1.0), (1500, 5000, 0.004, 0.2), 1.5),
    "kick": Drum(36, (105, 55, 0.11, 1.0), (300, 3500, 0.008, 0.3), 1.5),
    "rim": Drum(37, (850, 800, 0.02, 0.7), (1800, 7000, 0.012, 0.5), 0.7),
    "snare": Drum(38, (210, 180, 0.06, 0.5), (900, 9000, 0.10, 0.9)),
    "clap": Drum(39, (0, 0, 0, 0), (900, 4000, 0.09, 1.0)),
    "hat": Drum(42, (0, 0, 0, 0), (6000, 10500, 0.03, 1.0), 0.5),
    "tom": Drum(45, (150, 95, 0.16, 1.0), (200, 1500, 0.02, 0.25), 1.1),
    "open hat": Drum(46, (0, 0, 0, 0), (5500, 10500, 0.16, 1.0), 0.5),
    "crash": Drum(49, (0, 0, 0, 0), (2500, 10500, 0.6, 1.0), 0.5),
    "ride": Drum(51, (3300, 3290, 0.12, 0.3), (4500, 10000, 0.25, 0.6), 0.45),
    "shaker": Drum(70, (0, 0, 0, 0), (4000, 9000, 0.04, 1.0), 0.45),
}
INSTRUMENTS: tuple[str, ...] = (*VOICES, *DRUMS)
