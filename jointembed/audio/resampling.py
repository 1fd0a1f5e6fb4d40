"""Samples of any type and layout -> mono float32 samples at another rate, also block by block in little memory."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .streams import BLOCK

Samples = NDArray[np.float32]
SILENCE = 10 ** (-70 / 20)  # -70 dBFS, as a share of full scale
MAX_SECONDS_ALLOCATED = 3600.0  # at once, whatever length a header claims


def to_mono(samples: NDArray[Any]) -> Samples:
    """The mean of the channels of (N,) or (N, channels) samples.

    The channels are added one at a time: numpy's own mean over an axis this short takes twenty times as long, and its
    rounding depends on the memory layout.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    out = np.empty(len(samples), np.float32)
    mix(samples, out)
    return out


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    """Change the rate, in Hz, with soxr's HQ filter (no audible alias: -143 dB from 44.1 to 22.05 kHz)."""
    if rate == new_rate:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate, new_rate, quality="HQ"), np.float32)


def find_start(samples: Samples) -> int:
    """The position of the first sample louder than -70 dBFS; 0 in a silent sound."""
    for start in range(0, len(samples), BLOCK):
        loud = np.abs(samples[start : start + BLOCK]) > SILENCE
        if loud.any():
            return start + int(loud.argmax())
    return 0


def mix(block: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Write the mean of the channels of float or integer samples (N, channels) to `out` (N,), full scale being 1.

    Full scale is a power of two, so dividing by it before or after gives the same bits.
    """
    np.copyto(out, block[:, 0], casting="same_kind")
    channels = block.shape[1]
    for channel in range(1, channels):
        np.add(out, block[:, channel], out=out, dtype=np.float32, casting="same_kind")
    scale = channels
    if block.dtype.kind in "iu":
        full = 1 << (8 * block.dtype.itemsize - 1)
        if block.dtype.kind == "u":
            out -= np.float32(full * channels)
        scale *= full
    if scale != 1:
        out *= np.float32(1 / scale)


class Mixer:
    """Downmix and resample a sound block by block; needs memory for the result and one block.

    The result of the resampler does not depend on the size of its blocks, so a WAV and a FLAC file give equal bits.

    Args:
        source_rate: sample rate of the blocks (n, channels), in Hz.
        rate: sample rate of the result, in Hz.
        expected: length of the sound in seconds, 0 if unknown.
        times: the seconds spent in `mono` and `resample` are added to it.
        left_only: whether to take only the left channel.
    """

    def __init__(self, source_rate: int, rate: int, expected: float, times: dict[str, float], left_only: bool) -> None:
        self.resampler, self.times, self.left_only = None, times, left_only
        if source_rate != rate:
            import soxr

            self.resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
        self.block, self.left_block = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
        self.fill = self.frames = self.length = 0
        self.out = np.empty(int(min(expected, MAX_SECONDS_ALLOCATED) * rate) + BLOCK, np.float32)
        self.silent = True
        self.cancelled = False  # the channels are loud but their mean is not

    def add(self, data: NDArray[Any]) -> None:
        """Add a block (n, channels)."""
        self.frames += len(data)
        if self.left_only:
            data = data[:, :1]
        while len(data):
            part, data = data[: BLOCK - self.fill], data[BLOCK - self.fill :]
            end = self.fill + len(part)
            start = perf_counter()
            mix(part, self.block[self.fill : end])
            if self.silent and part.shape[1] > 1:
                mix(part[:, :1], self.left_block[self.fill : end])
            self.times["mono"] += perf_counter() - start
            self.fill = end
            if end == BLOCK:
                self._flush(part.shape[1])

    def _flush(self, channels: int, last: bool = False) -> None:
        block = self.block[: self.fill]
        if self.silent and self.fill:
            self.silent = _is_quiet(block)
            self.cancelled |= self.silent and channels > 1 and not _is_quiet(self.left_block[: self.fill])
        start = perf_counter()
        mono = block if self.resampler is None else self.resampler.resample_chunk(block, last=last)
        end = self.length + len(mono)
        if end > len(self.out):
            self.out.resize(max(end, len(self.out) * 3 // 2), refcheck=False)
        self.out[self.length : end] = mono
        self.length, self.fill = end, 0
        self.times["resample"] += perf_counter() - start

    def finish(self, channels: int) -> Samples:
        """The mono samples (N,) of all blocks."""
        self._flush(channels, last=True)
        self.out.resize(self.length, refcheck=False)
        return self.out


def _is_quiet(block: NDArray[np.float32]) -> bool:
    return bool(np.std(block, dtype=np.float64) < SILENCE)  # about the mean: an offset is inaudible; NaN is loud
