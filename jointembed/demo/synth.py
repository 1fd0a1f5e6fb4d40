"""A small synthesiser: notes in, mono samples out, by wavetables, frequency modulation and shaped noise.

Letters: N samples of a note, H partials, T samples of a song. Phases are 32-bit integers that wrap once a cycle, so a
note costs a handful of array operations whatever its number of partials; a dense song takes a hundredth of its length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .voices import DRUMS, INSTRUMENTS, VOICES

__all__ = ["DRUMS", "INSTRUMENTS", "Note", "Samples", "hertz", "render"]

Samples = NDArray[np.float32]
Hertz = NDArray[np.floating]

_BITS = 13  # a wavetable holds one cycle in 2 ** 13 samples: its steps stay 50 dB below the note
_SHIFT = np.uint32(32 - _BITS)
_CYCLE = 2.0**32


@dataclass
class Note:
    """A note: start and length in seconds, MIDI pitch (or the number of a drum), velocity (0 to 1), and instrument."""

    start: float
    seconds: float
    pitch: int
    velocity: float
    instrument: str


def hertz(pitch: float) -> float:
    """The frequency of a MIDI pitch in equal temperament, A4 = 69 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def render(notes: Iterable[Note], rate: int = 22050, seconds: float | None = None, seed: int = 0) -> Samples:
    """Play the notes: mono float32 samples in [-1, 1], the same bits for the same notes and seed.

    Args:
        notes: in any order.
        rate: samples a second.
        seconds: length of the result; by default up to a second after the last note.
        seed: chooses the room, the tone of the microphone, the drum kit and the gain, in which recordings of the same
            music differ too.
    """
    notes = list(notes)
    if seconds is None:
        seconds = max((note.start + note.seconds for note in notes), default=0.0) + 1.0
    rng = np.random.default_rng(seed)
    total = round(seconds * rate)
    buses: dict[str, Samples] = defaultdict(lambda: np.zeros(total, np.float32))
    kit: dict[str, Samples] = {}
    tuning = {name: rng.uniform(-1, 1, 3) for name in DRUMS}
    for note in notes:
        at = round(note.start * rate)
        if not 0 <= at < total:
            continue
        if note.instrument in DRUMS:
            if note.instrument not in kit:
                kit[note.instrument] = _strike(note.instrument, tuning[note.instrument], rate)
            sound, bus = kit[note.instrument] * np.float32(note.velocity), ""
        else:
            sound, bus = _play(note, rate), note.instrument if VOICES[note.instrument].drive else ""
        sound = sound[: total - at]
        buses[bus][at : at + len(sound)] += sound
    mix = buses[""]
    for name, bus_samples in buses.items():
        if name:
            driven = np.tanh(bus_samples * np.float32(VOICES[name].drive)) * np.float32(0.5 * VOICES[name].level)
            mix += _filter(driven, rate, lambda f: 1 / (1 + (f / 4200) ** 4))
    return _record(mix, rate, rng)


def _record(mix: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """The mix in a room, through a microphone, at an even loudness: (T,) -> (T,)."""
    tail, wet, tone = rng.uniform(0.15, 0.5), rng.uniform(0.02, 0.14), rng.uniform(-1.2, 1.2)
    floor, gain = 10 ** rng.uniform(-3.4, -2.8), 10 ** rng.uniform(-0.1, 0.1)
    time = np.arange(round(2.5 * tail * rate), dtype=np.float32) / np.float32(rate)
    echo = rng.standard_normal(len(time), np.float32) * np.exp(-time / np.float32(tail / 2.5))
    echo *= np.float32(wet) / (np.sqrt(np.sum(echo**2)) + np.float32(1e-9))
    echo[: round(0.008 * rate)] = 0  # the first wall is a few steps away
    echo[0] += 1

    def response(f: Hertz) -> Hertz:
        octaves = np.log2(np.clip(f, 60, 8000) / 700)
        gain: Hertz = 10 ** (tone * octaves / 20) * (f / 30) ** 2 / (1 + (f / 30) ** 2)
        return gain

    mix = _filter(mix, rate, response, echo)
    power = float(np.sqrt(np.mean(mix**2))) if len(mix) else 0.0
    if power < 1e-6:
        return np.zeros_like(mix)
    mix *= np.float32(0.14 * gain / power)
    mix += rng.standard_normal(len(mix), np.float32) * np.float32(0.1 * floor)
    mix = np.tanh(mix / np.float32(0.95)) * np.float32(0.95)  # the few highest peaks bend instead of clipping
    edge = min(round(0.03 * rate), len(mix))
    mix[len(mix) - edge :] *= np.linspace(1, 0, edge, dtype=np.float32)
    return mix


def _filter(
    samples: Samples,
    rate: int,
    response: Callable[[Hertz], Hertz],
    echo: Samples | None = None,
) -> Samples:
    """The samples through a zero-phase gain over frequency (Hz) and, if given, convolved with an echo."""
    length = len(samples) + (len(echo) if echo is not None else 0)
    size = 1 << max(length - 1, 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * response(np.fft.rfftfreq(size, 1 / rate)).astype(np.float32)
    if echo is not None:
        spectrum *= np.fft.rfft(echo, size)
    return np.asarray(np.fft.irfft(spectrum, size)[: len(samples)], np.float32)


@lru_cache(maxsize=4)
def _ramps(rate: int) -> tuple[NDArray[np.uint32], Samples, Samples]:
    """Sample numbers, their times in seconds and white noise, cut to length by every note."""
    count = 20 * rate
    numbers = np.arange(count, dtype=np.uint32)
    noise = np.random.default_rng(1).standard_normal(count + rate, np.float32)
    return numbers, (numbers / np.float32(rate)).astype(np.float32), noise


@lru_cache(maxsize=1)
def _sine() -> Samples:
    cycle: Samples = np.sin(2 * np.pi * np.arange(2**_BITS) / 2**_BITS).astype(np.float32)
    return cycle


@lru_cache(maxsize=4096)
def _tables(name: str, pitch: int, rate: int) -> tuple[Samples, Samples]:
    """One cycle of a voice at a pitch, bright and dull, with no partial above the Nyquist frequency."""
    voice, base = VOICES[name], hertz(pitch)
    h = np.arange(1, max(2, min(80, int(0.47 * rate / base) + 1)))  # (H,)
    amplitude = h**-voice.tilt / np.sqrt(1 + (h * base / voice.cap) ** 6)
    amplitude[1::2] *= voice.even
    if voice.body:
        amplitude *= 1 + 2.5 * np.exp(-((np.log2(h * base / voice.body) / 0.6) ** 2))
    amplitude /= np.sqrt(np.sum(amplitude**2) / 2)
    turn = np.exp(-1j * np.pi * h * (h - 1) / len(h))  # Schroeder's phases: a low crest
    cycles = []
    for level in (amplitude, amplitude * h**-1.5):
        spectrum = np.zeros(2 ** (_BITS - 1) + 1, complex)
        spectrum[1 : len(h) + 1] = level * turn * 2 ** (_BITS - 1)
        cycles.append(np.fft.irfft(spectrum).astype(np.float32))
    return cycles[0], cycles[1]


def _play(note: Note, rate: int) -> Samples:
    """One pitched note, its release included: (N,)."""
    voice, base = VOICES[note.instrument], hertz(note.pitch)
    numbers, seconds, noise = _ramps(rate)
    hold = max(1, round(note.seconds * rate))
    count = min(hold + round(voice.release * rate), len(numbers))
    hold = min(hold, count)
    time, ramp = seconds[:count], numbers[:count]
    phase = ramp * np.uint32(round(base / rate * _CYCLE))
    if voice.vibrato:
        depth = voice.vibrato / 1200 * np.log(2) * base / (2 * np.pi * 5.5) * _CYCLE  # cents -> cycles of phase
        swell = np.minimum(time * np.float32(3), np.float32(1)) * np.float32(depth)
        wobble = _sine()[(ramp * np.uint32(round(5.5 / rate * _CYCLE))) >> _SHIFT]
        phase = phase + (swell * wobble).astype(np.int64).astype(np.uint32)
    sharp = np.float32(0.35 + 0.65 * note.velocity)  # a soft touch is a duller one
    if voice.fm[0]:
        ratio, index = voice.fm
        modulator = _sine()[(ramp * np.uint32(round(base * ratio / rate * _CYCLE))) >> _SHIFT]
        bend = modulator * np.exp(time * np.float32(-3.5)) * np.float32(index / (2 * np.pi) * _CYCLE) * sharp
        sound = _sine()[(phase + bend.astype(np.int64).astype(np.uint32)) >> _SHIFT] * np.float32(1.4)
    else:
        bright, dull = _tables(note.instrument, note.pitch, rate)
        brightness = np.exp(time * np.float32(-1 / voice.dull)) * sharp if voice.dull else sharp
        positions = phase >> _SHIFT
        sound = dull[positions] + (bright - dull)[positions] * brightness
        if voice.chorus:
            detuned = base * 2 ** (voice.chorus / 1200)
            positions = (ramp * np.uint32(round(detuned / rate * _CYCLE))) >> _SHIFT
            sound = (sound + dull[positions] + (bright - dull)[positions] * brightness) * np.float32(0.7)
    if voice.breath:
        skip = round(note.start * rate) % rate
        sound += noise[skip : skip + count] * np.float32(voice.breath)
    if voice.decay:
        sound *= np.exp(time * np.float32(-1 / (voice.decay * (220 / base) ** 0.5)))
    rise = min(max(1, round(voice.attack * rate)), count)
    sound[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    sound[hold:] *= np.linspace(1, 0, count - hold, dtype=np.float32) ** 2
    sound *= np.float32(note.velocity * (1.0 if voice.drive else voice.level) * 0.3)
    return np.asarray(sound, np.float32)


def _strike(name: str, tuning: NDArray[np.float64], rate: int) -> Samples:
    """One drum, tuned a little by three numbers in [-1, 1]: (N,)."""
    drum = DRUMS[name]
    pitch, length, colour = 2.0 ** (tuning * (0.2, 0.3, 0.12))
    high, low, tone_decay, tone_level = drum.tone
    _, seconds, noise = _ramps(rate)
    count = round(5 * max(tone_decay, drum.noise[2]) * length * rate)
    time = seconds[:count]
    start, stop, noise_decay, noise_level = drum.noise

    def band(f: Hertz) -> Hertz:
        rising: Hertz = (f / start) ** 4 / (1 + (f / start) ** 4)
        return rising / (1 + (f / stop) ** 8)

    hiss = _filter(noise[:count].copy(), rate, lambda f: band(f * (1 / colour)))
    sound = (
        hiss * np.exp(time / np.float32(-noise_decay * length)) * np.float32(noise_level / (np.std(hiss) * 2.5 + 1e-9))
    )
    if tone_level:
        cycles = pitch * (low * time + (high - low) * 0.03 * (1 - np.exp(time / np.float32(-0.03))))
        sound += np.sin(2 * np.pi * cycles) * np.exp(time / np.float32(-tone_decay * length)) * np.float32(tone_level)
    sound[-(count // 5) :] *= np.linspace(1, 0, count // 5, dtype=np.float32)
    return np.asarray(sound * np.float32(drum.level * 0.9), np.float32)
