"""Sound, as windows of a log-mel spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import audio
from .. import values as table_cells
from .mel import LogMelFront
from .reader import Array, Reader, spread


class LogMel(Reader):
    """Sound as windows of a log-mel spectrogram.

    A cell is the path of a sound file, samples (N,) at `sample_rate`, or {"array", "sampling_rate"}. The whole file is
    read: windows stand side by side from its start. The rest after the last whole window becomes a window of its own if
    it is at least half as long as one, and is left out otherwise, so that nothing is counted twice. A file shorter than
    a window is put in the middle of one. What is not sound in a window is silence.

    Args:
        sample_rate: Hz.
        seconds: the length of a window.
        n_mels: mel bands.
        n_fft: samples a Fourier transform.
        hop_length: samples from frame to frame.
        f_min: Hz, the lower edge of the lowest band.
        f_max: Hz, the upper edge of the highest band; half of the sample rate if not given.
        shift: in training, a short sound is put up to this many seconds away from the middle; of a long one, a window
            is cut out anywhere.
        speed: in training, play up to this share slower or faster, without changing the pitch.
        pitch: in training, move up or down by up to this many mel bands.
        gain: in training, make louder or softer by up to this many dB.
        colour: in training, change the loudness of bands along a smooth curve of about this many dB, as rooms,
            microphones and mouths do.
        masks: in training, blank so many stripes of time and of bands (SpecAugment, Park et al. 2019), each up to an
            eighth of the window wide.
        floor: the energy of silence; what is softer is not heard.
    """

    files = True
    parts = True
    slow = True

    front: LogMelFront

    def __init__(
        self,
        sample_rate: int = 16000,
        seconds: float = 5.0,
        n_mels: int = 64,
        n_fft: int = 512,
        hop_length: int = 160,
        f_min: float = 40.0,
        f_max: float | None = None,
        shift: float = 0.0,
        speed: float = 0.0,
        pitch: float = 0.0,
        gain: float = 0.0,
        colour: float = 0.0,
        masks: int = 0,
        floor: float = 1e-6,
    ) -> None:
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.frames = max(1, round(seconds * sample_rate / hop_length))
        self.shift = round(shift * sample_rate / hop_length)
        self.speed, self.pitch, self.gain, self.colour, self.masks = speed, pitch, gain, colour, masks
        self._front: dict[str, Any] = {
            "n_fft": n_fft,
            "hop_length": hop_length,
            "f_min": f_min,
            "f_max": f_max,
            "floor": floor,
        }
        self.front = LogMelFront(sample_rate, n_mels=n_mels, **self._front)
        self.centre = [0.0] * n_mels
        self.deviation = [1.0] * n_mels

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames and bands of a window."""
        return (self.frames, self.n_mels)

    def elements(self, cell: Any) -> list[Any]:
        """The sounds of a cell: a list of paths is several, anything else is one."""
        return list(cell) if isinstance(cell, list | tuple) and cell and isinstance(cell[0], str | Path) else [cell]

    def recipe(self) -> dict[str, Any]:
        """What decides the frames, as plain data: not the windows, nor what training changes."""
        return {"sample_rate": self.sample_rate, "n_mels": self.n_mels, **self._front}

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the deviation of each band from at most 200 cells, spread over the training rows."""
        known = [cell for cell in cells if not table_cells.missing(cell)]
        chosen = known[:: max(1, len(known) // 200)][:200]
        if not chosen:
            return
        frames = np.concatenate([self.load(self.elements(cell)[0]) for cell in chosen]).astype(np.float64)
        deviation = np.maximum(frames.std(0), 0.1)
        self.restore({"centre": frames.mean(0).tolist(), "deviation": deviation.tolist()})

    def state(self) -> dict[str, Any]:
        """The mean and the deviation of each band."""
        return {"centre": self.centre, "deviation": self.deviation}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.centre, self.deviation = list(state["centre"]), list(state["deviation"])

    def load(self, cell: Any) -> Array:
        """The log-mel frames of a whole sound (T, n_mels)."""
        samples = audio.samples(cell, self.sample_rate)
        count = self._count(samples)
        return np.concatenate([self._block(samples, number) for number in range(-(-count // self.frames))])

    def pieces(self, array: Array) -> list[Array]:
        """Frames (T, n_mels) -> windows (frames, n_mels)."""
        return [
            self._window(array[number * self.frames : (number + 1) * self.frames], number)
            for number in range(self._windows(len(array)))
        ]

    def windows(self, cell: Any, most: int | None = None) -> list[Array]:
        """The windows of a sound, of which only those that are asked for are computed; see `Reader.windows`."""
        samples = audio.samples(cell, self.sample_rate)
        count = self._windows(self._count(samples))
        return [self._window(self._block(samples, number), number) for number in spread(count, most)]

    def _count(self, samples: Array) -> int:
        """How many frames there are of samples (N,)."""
        return 1 + len(samples) // self.front.hop_length

    def _windows(self, count: int) -> int:
        """How many windows there are of so many frames."""
        whole, rest = divmod(count, self.frames)
        return whole + (rest * 2 >= self.frames or not whole)

    def _window(self, block: Array, number: int) -> Array:
        if len(block) == self.frames:
            return block
        return self._placed(block, 0 if number else (self.frames - len(block)) // 2)

    def _block(self, samples: Array, number: int) -> Array:
        """The frames of one window, fewer of the last one.

        Each window is computed by itself and in one shape: so its bits are the same whichever others are asked for,
        and a long sound takes no more memory than its samples.
        """
        hop, half = self.front.hop_length, self.front.n_fft // 2
        first = number * self.frames * hop - half
        last = first + (self.frames - 1) * hop + self.front.n_fft
        cut = samples[max(0, first) : max(0, last)]
        block = np.pad(cut, (max(0, -first), last - max(0, first) - len(cut)))
        with torch.inference_mode():
            frames: Array = self.front.inside(torch.from_numpy(block)).numpy()
        return frames[: self._count(samples) - number * self.frames]

    def _placed(self, array: Array, start: int) -> Array:
        window = np.full((self.frames, array.shape[1]), self.front.silence, np.float32)
        kept = array[max(0, -start) : self.frames - start]
        window[max(0, start) : max(0, start) + len(kept)] = kept
        return window

    def augment(self, array: Array, rng: np.random.Generator) -> Array:
        """One window (frames, n_mels) of the loaded frames, moved, stretched and masked at random."""
        if self.speed:
            array = self._stretched(array, 1 + rng.uniform(-self.speed, self.speed))
        spare = self.frames - len(array)
        if spare >= 0:
            start = spare // 2 + (int(rng.integers(-self.shift, self.shift + 1)) if self.shift else 0)
        else:
            start = -int(rng.integers(0, -spare + 1))
        window = self._placed(array, start)
        if self.pitch:
            window = self._moved(window, rng.uniform(-self.pitch, self.pitch))
        if self.gain or self.colour:
            bands = np.linspace(0, np.pi, self.n_mels)
            curve = sum(rng.normal() * np.cos(wave * bands) for wave in (1, 2, 3)) * self.colour / 2
            decibels = curve + rng.uniform(-self.gain, self.gain)
            window = np.maximum(window + (decibels * np.log(10) / 10).astype(np.float32), self.front.silence)
        for _ in range(self.masks):
            for axis, length in enumerate(window.shape):
                width = int(rng.integers(0, length // 8 + 1))
                begin = int(rng.integers(0, length - width + 1))
                stripe = (slice(begin, begin + width), slice(None))
                window[stripe if axis == 0 else stripe[::-1]] = np.asarray(self.centre, np.float32).mean()
        return window

    @staticmethod
    def _stretched(array: Array, factor: float) -> Array:
        length = max(1, round(len(array) / factor))
        at = np.minimum(np.arange(length) * factor, len(array) - 1)
        low = at.astype(np.int64)
        part = (at - low).astype(np.float32)[:, None]
        return np.asarray(array[low] * (1 - part) + array[np.minimum(low + 1, len(array) - 1)] * part)

    @staticmethod
    def _moved(window: Array, bands: float) -> Array:
        at = np.clip(np.arange(window.shape[1]) - bands, 0, window.shape[1] - 1)
        low = at.astype(np.int64)
        part = (at - low).astype(np.float32)
        return np.asarray(window[:, low] * (1 - part) + window[:, np.minimum(low + 1, window.shape[1] - 1)] * part)
