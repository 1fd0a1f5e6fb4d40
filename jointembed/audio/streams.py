"""Two decoders, each as blocks of samples as they are in the file: soundfile, and PyAV for what that does not know."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import Head, Undecodable, bounded

BLOCK = 1 << 16
# PyAV is faster for these, or the only one.
_AV_FIRST = {"vorbis", "opus", "aac", "mp4"}
# No playlists: they make a decoder open other files.
_AV_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,"
    "mpc,mpc8,mpeg,mpegts,oga,ogg,rm,shn,spdif,tak,tta,voc,w64,wav,wv,xwma"
)
_GUESSES = {"mp3", "aac", "ac3", "eac3", "dts", "mpeg", "mpegts", "amr"}  # these have no header that claims a length


class Unknown(Exception):
    """This decoder does not know the file; the second argument may be a reason code."""


@dataclass
class Stream:
    """An open sound.

    Args:
        format: its name, in lower case.
        rate: Hz.
        channels: their number.
        claimed: seconds that the header promises, 0 where it promises none.
        expected: seconds that the decoder expects to find, 0 if it does not know.
        blocks: arrays (N, channels) of float or integer samples.
        broken: whether the decoder met something that it could not decode; known once the blocks are used up.
    """

    format: str
    rate: int
    channels: int
    claimed: float
    expected: float
    blocks: Iterator[NDArray[Any]] = field(default_factory=lambda: iter(()))
    broken: bool = False


def openers(head: Head) -> list[Any]:
    """The decoders for a file, the best one first."""
    # libsndfile stops where it guesses the end of an MP3 whose header does not say: it may lose a third of the sound.
    guessed = head.format == "mp3" and head.claimed == 0
    return [by_av, by_soundfile] if guessed or head.format in _AV_FIRST else [by_soundfile, by_av]


@contextlib.contextmanager
def by_soundfile(handle: int, head: Head, subject: object) -> Iterator[Stream]:
    """A file by libsndfile: wav, aiff, au, caf, w64, flac, ogg, opus, mp3 and some old ones."""
    import soundfile

    os.lseek(handle, 0, os.SEEK_SET)
    try:
        file = soundfile.SoundFile(handle, closefd=False)
    except (soundfile.LibsndfileError, RuntimeError, OSError, TypeError, ValueError) as error:
        raise Unknown(str(error).partition(": ")[2] or str(error)) from error
    with file:
        bounded(subject, file.samplerate, file.channels)
        name = head.format or file.format.lower()
        expected = file.frames / file.samplerate
        if file.frames > 2**40 or (name == "mp3" and (head.claimed == 0 or not head.format)):
            expected = 0.0  # the header leaves it open, and the decoder guesses
        claimed = expected if head.claimed is None else head.claimed
        stream = Stream(name, file.samplerate, file.channels, claimed, expected)

        def blocks() -> Iterator[NDArray[Any]]:
            block, left = np.empty((BLOCK, file.channels), np.float32), file.frames if expected else 1 << 62
            try:
                # Not beyond the claimed end: what stands there may be no sound, and would cost the whole block.
                while left > 0 and len(part := file.read(min(left, BLOCK), out=block)):
                    left -= len(part)
                    yield part
            except (soundfile.LibsndfileError, RuntimeError):
                stream.broken = True

        stream.blocks = blocks()
        yield stream


@contextlib.contextmanager
def by_av(handle: int, head: Head, subject: object) -> Iterator[Stream]:
    """A file by FFmpeg: nearly everything. It gets no name to open, only bytes to read."""
    try:
        # The wheel bundles many codecs and takes a while to import: only files that need it pay for it.
        import av
    except ImportError as error:
        raise Unknown("PyAV is not installed") from error
    os.lseek(handle, 0, os.SEEK_SET)
    options = {"format_whitelist": _AV_FORMATS, "protocol_whitelist": "none"}
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(handle, "rb", buffering=0, closefd=False))
        try:
            container = stack.enter_context(av.open(file, "r", options=options, metadata_errors="ignore"))
            if not container.streams.audio:
                raise Unknown("it has no audio stream", "no-audio")
            track = container.streams.audio[0]
            if track.codec_context is None:
                raise Unknown("there is no decoder for its codec")
            length = track.duration and track.time_base and float(track.duration * track.time_base)
            claimed = max(0.0, length or (container.duration or 0) / 1e6)
        except (av.FFmpegError, ValueError, OverflowError, OSError) as error:
            raise Unknown(str(getattr(error, "strerror", "") or error)) from error
        name = head.format if head.format not in ("", "ogg", "mp4") else track.codec_context.name
        if head.claimed is not None:
            claimed = head.claimed
        elif container.format.name in _GUESSES and head.format != "mp3":
            claimed = 0.0
        stream = Stream(name, track.codec_context.rate or 0, track.codec_context.channels or 0, claimed, claimed)

        def frames() -> Generator[Any, None, None]:
            try:
                for packet in container.demux(track):
                    try:
                        decoded = packet.decode()
                    except (av.FFmpegError, ValueError):
                        stream.broken = True  # one bad packet must not cost the rest of the file
                        continue
                    yield from decoded
            except (av.FFmpegError, ValueError, OSError):
                stream.broken = True

        def blocks(first: Any) -> Iterator[NDArray[Any]]:
            kind = first.format.name
            queue = av.AudioFifo()  # frames are small: some codecs give a thousand a second
            for frame in itertools.chain([first], rest):
                if (frame.sample_rate, frame.layout.nb_channels, frame.format.name) != (rate, channels, kind):
                    wrong = "its rate or its channels change in the middle"
                    raise Undecodable(subject, wrong, "convert it with one rate and one layout", "format-change")
                frame.pts = None
                queue.write(frame)
                if queue.samples >= BLOCK:
                    yield _native(queue.read(BLOCK))
            if queue.samples:
                yield _native(queue.read())

        if stream.channels and stream.rate:
            bounded(subject, stream.rate, stream.channels)
        rest = frames()
        frame = next(rest, None)
        if frame is not None:
            # What is decoded is right where it and the header differ, as for AAC with band replication.
            stream.rate, stream.channels = rate, channels = frame.sample_rate, frame.layout.nb_channels
            bounded(subject, rate, channels)
            stream.blocks = blocks(frame)
        try:
            yield stream
        finally:
            rest.close()


def _native(frame: Any) -> NDArray[Any]:
    """One frame (N, channels) as it is: PyAV's own mono downmix is 3 dB louder than the mean of the channels."""
    data: NDArray[Any] = frame.to_ndarray()
    return data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)
