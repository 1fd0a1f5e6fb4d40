"""Two decoders, soundfile and PyAV, which both yield blocks of samples as they are in the file."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import Header, check_bounds

BLOCK = 1 << 16
PYAV_FIRST = {"vorbis", "opus", "aac", "mp4"}  # PyAV is faster for these, or the only decoder
PYAV_FORMATS = (  # without playlists, which make a decoder open other files
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,"
    "mpc,mpc8,mpeg,mpegts,oga,ogg,rm,shn,spdif,tak,tta,voc,w64,wav,wv,xwma"
)
SEEKABLE_FORMATS = {"wav", "aiff", "flac"}  # libsndfile finds any sample of them exactly
FORMATS_WITHOUT_LENGTH = {"mp3", "aac", "ac3", "eac3", "dts", "mpeg", "mpegts", "amr"}  # in their headers


class UnknownFormatError(Exception):
    """This decoder cannot read the file; `reason` is a code, or ""."""

    def __init__(self, problem: str, reason: str = "") -> None:
        super().__init__(problem)
        self.reason = reason


@dataclass
class Stream:
    """An open sound.

    Args:
        format: its name, in lower case.
        rate: in Hz.
        channels: the number of channels.
        claimed: the length in seconds by the header, 0 if it gives none.
        expected: the length in seconds that the decoder expects, 0 if unknown.
        blocks: arrays (N, channels) of float or integer samples.
        broken: whether a part could not be decoded; valid once the blocks are exhausted.
        changed: whether a part has another rate or number of channels, and is left out; likewise.
        seek: makes the blocks begin with the sample of a number, without decoding those before; None if it cannot.
    """

    format: str
    rate: int
    channels: int
    claimed: float
    expected: float
    blocks: Iterator[NDArray[Any]] = field(default_factory=lambda: iter(()))
    broken: bool = False
    changed: bool = False
    seek: Callable[[int], None] | None = None

    def cut(self, start: float, end: float | None) -> Iterator[NDArray[Any]]:
        """The blocks from `start` to `end`, in seconds; to the end of the sound if it is None."""
        first, last = round(start * self.rate), None if end is None else round(end * self.rate)
        position = 0
        if first and self.seek is not None:
            self.seek(first)
            position = first
        for block in self.blocks:
            part = block[max(0, first - position) : None if last is None else max(0, last - position)]
            position += len(block)
            if len(part):
                yield part
            if last is not None and position >= last:
                return


Opener = Callable[[int, Header, object], contextlib.AbstractContextManager[Stream]]


def openers(header: Header) -> list[Opener]:
    """The decoders for a file, the best one first."""
    # libsndfile guesses the end of an MP3 without a length in its header, and may lose a third of the sound.
    guessed = header.format == "mp3" and header.claimed == 0
    pyav_first = guessed or header.format in PYAV_FIRST
    return [open_with_pyav, open_with_soundfile] if pyav_first else [open_with_soundfile, open_with_pyav]


@contextlib.contextmanager
def open_with_soundfile(descriptor: int, header: Header, subject: object) -> Iterator[Stream]:
    """Open a file with libsndfile: wav, aiff, au, caf, w64, flac, ogg, opus, mp3 and some old formats."""
    import soundfile

    os.lseek(descriptor, 0, os.SEEK_SET)
    # The library and Python may number descriptors differently on Windows.
    source = open(descriptor, "rb", closefd=False) if sys.platform == "win32" else descriptor
    try:
        file = soundfile.SoundFile(source, closefd=False)
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError, ValueError) as error:
        raise UnknownFormatError(str(error).partition(": ")[2] or str(error)) from error
    with file:
        check_bounds(subject, file.samplerate, file.channels)
        name = header.format or file.format.lower()
        expected = file.frames / file.samplerate
        if file.frames > 2**40 or (name == "mp3" and (header.claimed == 0 or not header.format)):
            expected = 0.0  # the header does not say, and the decoder guesses
        claimed = expected if header.claimed is None else header.claimed
        stream = Stream(name, file.samplerate, file.channels, claimed, expected)

        remaining = file.frames if expected else 1 << 62

        def seek(position: int) -> None:
            nonlocal remaining
            remaining -= file.seek(min(position, file.frames))

        def blocks() -> Iterator[NDArray[Any]]:
            nonlocal remaining
            block = np.empty((BLOCK, file.channels), np.float32)
            try:
                # Not beyond the claimed end: bytes there may not be sound, and would cost the whole block.
                while remaining > 0 and len(part := file.read(min(remaining, BLOCK), out=block)):
                    remaining -= len(part)
                    yield part
            except (soundfile.LibsndfileError, RuntimeError):
                stream.broken = True

        stream.blocks = blocks()
        if name in SEEKABLE_FORMATS:
            stream.seek = seek
        yield stream


@contextlib.contextmanager
def open_with_pyav(descriptor: int, header: Header, subject: object) -> Iterator[Stream]:
    """Open a file with FFmpeg, which reads nearly every format; it gets bytes to read and never a name to open."""
    try:
        # Its import is slow, as the wheel bundles many codecs: only files that need it pay for it.
        import av
    except ImportError as error:
        raise UnknownFormatError("PyAV is not installed") from error
    os.lseek(descriptor, 0, os.SEEK_SET)
    options = {"format_whitelist": PYAV_FORMATS, "protocol_whitelist": "none"}
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(descriptor, "rb", buffering=0, closefd=False))
        try:
            container = stack.enter_context(av.open(file, "r", options=options, metadata_errors="ignore"))
            if not container.streams.audio:
                raise UnknownFormatError("it has no audio stream", "no-audio")
            track = container.streams.audio[0]
            if track.codec_context is None:
                raise UnknownFormatError("its codec has no decoder")
            length = track.duration and track.time_base and float(track.duration * track.time_base)
            claimed = max(0.0, length or (container.duration or 0) / 1e6)
        except (av.FFmpegError, ValueError, OverflowError, OSError) as error:
            raise UnknownFormatError(str(getattr(error, "strerror", "") or error)) from error
        name = header.format if header.format not in ("", "ogg", "mp4") else track.codec_context.name
        if header.claimed is not None:
            claimed = header.claimed
        elif container.format.name in FORMATS_WITHOUT_LENGTH and header.format != "mp3":
            claimed = 0.0
        stream = Stream(name, track.codec_context.rate or 0, track.codec_context.channels or 0, claimed, claimed)

        def frames() -> Generator[Any, None, None]:
            try:
                for packet in container.demux(track):
                    try:
                        decoded = packet.decode()
                    except (av.FFmpegError, ValueError):
                        stream.broken = True  # a bad packet must not cost the rest of the file
                        continue
                    yield from decoded
            except (av.FFmpegError, ValueError, OSError):
                stream.broken = True

        def blocks(first: Any) -> Iterator[NDArray[Any]]:
            kind = first.format.name
            queue = av.AudioFifo()  # frames are small: some codecs give a thousand a second
            for frame in itertools.chain([first], rest):
                if (frame.sample_rate, frame.layout.nb_channels, frame.format.name) != (rate, channels, kind):
                    stream.changed = True  # perhaps damage to the header of a frame
                    continue
                frame.pts = None
                queue.write(frame)
                if queue.samples >= BLOCK:
                    yield _native(queue.read(BLOCK))
            if queue.samples:
                yield _native(queue.read())

        if stream.channels and stream.rate:
            check_bounds(subject, stream.rate, stream.channels)
        rest = frames()
        frame = next(rest, None)
        if frame is not None:
            # Where the header and the frame differ, as in AAC with spectral band replication, the frame is right.
            stream.rate, stream.channels = rate, channels = frame.sample_rate, frame.layout.nb_channels
            check_bounds(subject, rate, channels)
            stream.blocks = blocks(frame)
        try:
            yield stream
        finally:
            rest.close()


def _native(frame: Any) -> NDArray[Any]:
    """A frame (N, channels) as it is: PyAV's own downmix to mono is 3 dB louder than the mean of the channels."""
    data: NDArray[Any] = frame.to_ndarray()
    return data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)
