"""A sound file -> mono float32 samples at the rate that is asked for."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .formats import FIX, Head, Undecodable, look
from .mixer import Mixer, mix
from .streams import Stream, Unknown, openers

__all__ = ["Samples", "Sound", "Undecodable", "decode", "mono", "read", "resample", "samples", "version"]

Samples = NDArray[np.float32]
_LONGEST = 12 * 3600.0
_SHORTEST = 0.5
_PARTIAL = 5.0  # seconds that a part of a sound must have to be worth its place
_PATIENCE = 3600.0  # seconds of silence after which no sound is waited for: hours of it make a tiny file
_EXACT = {"wav", "aiff", "flac", "mp3"}  # their headers count the samples; others' may promise 0.1 s too many


@dataclass(frozen=True)
class Sound:
    """A decoded file.

    Args:
        samples: (N,) mono float32 at the rate that was asked for.
        seconds: length as decoded.
        claimed: seconds that the header promises; 0 where it promises none.
        partial: something is missing: the end, or packets that could not be decoded.
        own_rate: the file's own rate, in Hz.
        channels: the number of its channels.
        format: wav, flac, mp3, vorbis, opus, aac and so on.
        times: seconds spent in read, decode, mono and resample.
        silent: nothing in it is louder than -70 dBFS (RMS about its mean).
    """

    samples: Samples
    seconds: float
    claimed: float
    partial: bool
    own_rate: int
    channels: int
    format: str
    times: dict[str, float]
    silent: bool = False


def mono(samples: NDArray[Any]) -> Samples:
    """The mean of the channels of (N,) or (N, channels) samples.

    The channels are added one by one: numpy's own mean over so short an axis takes twenty times as long, and its
    rounding depends on the memory layout.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 1:
        return samples
    out = np.empty(len(samples), np.float32)
    mix(samples, out)
    return out


def resample(samples: Samples, rate: int, wanted: int) -> Samples:
    """Change the rate, in Hz, with soxr's HQ filter (no audible alias: -143 dB at 44.1 -> 22.05 kHz)."""
    if rate == wanted:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"), np.float32)


def decode(path: str | bytes | Path, rate: int, limit_seconds: float = _LONGEST) -> Sound:
    """Decode a file of a catalogue by its content, not its name, to mono samples at `rate` Hz.

    Stereo is mixed to the mean of the channels; where they cancel out, the left one is taken. A part of a sound is kept
    if it is at least 5 s long and half of what the header claims.

    Raises:
        Undecodable: the file cannot be used; its `reason` is a code.
    """
    subject = _printable(path)
    sound = _decode(path, rate, limit_seconds)
    if sound.partial and (sound.seconds < _PARTIAL or sound.seconds < sound.claimed / 2):
        claim = f" of the {sound.claimed:.1f} s that it claims" if sound.claimed else ""
        raise Undecodable(subject, f"only {sound.seconds:.1f} s{claim} can be decoded", FIX, "truncated")
    if sound.seconds < _SHORTEST:
        raise Undecodable(subject, f"it lasts {sound.seconds:.3f} s, less than {_SHORTEST}", FIX, "too-short")
    if sound.silent:
        raise Undecodable(subject, "it is silent: nothing is louder than -70 dBFS", FIX, "silent")
    return sound


def read(path: str | Path, rate: int) -> Samples:
    """Decode a file by its content, not its name, to mono samples (N,) in [-1, 1] at `rate` Hz.

    wav, flac, ogg, opus, aiff, au and mp3 by soundfile or PyAV, whichever is faster; m4a, aac, webm, wma and so on by
    PyAV. A sound may be short or silent, and of a cut file what is there is given.

    Raises:
        UsageError: there is no such file.
        Undecodable: the file holds no sound that can be decoded.
    """
    if not Path(path).is_file():
        raise UsageError(path, "there is no such sound file", "correct the path, or put the file there")
    return _decode(path, rate, _LONGEST).samples


def _printable(path: str | bytes | Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _opened(path: str | bytes | Path, subject: str) -> Iterator[tuple[int, int]]:
    """A regular file's handle and size in bytes; a pipe or a device is refused and never waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(subject, error) from error
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise Undecodable(subject, "it is no regular file")
        if not before.st_size:
            raise Undecodable(subject, "it is empty", FIX, "empty")
        yield handle, before.st_size
        after = os.fstat(handle)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise Undecodable(subject, "it changed while it was read", "run the command again")
    except OSError as error:
        raise _unreadable(subject, error) from error
    finally:
        os.close(handle)


def _unreadable(subject: str, error: Exception) -> Undecodable:
    wrong = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
    return Undecodable(subject, wrong, "make it readable or leave it out")


def _decode(path: str | bytes | Path, rate: int, limit: float) -> Sound:
    subject = _printable(path)
    start = perf_counter()
    best: Sound | None = None
    why: list[tuple[str, ...]] = []
    with _opened(path, subject) as (handle, size), np.errstate(all="ignore"):
        head = look(handle, size, subject)
        for opener in openers(head):
            try:
                found = _collect(opener, handle, head, rate, limit, subject, start)
            except Unknown as error:
                why.append(error.args)
                continue
            except Undecodable:
                if best is None:
                    raise
                break
            if best is not None and found.claimed:
                found = replace(found, partial=True)  # this one stepped over what the other one met
            if best is None or not found.partial or found.seconds > best.seconds:
                best = found
            if not best.partial:
                break  # else the other decoder may finish what this one gave up on
        finite = best is None or bool(np.isfinite(np.dot(best.samples, best.samples)))
    if best is None:
        wrong = " ".join(f"it cannot be decoded as sound ({'; '.join(words for words, *_ in why)})".split())
        reason = next((code for _, *codes in why for code in codes), "bad-format" if head.format else "no-audio")
        raise Undecodable(subject, wrong, FIX, reason)
    if not best.seconds:
        reason = "truncated" if best.partial and best.claimed else "no-audio"
        raise Undecodable(subject, "it holds no samples", FIX, reason)
    if not finite:
        raise Undecodable(subject, "it holds samples that are not finite", FIX, "non-finite")
    return best


def _collect(
    opener: Any, handle: int, head: Head, rate: int, limit: float, subject: str, start: float, left: bool = False
) -> Sound:
    """All samples of a file by one decoder; of the left channel only, if asked for."""
    times = dict.fromkeys(("read", "decode", "mono", "resample"), 0.0)
    stream: Stream
    with opener(handle, head, subject) as stream:
        long = Undecodable(subject, f"it is longer than {limit / 3600:.4g} hours", "cut it into pieces", "too-long")
        if stream.expected > limit:
            raise long
        mixer = Mixer(stream.rate or rate, rate, stream.expected, times, left)
        begun = perf_counter()
        times["read"] = begun - start
        for block in stream.blocks:
            mixer.add(block)
            if mixer.frames > limit * stream.rate:
                raise long
            if mixer.silent and not mixer.cancelled and mixer.frames > _PATIENCE * stream.rate:
                raise Undecodable(subject, "it begins with an hour of silence", FIX, "silent")
        samples = mixer.finish(stream.channels)
        times["decode"] = perf_counter() - begun - times["mono"] - times["resample"]
    if mixer.silent and mixer.cancelled and not left:
        return _collect(opener, handle, head, rate, limit, subject, start, left=True)
    seconds = mixer.frames / stream.rate if mixer.frames else 0.0
    exact = head.format in _EXACT and stream.claimed > 0
    short = seconds < stream.claimed - (0.02 if exact else 0.1)
    # Behind the last sample that the header counts there may be anything: tags of old kinds, padding.
    partial = head.cut or short or (stream.broken and not exact)
    return Sound(
        samples, seconds, stream.claimed, partial, stream.rate, stream.channels, stream.format, times, mixer.silent
    )


def samples(cell: Any, rate: int) -> Samples:
    """The samples (N,) of whatever may stand for a sound: a path, an array at `rate`, or {"array", "sampling_rate"}.

    An array is (N,), (N, channels) or (channels, N): the longer side is time.

    Raises:
        UsageError: the cell is none of these.
    """
    if isinstance(cell, str | Path):
        return read(cell, rate)
    own = rate
    if isinstance(cell, Mapping):
        if "array" not in cell or "sampling_rate" not in cell:
            raise UsageError(
                "sound", f"a dict with {sorted(cell)} is no sound", 'give {"array": ..., "sampling_rate": Hz}'
            )
        cell, own = cell["array"], int(cell["sampling_rate"])
    array = np.asarray(cell)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise UsageError(
            "sound", f"{type(cell).__name__} is no sound", "give a path, an array, or a dict with array and rate"
        )
    if array.dtype.kind in "iu":
        array = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max + 1.0)
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    return resample(mono(array), own, rate)


def version() -> str:
    """The decoders and their versions: a file that one of them gave up may be read by another."""
    import soundfile

    try:
        import av
    except ImportError:
        return f"libsndfile {soundfile.__libsndfile_version__}"
    return f"libsndfile {soundfile.__libsndfile_version__}, av {av.__version__}"
