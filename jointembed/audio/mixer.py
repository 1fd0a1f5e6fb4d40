"""Blocks of samples of any type and layout -> mono samples at another rate, in little memory."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .streams import BLOCK

_SILENCE = 10 ** (-70 / 20)
_ROOM = 3600.0  # seconds to make room for at once, however many a header promises


def mix(block: NDArray[Any], out: NDArray[np.float32]) -> None:
    """The mean of the channels of float or integer samples (N, channels), as a share of full scale, into `out` (N,).

    Full scale is a power of two, so that it does not matter for the bits whether it is divided by before or after.
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
    """Blocks (n, channels) in, mono samples at another rate out; memory for the result and one block.

    The resampler's result does not depend on how its input is cut, so that a WAV and a FLAC file give equal bits.
    """

    def __init__(self, own: int, rate: int, expected: float, times: dict[str, float], left: bool) -> None:
        self.stream, self.times, self.left = None, times, left
        if own != rate:
            import soxr

            self.stream = soxr.ResampleStream(own, rate, 1, dtype="float32", quality="HQ")
        self.block, self.first = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
        self.fill = self.frames = self.length = 0
        self.out = np.empty(int(min(expected, _ROOM) * rate) + BLOCK, np.float32)
        self.silent = True
        self.cancelled = False  # the channels are loud but their mean is not

    def add(self, data: NDArray[Any]) -> None:
        self.frames += len(data)
        if self.left:
            data = data[:, :1]
        while len(data):
            part, data = data[: BLOCK - self.fill], data[BLOCK - self.fill :]
            end = self.fill + len(part)
            start = perf_counter()
            mix(part, self.block[self.fill : end])
            if self.silent and part.shape[1] > 1:
                mix(part[:, :1], self.first[self.fill : end])
            self.times["mono"] += perf_counter() - start
            self.fill = end
            if end == BLOCK:
                self._flush(part.shape[1])

    def _flush(self, channels: int, last: bool = False) -> None:
        block = self.block[: self.fill]
        if self.silent and self.fill:
            self.silent = _quiet(block)
            self.cancelled |= self.silent and channels > 1 and not _quiet(self.first[: self.fill])
        start = perf_counter()
        done = block if self.stream is None else self.stream.resample_chunk(block, last=last)
        end = self.length + len(done)
        if end > len(self.out):
            self.out.resize(max(end, len(self.out) * 3 // 2), refcheck=False)
        self.out[self.length : end] = done
        self.length, self.fill = end, 0
        self.times["resample"] += perf_counter() - start

    def finish(self, channels: int) -> NDArray[np.float32]:
        self._flush(channels, last=True)
        self.out.resize(self.length, refcheck=False)
        return self.out


def _quiet(block: NDArray[np.float32]) -> bool:
    return bool(np.std(block, dtype=np.float64) < _SILENCE)  # about the mean: an offset is no sound; NaN is loud
