"""A sound file -> mono float32 samples at the rate that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged, Usage

Samples = NDArray[np.float32]


def mono(samples: NDArray[Any]) -> Samples:
    """The mean of the channels of (N,) or (N, channels) samples.

    Two channels are added and halved: numpy's own mean over so short an axis takes twenty times as long.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    if samples.shape[1] == 2:
        return np.asarray((samples[:, 0] + samples[:, 1]) * np.float32(0.5))
    return np.ascontiguousarray(samples.mean(1, dtype=np.float32))


def resample(samples: Samples, rate: int, wanted: int) -> Samples:
    """Change the rate, in Hz, with soxr's HQ filter (no audible alias: -143 dB at 44.1 -> 22.05 kHz)."""
    if rate == wanted:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"), np.float32)


def read(path: str | Path, rate: int) -> Samples:
    """Decode a file by its content, not its name, to mono samples (N,) in [-1, 1] at `rate` Hz.

    wav, flac, ogg, aiff, au and mp3 by soundfile; what that does not know (m4a, aac, webm, wma) by PyAV.

    Raises:
        Usage: there is no such file.
        Damaged: the file holds no sound that can be decoded.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise Usage(path, "there is no such sound file", "correct the path, or put the file there")
    try:
        samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        samples, own = _read_av(path, error)
    if not len(samples):
        raise Damaged(path, "it holds no samples", "replace the file or leave it out of the table")
    if not np.isfinite(samples).all():
        raise Damaged(path, "it holds samples that are not finite", "replace the file or leave it out of the table")
    return resample(mono(samples), own, rate)


def _read_av(path: Path, first: Exception) -> tuple[NDArray[Any], int]:
    # The wheel bundles many codecs and takes a while to import: only files that need it pay for it.
    import av

    frames: list[NDArray[Any]] = []
    own = 0
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.audio:
                raise ValueError("no audio stream")
            stream = container.streams.audio[0]
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.FFmpegError:
                    continue  # one bad packet must not cost the rest of the file
                for frame in decoded:
                    own = frame.sample_rate
                    frames.append(_planar(frame))
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = " ".join(str(first).split()).removeprefix(f"Error opening '{path}': ")
        raise Damaged(path, f"it cannot be decoded as sound ({reason})", "replace the file or leave it out") from error
    return (np.concatenate(frames) if frames else np.zeros((0, 1), np.float32)), own or 1


def _planar(frame: Any) -> NDArray[Any]:
    """One decoded frame as float32 samples (N, channels).

    PyAV's own mono downmix is 3 dB louder than the mean of the channels, so the frame is taken as it is.
    """
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, len(frame.layout.channels)).T
    if data.dtype.kind == "f":
        return np.asarray(data.T, np.float32)
    if data.dtype == np.uint8:
        return np.asarray((data.T.astype(np.float32) - 128) / 128)
    return np.asarray(data.T.astype(np.float32) / np.float32(-float(np.iinfo(data.dtype).min)))


def samples(cell: Any, rate: int) -> Samples:
    """The samples (N,) of whatever may stand for a sound: a path, an array at `rate`, or {"array", "sampling_rate"}.

    An array is (N,), (N, channels) or (channels, N): the longer side is time.

    Raises:
        Usage: the cell is none of these.
    """
    if isinstance(cell, str | Path):
        return read(cell, rate)
    own = rate
    if isinstance(cell, Mapping):
        if "array" not in cell or "sampling_rate" not in cell:
            raise Usage("sound", f"a dict with {sorted(cell)} is no sound", 'give {"array": ..., "sampling_rate": Hz}')
        cell, own = cell["array"], int(cell["sampling_rate"])
    array = np.asarray(cell)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise Usage(
            "sound", f"{type(cell).__name__} is no sound", "give a path, an array, or a dict with array and rate"
        )
    if array.dtype.kind in "iu":
        array = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max + 1.0)
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    return resample(mono(array), own, rate)
