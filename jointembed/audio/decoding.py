"""A sound file -> mono float32 samples at a given rate."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..values import is_content, to_plain
from .formats import FIX, Header, Undecodable, open_for_reading, sniff
from .resampling import Mixer, Samples
from .streams import Opener, UnknownFormatError, openers

MAX_SECONDS = 12 * 3600.0
MIN_SECONDS = 0.5
MIN_SECONDS_OF_PARTIAL = 5.0
MAX_SECONDS_OF_SILENCE = 3600.0  # at the beginning; hours of silence make a tiny file
COPIED_BYTES = 1 << 20  # at a time
CHECKED_FORMATS = {"flac"}  # with checksums in each frame, so that none is passed over
EXACT_FORMATS = {"wav", "aiff", "flac", "mp3"}  # their headers count samples; others may claim up to 0.1 s too many


@dataclass(frozen=True)
class Sound:
    """A decoded file.

    Args:
        samples: (N,) mono float32 at the requested rate.
        seconds: the length as decoded.
        claimed: the length in seconds by the header; 0 if it gives none.
        partial: whether the end, or packets in between, are missing.
        source_rate: the rate of the file, in Hz.
        channels: the number of channels of the file.
        format: wav, flac, mp3, vorbis, opus, aac and so on.
        times: seconds spent in read, decode, mono and resample.
        silent: whether nothing in it is louder than -70 dBFS (RMS about its mean).
    """

    samples: Samples
    seconds: float
    claimed: float
    partial: bool
    source_rate: int
    channels: int
    format: str
    times: dict[str, float]
    silent: bool = False


def decode(
    path: str | bytes | Path,
    rate: int,
    limit_seconds: float = MAX_SECONDS,
    start: float = 0.0,
    end: float | None = None,
) -> Sound:
    """Decode a file for an index by its content, not its name, to mono samples at `rate` Hz.

    Stereo is mixed to the mean of the channels; if they cancel out, the left one is used. A partial sound is accepted
    if it has at least 5 s and half of the length in the header. Of a part from `start` to `end`, in seconds, the length
    is counted as if it were the file.

    Raises:
        Undecodable: the file cannot be used; its `reason` is a code.
    """
    subject = _printable(path)
    sound = _decode(path, rate, limit_seconds, start, end)
    if sound.partial and (sound.seconds < MIN_SECONDS_OF_PARTIAL or sound.seconds < sound.claimed / 2):
        claim = f" of the {sound.claimed:.1f} s that it claims" if sound.claimed else ""
        raise Undecodable(subject, f"only {sound.seconds:.1f} s{claim} can be decoded", FIX, "truncated")
    if sound.seconds < MIN_SECONDS:
        raise Undecodable(subject, f"it lasts {sound.seconds:.3f} s, less than {MIN_SECONDS}", FIX, "too-short")
    if sound.silent:
        raise Undecodable(subject, "it is silent: nothing is louder than -70 dBFS", FIX, "silent")
    return sound


def read(path: str | Path, rate: int) -> Samples:
    """Decode a file to mono samples (N,) in [-1, 1] at `rate` Hz; see `read_sound`."""
    return read_sound(path, rate).samples


def read_sound(path: str | Path, rate: int) -> Sound:
    """Decode a file by its content, not its name, to mono samples at `rate` Hz, and what is known of them.

    soundfile or PyAV, whichever is faster, reads wav, flac, ogg, opus, aiff, au and mp3; PyAV reads m4a, aac, webm, wma
    and so on. The sound may be short or silent; a truncated file gives the part that it has.

    Raises:
        UsageError: the file does not exist.
        Undecodable: the file has no sound that can be decoded.
    """
    if not os.path.isfile(path):
        raise UsageError(path, "the sound file does not exist", "correct the path, or put the file there")
    return _decode(path, rate, MAX_SECONDS)


def _printable(path: str | bytes | Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _open(path: str | bytes | Path, subject: str) -> Iterator[tuple[int, int]]:
    """The descriptor and size in bytes of a regular file; a pipe or device is refused without waiting for it."""
    try:
        descriptor = open_for_reading(path)
    except (OSError, ValueError) as error:
        raise _unreadable(subject, error) from error
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise Undecodable(subject, "it is not a regular file")
        if not before.st_size:
            raise Undecodable(subject, "the file is empty", FIX, "empty")
        yield descriptor, before.st_size
        after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise Undecodable(subject, "the file was changed while it was read", "run the command again")
    except OSError as error:
        raise _unreadable(subject, error) from error
    finally:
        os.close(descriptor)


def _unreadable(subject: str, error: Exception) -> Undecodable:
    problem = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
    return Undecodable(subject, problem, "make it readable or leave it out")


def _decode(path: str | bytes | Path, rate: int, limit: float, start: float = 0.0, end: float | None = None) -> Sound:
    """Decode a file, and those that are joined to it one after the other; of a part, only the first file."""
    subject = _printable(path)
    begin = perf_counter()
    with _open(path, subject) as (descriptor, size), np.errstate(all="ignore"):
        header = sniff(descriptor, size, subject)
        if not header.joined or start or end is not None:
            return _decode_file(descriptor, header, rate, limit, subject, begin, start, end)
        sounds: list[Sound] = []
        refusals: list[Undecodable] = []
        for first, last in itertools.pairwise([0, *header.joined, size]):
            with tempfile.TemporaryFile() as part:
                _copy(descriptor, first, last, part)
                try:
                    header = replace(sniff(part.fileno(), last - first, subject), joined=())
                    left = limit - sum(sound.seconds for sound in sounds)
                    sounds.append(_decode_file(part.fileno(), header, rate, left, subject, perf_counter(), 0.0, None))
                except Undecodable as error:
                    if error.reason == "too-long":
                        raise
                    refusals.append(error)
    if not sounds:
        raise refusals[0]
    return replace(
        sounds[0],
        samples=np.concatenate([sound.samples for sound in sounds]),
        seconds=sum(sound.seconds for sound in sounds),
        claimed=sum(sound.claimed for sound in sounds),
        partial=bool(refusals) or any(sound.partial for sound in sounds),
        times={name: sum(sound.times[name] for sound in sounds) for name in sounds[0].times},
        silent=all(sound.silent for sound in sounds),
    )


def _copy(descriptor: int, first: int, last: int, part: IO[bytes]) -> None:
    """Copy the bytes of a file from `first` to `last`."""
    os.lseek(descriptor, first, os.SEEK_SET)
    while first < last and (block := os.read(descriptor, min(COPIED_BYTES, last - first))):
        part.write(block)
        first += len(block)
    part.flush()


def _decode_file(
    descriptor: int,
    header: Header,
    rate: int,
    limit: float,
    subject: str,
    begin: float,
    start: float,
    end: float | None,
) -> Sound:
    """Decode with the first decoder that can; where a part is missing, with the other too, and keep the longer result.

    Such a sound stays partial, as a decoder that finds nothing amiss may have passed over what stopped the other; but
    not one without a length in its header, in a format with checksums.
    """
    best: Sound | None = None
    refusals: list[UnknownFormatError] = []
    for opener in openers(header):
        try:
            sound = _collect(opener, descriptor, header, rate, limit, subject, begin, start, end)
        except UnknownFormatError as error:
            refusals.append(error)
            continue
        except Undecodable:
            if best is None:
                raise
            break
        if best is None:
            best = sound
        elif sound.seconds > best.seconds:
            checked = header.format in CHECKED_FORMATS and not sound.claimed
            best = replace(sound, partial=sound.partial or not checked)
        if not best.partial:
            break
    if best is None:
        words = "; ".join(str(error) for error in refusals)
        problem = " ".join(f"it cannot be decoded as sound ({words})".split())
        reason = next(
            (error.reason for error in refusals if error.reason), "bad-format" if header.format else "no-audio"
        )
        raise Undecodable(subject, problem, FIX, reason)
    if not best.seconds:
        reason = "truncated" if best.partial and best.claimed else "no-audio"
        raise Undecodable(subject, "it holds no samples", FIX, reason)
    if not np.isfinite(np.dot(best.samples, best.samples)):
        raise Undecodable(subject, "it holds samples that are not finite", FIX, "non-finite")
    return best


def _collect(
    opener: Opener,
    descriptor: int,
    header: Header,
    rate: int,
    limit: float,
    subject: str,
    begin: float,
    start: float,
    end: float | None,
    left: bool = False,
) -> Sound:
    """The samples from `start` to `end` of a file by one decoder, optionally of the left channel alone."""
    times = dict.fromkeys(("read", "decode", "mono", "resample"), 0.0)
    with opener(descriptor, header, subject) as stream:
        problem = f"it is longer than {limit / 3600:.4g} hours"
        too_long = Undecodable(subject, problem, "cut it into pieces", "too-long")
        lengths = [min(length, length if end is None else end) - start for length in (stream.expected, stream.claimed)]
        expected, claimed = (max(0.0, length) for length in lengths)
        if expected > limit:
            raise too_long
        mixer = Mixer(stream.rate or rate, rate, expected, times, left)
        opened = perf_counter()
        times["read"] = opened - begin
        for block in stream.cut(start, end):
            mixer.add(block)
            if mixer.frames > limit * stream.rate:
                raise too_long
            if mixer.silent and not mixer.cancelled and mixer.frames > MAX_SECONDS_OF_SILENCE * stream.rate:
                raise Undecodable(subject, "it begins with an hour of silence", FIX, "silent")
        samples = mixer.finish(stream.channels)
        times["decode"] = perf_counter() - opened - times["mono"] - times["resample"]
    if mixer.silent and mixer.cancelled and not left:
        return _collect(opener, descriptor, header, rate, limit, subject, begin, start, end, left=True)
    seconds = mixer.frames / stream.rate if mixer.frames else 0.0
    exact = header.format in EXACT_FORMATS and claimed > 0
    short = seconds < claimed - (0.02 if exact else 0.1)
    # Anything may follow the last sample that the header counts: tags of old kinds, padding.
    partial = (header.cut and end is None) or short or stream.changed or (stream.broken and not exact)
    return Sound(samples, seconds, claimed, partial, stream.rate, stream.channels, stream.format, times, mixer.silent)


def load(cell: Any, rate: int) -> Samples:
    """The samples (N,) of a cell: a path, the bytes of a file, an array at `rate`, {"array", "sampling_rate"} or such.

    An array is (N,), (N, channels) or (channels, N): the longer side is time. Such also are {"bytes", "path"}, and an
    object with `get_all_samples`, as `datasets` and torchcodec give them. A sound has the same samples in any form.

    Raises:
        UsageError: the cell is anything else.
        Undecodable: the bytes hold nothing that can be decoded.
    """
    if is_content(cell):
        cell = cell["bytes"] or cell["path"]
    if isinstance(cell, str | Path):
        return read(cell, rate)
    if isinstance(cell, bytes):
        return _read_bytes(cell, rate)
    array, source_rate = _array_of(cell, rate)
    times = dict.fromkeys(("mono", "resample"), 0.0)
    for left_only in (False, True):
        mixer = Mixer(source_rate, rate, len(array) / source_rate, times, left_only)
        mixer.add(array)
        samples = mixer.finish(array.shape[1])
        if not (mixer.silent and mixer.cancelled):
            break
    return samples


def _read_bytes(content: bytes, rate: int) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        path.write_bytes(content)
        try:
            return read(path, rate)
        except Undecodable as error:
            raise Undecodable("sound", error.problem, error.fix, error.reason) from error


def _array_of(cell: Any, rate: int) -> tuple[NDArray[Any], int]:
    """The samples (N, channels) of a sound in memory, and their rate, which is `rate` of an array alone."""
    if is_decoder(cell):
        cell = decode_all(cell)
    if isinstance(cell, Mapping):
        if "array" not in cell or "sampling_rate" not in cell:
            fix = 'give {"array": ..., "sampling_rate": Hz}'
            raise UsageError("sound", f"a dict with {sorted(cell)} is not a sound", fix)
        cell, rate = cell["array"], int(cell["sampling_rate"])
    array = np.asarray(to_plain(cell))
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        fix = "give a path, an array, or a dict with array and sampling_rate"
        raise UsageError("sound", f"{type(cell).__name__} is not a sound", fix)
    if not np.isfinite(array).all():
        raise UsageError("sound", "some of its samples are not finite", "correct the array, or leave it out")
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    return array if array.dtype.kind in "iu" else array.astype(np.float32), rate


def is_decoder(cell: object) -> bool:
    """Whether a cell decodes a sound when it is asked to, like torchcodec's `AudioDecoder`."""
    return hasattr(cell, "get_all_samples")


def decode_all(decoder: Any) -> dict[str, Any]:
    """The samples (channels, N) of a decoder and their rate, as {"array", "sampling_rate"}."""
    samples = decoder.get_all_samples()
    return {"array": np.asarray(to_plain(samples.data)), "sampling_rate": int(samples.sample_rate)}


def to_wav(cell: Any) -> bytes:
    """The content of a WAV file, of 32-bit floats, that is read as the same sound as a cell in memory; see `load`."""
    import soundfile

    array, rate = _array_of(cell, 0)
    if array.dtype.kind in "iu":
        array = array / np.float32(np.iinfo(array.dtype).max + 1.0)
    file = io.BytesIO()
    soundfile.write(file, array, rate, "FLOAT", format="WAV")
    return file.getvalue()


def decoder_version() -> str:
    """The decoders and their versions: a file that one version refused may be read by another."""
    import soundfile

    try:
        import av
    except ImportError:
        return f"libsndfile {soundfile.__libsndfile_version__}"
    return f"libsndfile {soundfile.__libsndfile_version__}, av {av.__version__}"
