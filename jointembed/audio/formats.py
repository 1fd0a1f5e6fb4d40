"""The header of a sound file: its format, its claimed length, and checks of its values before anything is decoded."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DamagedError
from .joined import find_joined, past_tags, read_at

MIN_RATE, MAX_RATE = 4_000, 384_000  # Hz
MAX_CHANNELS = 32
AUDIO_EXTENSIONS = frozenset(
    b".3g2 .3gp .aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .caf .dff .dsf .dts .eac3 .flac .m4a .m4b .m4r .mka .mkv"
    b" .mov .mp2 .mp3 .mp4 .mpc .oga .ogg .opus .rf64 .snd .tta .voc .w64 .wav .weba .webm .wma .wv".split()
)
# Without O_NONBLOCK a pipe would be waited for; without O_BINARY Windows would change the ends of lines.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
FIX = "replace the file or leave it out"
UNKNOWN_LENGTHS = {0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF}  # written by programs that stream
_ENCRYPTED = re.compile(rb"stsd.{12}(?:drms|enca|aavd)", re.DOTALL)
_OGG_CODECS = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac"}


class Undecodable(DamagedError):
    """A sound file that cannot be used.

    Args:
        subject: the file.
        problem: what is wrong with it.
        fix: how to correct it.
        reason: empty, no-audio, truncated, bad-rate, bad-channels, bad-format, too-long, too-short, silent,
            non-finite, format-change, encrypted or unreadable.
    """

    def __init__(self, subject: object, problem: str, fix: str = FIX, reason: str = "unreadable") -> None:
        super().__init__(subject, problem, fix)
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """The first bytes of a file, understood.

    Args:
        format: wav, aiff, flac, vorbis, opus, ogg, mp3, aac, mp4, or "" if the decoders must find out.
        claimed: the length in seconds by the header, 0 if it gives none, None if only the decoder can tell.
        cut: whether the mark at the end of the file is missing.
        joined: where further files begin in this one, as `cat a.mp3 b.mp3` and chained Ogg streams have them.
    """

    format: str
    claimed: float | None = None
    cut: bool = False
    joined: tuple[int, ...] = ()


def check_bounds(subject: object, rate: float, channels: int) -> None:
    """Refuse an impossible rate in Hz or number of channels before anything is allocated for it."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise Undecodable(subject, f"its rate of {rate:.0f} Hz is not within {MIN_RATE} to {MAX_RATE}", FIX, "bad-rate")
    if not 1 <= channels <= MAX_CHANNELS:
        raise Undecodable(subject, f"it has {channels} channels, not 1 to {MAX_CHANNELS}", FIX, "bad-channels")


def open_for_reading(path: str | bytes | Path) -> int:
    """The descriptor of a file that is opened at once, be it a pipe or a device; the caller checks its type."""
    return os.open(path, OPEN_FLAGS)


def sniff(descriptor: int, size: int, subject: object) -> Header:
    """Read the header of an open file of `size` bytes.

    Raises:
        Undecodable: the header has an impossible rate, number of channels or sample format, or the file is encrypted.
    """
    start = past_tags(descriptor)
    first = read_at(descriptor, 512, start)
    header = _read_header(descriptor, start, size, first, subject)
    return replace(header, joined=find_joined(descriptor, start, size, first, header.format))


def _read_header(descriptor: int, start: int, size: int, first: bytes, subject: object) -> Header:
    if first[:4] in (b"RIFF", b"RIFX") and first[8:12] == b"WAVE":
        return _wav(descriptor, start, size, "<" if first[:4] == b"RIFF" else ">", subject)
    if first[:4] == b"FORM" and first[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(descriptor, start, size, subject)
    if first[:4] == b"fLaC":
        return Header("flac")
    if first[:4] == b"OggS":
        packet = first[27 + first[26] :] if len(first) > 26 else b""
        name = next((name for mark, name in _OGG_CODECS.items() if packet.startswith(mark)), "ogg")
        return Header(name, cut=not _has_last_page(read_at(descriptor, 1 << 17, max(0, size - (1 << 17)))))
    if first[4:8] == b"ftyp":
        return _mp4(descriptor, start, size, subject)
    if len(first) > 2 and first[0] == 0xFF and first[1] & 0xE0 == 0xE0:
        if not first[1] & 6:
            return Header("aac", 0.0)
        # Without one of these marks a decoder guesses the length from the first frame's bit rate.
        return Header("mp3", None if any(mark in first[:256] for mark in (b"Xing", b"Info", b"VBRI")) else 0.0)
    return Header("")


def _has_last_page(tail: bytes) -> bool:
    """Whether the last Ogg page is complete and marked as the last."""
    last = tail.rfind(b"OggS")
    page = tail[last:] if last >= 0 else b""
    return len(page) > 27 and bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _chunks(descriptor: int, start: int, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """The name, offset and claimed length of each chunk, at most a thousand of them."""
    offset = start + 12
    for _ in range(1000):
        if offset + 8 > size:
            return
        name, length = struct.unpack(order + "4sI", read_at(descriptor, 8, offset))
        yield name, offset + 8, length
        offset += 8 + length + length % 2


def _wav(descriptor: int, start: int, size: int, order: str, subject: object) -> Header:
    width = rate = 0
    for name, offset, length in _chunks(descriptor, start, size, order):
        if name == b"fmt ":
            body = read_at(descriptor, 16, offset)
            if len(body) < 16 or length < 16:
                break
            tag, channels, rate, _, align, bits = struct.unpack(order + "HHIIHH", body)
            check_bounds(subject, rate, channels)
            fixed_width = tag in (1, 3, 6, 7, 0xFFFE)
            if not align or (fixed_width and (bits not in (8, 16, 24, 32, 64) or align < channels * bits // 8)):
                raise Undecodable(subject, f"samples of {bits} bits in {align} bytes are impossible", FIX, "bad-format")
            width = align if fixed_width else 0
        elif name == b"data" and width:
            present = (size - offset) / (width * rate)  # seconds
            if length in UNKNOWN_LENGTHS and present >= 5:
                return Header("wav", present)
            return Header("wav", length / (width * rate))
    return Header("wav")


def _aiff(descriptor: int, start: int, size: int, subject: object) -> Header:
    for name, offset, _ in _chunks(descriptor, start, size, ">"):
        body = read_at(descriptor, 18, offset) if name == b"COMM" else b""
        if len(body) == 18:
            channels, frames, _, exponent, mantissa = struct.unpack(">HIHHQ", body)
            rate = math.ldexp(mantissa, min(exponent & 0x7FFF, 16383 + 63) - 16383 - 63)
            check_bounds(subject, rate, channels)
            return Header("aiff", frames / rate)
    return Header("aiff")


def _mp4(descriptor: int, start: int, size: int, subject: object) -> Header:
    offset = start
    for _ in range(1000):
        box = read_at(descriptor, 16, offset)
        if len(box) < 16:
            break
        length, name = struct.unpack(">I4s", box[:8])
        length = int.from_bytes(box[8:16], "big") if length == 1 else length or size - offset
        if name == b"moov" and _ENCRYPTED.search(read_at(descriptor, min(length, 16 << 20), offset)):
            # It may well decode, to noise.
            raise Undecodable(subject, "its sound is encrypted", "make a copy that is not encrypted", "encrypted")
        offset += max(8, length)
    return Header("mp4")
