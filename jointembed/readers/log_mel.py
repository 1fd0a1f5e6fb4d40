"""Sound, as windows of a log-mel spectrogram."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import audio
from ..arguments import Count, Dropout, Natural, NonNegative, Positive
from ..errors import UsageError
from .reader import Array, FileReader, Standardized
from .windows import WINDOWS_IN_BLOCK, consecutive, count_windows, evenly_spaced

if TYPE_CHECKING:
    from .front_end import FrontEnd
    from .mel import LogMelSpectrogram


class LogMel(FileReader, Standardized):
    """Sound as windows of a log-mel spectrogram.

    A cell is the path of a sound file, the bytes of one, samples (N,) at `sample_rate`, {"array", "sampling_rate"} or a
    decoder; see `audio.load`. The whole file is read, in windows side by side from the first sample louder than -70
    dBFS, so that silence before a song does not move its windows. The rest after the last full window becomes a window
    of its own if it is at least half as long as one, and is left out otherwise. A file shorter than a window is centred
    in one. Windows are padded with silence.

    Args:
        sample_rate: Hz.
        seconds: the length of a window.
        n_mels: number of mel bands.
        n_fft: samples in a Fourier transform.
        hop_length: samples from frame to frame.
        f_min: Hz, the lower edge of the lowest band.
        f_max: Hz, the upper edge of the highest band; half of the sample rate by default.
        shift: augmentation: move a short sound by up to this many seconds from the centre; a long sound is cropped at
            random.
        speed: augmentation: play slower or faster by up to this share, without changing the pitch.
        pitch: augmentation: move up or down by up to this many mel bands.
        gain: augmentation: change the loudness by up to this many dB.
        equalizer: augmentation: change the loudness of bands along a smooth random curve of about this many dB, as
            rooms and microphones do.
        masks: augmentation: blank this many random stripes of time and of bands (SpecAugment, Park et al. 2019), each
            up to an eighth of the window wide.
        floor: constant added to the mel energies before the logarithm.
        train_windows: windows of a sound in a training row, each cut and changed at random by itself.
    """

    windowed = True
    cached = True
    sample_rate: int

    def __init__(
        self,
        sample_rate: Count = 16000,
        seconds: Positive = 5.0,
        n_mels: Count = 64,
        n_fft: Count = 512,
        hop_length: Count = 160,
        f_min: NonNegative = 40.0,
        f_max: Positive | None = None,
        shift: NonNegative = 0.0,
        speed: Dropout = 0.0,
        pitch: NonNegative = 0.0,
        gain: NonNegative = 0.0,
        equalizer: NonNegative = 0.0,
        masks: Natural = 0,
        floor: Positive = 1e-6,
        train_windows: Count = 1,
    ) -> None:
        highest = sample_rate / 2
        if not f_min < (f_max or highest) <= highest:
            wrong = f"bands from {f_min:g} to {f_max or highest:g} Hz do not lie between 0 and half of {sample_rate} Hz"
            raise UsageError("LogMel.f_min" if f_max is None else "LogMel.f_max", wrong, "correct f_min or f_max")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.train_windows = train_windows
        self.frames = max(1, round(seconds * sample_rate / hop_length))
        self.shift = round(shift * sample_rate / hop_length)
        self.speed, self.pitch, self.gain, self.equalizer, self.masks = speed, pitch, gain, equalizer, masks
        self.n_fft, self.hop_length, self.silence = n_fft, hop_length, math.log(floor)
        self._spectrum: dict[str, Any] = {
            "n_fft": n_fft,
            "hop_length": hop_length,
            "f_min": f_min,
            "f_max": f_max,
            "floor": floor,
        }
        self.mean, self.std = [0.0] * n_mels, [1.0] * n_mels

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames and bands of a window."""
        return (self.frames, self.n_mels)

    @cached_property
    def spectrogram(self) -> LogMelSpectrogram:
        """Samples -> frames."""
        from .mel import LogMelSpectrogram

        return LogMelSpectrogram(self.sample_rate, n_mels=self.n_mels, **self._spectrum)

    def preprocess_config(self) -> dict[str, Any]:
        """What decides the frames, without the windows and augmentation."""
        return {"sample_rate": self.sample_rate, "n_mels": self.n_mels, "trim": audio.SILENCE, **self._spectrum}

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the standard deviation of each band from at most 200 training cells."""
        if frames := self.preprocess_sample(cells):
            self.standardize(np.concatenate(frames), 0, min_std=0.1)

    def preprocess(self, cell: Any) -> Array:
        """The log-mel frames of a whole sound (T, n_mels)."""
        samples = self._load(cell)
        blocks = -(-self._count_frames(samples) // self.frames)
        return np.concatenate([self._compute_block(samples, number) for number in range(blocks)])

    def pieces(self, array: Array) -> list[Array]:
        """Frames (T, n_mels) -> windows (frames, n_mels)."""
        return [
            self._pad_window(array[number * self.frames : (number + 1) * self.frames], number)
            for number in range(count_windows(len(array), self.frames))
        ]

    def windows(self, cell: Any, max_windows: int | None = None) -> list[Array]:
        """The windows of a sound; only those returned are computed. See `Reader.windows`."""
        samples = self._load(cell)
        count = count_windows(self._count_frames(samples), self.frames)
        numbers = evenly_spaced(count, max_windows)
        return [self._pad_window(self._compute_block(samples, number), number) for number in numbers]

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: samples at `sample_rate`, from the frame on in which the sound begins."""
        from .front_end import WindowedSound

        return WindowedSound(self.spectrogram, self.frames)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: samples (1, N) from the frame on in which the sound begins."""
        return {"samples": self._load(cell)[None]}

    def tensor_blocks(
        self, cell: Any, in_pieces: bool = False, max_windows: int | None = None
    ) -> Iterator[dict[str, Array]]:
        """See `Reader.tensor_blocks`: a few windows of a long sound at a time, with the samples that they depend on."""
        margin = -(-self.n_fft // (2 * self.hop_length))  # frames that another frame overlaps with
        for element in self.elements(cell):
            tensors = self.tensors(element)
            samples = tensors["samples"]
            count = count_windows(self._count_frames(samples[0]), self.frames)
            numbers = evenly_spaced(count, max_windows)
            if count <= min(len(numbers), WINDOWS_IN_BLOCK):
                yield {**tensors, "starts": np.zeros(0, np.int64)}
                continue
            for block in consecutive(numbers, WINDOWS_IN_BLOCK):
                first = max(0, block[0] * self.frames - margin)
                last = (block[-1] + 1) * self.frames + margin
                cut = samples[:, first * self.hop_length : last * self.hop_length]
                yield {"samples": cut, "starts": np.array(block) * self.frames - first}

    def _load(self, cell: Any) -> Array:
        """The samples from the frame on in which the sound begins."""
        samples = audio.load(cell, self.sample_rate)
        return samples[audio.find_start(samples) // self.hop_length * self.hop_length :]

    def _count_frames(self, samples: Array) -> int:
        return 1 + len(samples) // self.hop_length

    def _compute_block(self, samples: Array, number: int) -> Array:
        """The frames of one window, or fewer at the end.

        Each window is computed alone and in one shape, so its bits do not depend on the other windows asked for, and a
        long sound needs no more memory than its samples.
        """
        import torch

        hop, half = self.hop_length, self.n_fft // 2
        first = number * self.frames * hop - half
        last = first + (self.frames - 1) * hop + self.n_fft
        cut = samples[max(0, first) : max(0, last)]
        block = np.pad(cut, (max(0, -first), last - max(0, first) - len(cut)))
        with torch.inference_mode():
            frames: Array = self.spectrogram(torch.from_numpy(block), center=False).numpy()
        return frames[: self._count_frames(samples) - number * self.frames]

    def _pad_window(self, block: Array, number: int) -> Array:
        if len(block) == self.frames:
            return block
        return self._place(block, 0 if number else (self.frames - len(block)) // 2)

    def _place(self, array: Array, start: int) -> Array:
        """A window with the frames of `array` from `start` on, and silence around them."""
        window = np.full((self.frames, array.shape[1]), self.silence, np.float32)
        visible = array[max(0, -start) : self.frames - start]
        window[max(0, start) : max(0, start) + len(visible)] = visible
        return window

    def augment(self, array: Array, rng: np.random.Generator) -> Array:
        """Windows of the frames (T, n_mels), changed at random: (frames * train_windows, n_mels)."""
        return np.concatenate([self._augment_window(array, rng) for _ in range(self.train_windows)])

    def _augment_window(self, array: Array, rng: np.random.Generator) -> Array:
        """One window (frames, n_mels) of the frames (T, n_mels), changed at random."""
        if self.speed:
            array = self._stretch(array, 1 + rng.uniform(-self.speed, self.speed))
        spare = self.frames - len(array)
        if spare >= 0:
            start = spare // 2 + (int(rng.integers(-self.shift, self.shift + 1)) if self.shift else 0)
        else:
            start = -int(rng.integers(0, -spare + 1))
        window = self._place(array, start)
        if self.pitch:
            window = self._transpose(window, rng.uniform(-self.pitch, self.pitch))
        if self.gain or self.equalizer:
            bands = np.linspace(0, np.pi, self.n_mels)
            curve = sum(rng.normal() * np.cos(wave * bands) for wave in (1, 2, 3)) * self.equalizer / 2
            decibels = curve + rng.uniform(-self.gain, self.gain)
            window = np.maximum(window + (decibels * np.log(10) / 10).astype(np.float32), self.silence)
        for _ in range(self.masks):
            for axis, length in enumerate(window.shape):
                width = int(rng.integers(0, length // 8 + 1))
                begin = int(rng.integers(0, length - width + 1))
                stripe = (slice(begin, begin + width), slice(None))
                window[stripe if axis == 0 else stripe[::-1]] = np.asarray(self.mean, np.float32).mean()
        return window

    @staticmethod
    def _stretch(array: Array, factor: float) -> Array:
        length = max(1, round(len(array) / factor))
        return _interpolate(array, np.minimum(np.arange(length) * factor, len(array) - 1))

    @staticmethod
    def _transpose(window: Array, bands: float) -> Array:
        count = window.shape[1]
        return np.ascontiguousarray(_interpolate(window.T, np.clip(np.arange(count) - bands, 0, count - 1)).T)


def _interpolate(array: Array, positions: Array) -> Array:
    """The rows of an array (N, M) at fractional positions (K,), linearly interpolated: (K, M)."""
    low = positions.astype(np.int64)
    share = (positions - low).astype(np.float32)[:, None]
    return np.asarray(array[low] * (1 - share) + array[np.minimum(low + 1, len(array) - 1)] * share)
