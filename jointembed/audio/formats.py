"""What the first bytes of a sound file say: its format, what it claims, and bounds that are kept before decoding."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import DamagedError

RATES = (4_000, 384_000)  # Hz
CHANNELS = 32
AUDIO_EXTENSIONS = frozenset(
    b".aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .caf .flac .m4a .m4b .mka .mp2 .mp3 .mpc .oga .ogg .opus .rf64"
    b" .snd .tta .voc .w64 .wav .weba .webm .wma .wv".split()
)
FIX = "replace the file or leave it out"
_STREAMED = {0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF}  # written by programs that could not know the length
_LOCKED = re.compile(rb"stsd.{12}(?:drms|enca|aavd)", re.DOTALL)
_OGG = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac"}


class Undecodable(DamagedError):
    """A sound file that cannot be used.

    Args:
        subject: the file.
        wrong: what is wrong with it.
        fix: what mends it.
        reason: one of empty, no-audio, truncated, bad-rate, bad-channels, bad-format, too-long, too-short, silent,
            non-finite, format-change, encrypted, unreadable.
    """

    def __init__(self, subject: object, wrong: str, fix: str = FIX, reason: str = "unreadable") -> None:
        super().__init__(subject, wrong, fix)
        self.reason = reason


@dataclass(frozen=True)
class Head:
    """What the first bytes say of a file.

    Args:
        format: wav, aiff, flac, vorbis, opus, ogg, mp3, aac, mp4, or "" where the decoders must find out.
        claimed: seconds that the header promises, 0 where there is no promise, None where the decoder is to be asked.
        cut: the mark that ends the file is not there.
    """

    format: str
    claimed: float | None = None
    cut: bool = False


def bounded(subject: object, rate: float, channels: int) -> None:
    """Refuse a rate in Hz or a number of channels that no sound has, before anything is allocated for it."""
    if not RATES[0] <= rate <= RATES[1]:
        raise Undecodable(subject, f"its rate of {rate:.0f} Hz is not within {RATES[0]} to {RATES[1]}", FIX, "bad-rate")
    if not 1 <= channels <= CHANNELS:
        raise Undecodable(subject, f"it has {channels} channels, not 1 to {CHANNELS}", FIX, "bad-channels")


def look(handle: int, size: int, subject: object) -> Head:
    """Read the head of an open file of `size` bytes.

    Raises:
        Undecodable: its header asks for a rate, channels or a sample format that cannot be, or it is encrypted.
    """
    start = _past_tags(handle)
    first = os.pread(handle, 512, start)
    if first[:4] in (b"RIFF", b"RIFX") and first[8:12] == b"WAVE":
        return _wav(handle, start, size, "<" if first[:4] == b"RIFF" else ">", subject)
    if first[:4] == b"FORM" and first[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(handle, start, size, subject)
    if first[:4] == b"fLaC":
        return Head("flac")
    if first[:4] == b"OggS":
        packet = first[27 + first[26] :] if len(first) > 26 else b""
        name = next((name for mark, name in _OGG.items() if packet.startswith(mark)), "ogg")
        return Head(name, cut=not _ended(os.pread(handle, 1 << 17, max(0, size - (1 << 17)))))
    if first[4:8] == b"ftyp":
        return _mp4(handle, start, size, subject)
    if len(first) > 2 and first[0] == 0xFF and first[1] & 0xE0 == 0xE0:
        if not first[1] & 6:
            return Head("aac", 0.0)
        # Without one of these marks a decoder guesses the length from the first frame's bit rate.
        return Head("mp3", None if any(mark in first[:256] for mark in (b"Xing", b"Info", b"VBRI")) else 0.0)
    return Head("")


def _past_tags(handle: int) -> int:
    """Where the sound begins: behind the ID3 tags, of which broken writers put one before another."""
    place = 0
    for _ in range(8):
        head = os.pread(handle, 10, place)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        place += 10 + length + (10 if head[5] & 16 else 0)
    return place


def _ended(tail: bytes) -> bool:
    """Whether the last Ogg page is whole and marked as the last."""
    last = tail.rfind(b"OggS")
    page = tail[last:] if last >= 0 else b""
    return len(page) > 27 and bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _chunks(handle: int, start: int, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """The name, the place and the claimed length of each chunk, at most a thousand of them."""
    place = start + 12
    for _ in range(1000):
        if place + 8 > size:
            return
        name, length = struct.unpack(order + "4sI", os.pread(handle, 8, place))
        yield name, place + 8, length
        place += 8 + length + length % 2


def _wav(handle: int, start: int, size: int, order: str, subject: object) -> Head:
    width = rate = 0
    for name, place, length in _chunks(handle, start, size, order):
        if name == b"fmt ":
            body = os.pread(handle, 16, place)
            if len(body) < 16 or length < 16:
                break
            tag, channels, rate, _, align, bits = struct.unpack(order + "HHIIHH", body)
            bounded(subject, rate, channels)
            plain = tag in (1, 3, 6, 7, 0xFFFE)
            if not align or (plain and (bits not in (8, 16, 24, 32, 64) or align < channels * bits // 8)):
                raise Undecodable(subject, f"its samples of {bits} bits in {align} bytes cannot be", FIX, "bad-format")
            width = align if plain else 0
        elif name == b"data" and width:
            there = (size - place) / (width * rate)
            if length in _STREAMED and there >= 5:
                return Head("wav", there)
            return Head("wav", length / (width * rate))
    return Head("wav")


def _aiff(handle: int, start: int, size: int, subject: object) -> Head:
    for name, place, _ in _chunks(handle, start, size, ">"):
        body = os.pread(handle, 18, place) if name == b"COMM" else b""
        if len(body) == 18:
            channels, frames, _, exponent, mantissa = struct.unpack(">HIHHQ", body)
            rate = math.ldexp(mantissa, min(exponent & 0x7FFF, 16383 + 63) - 16383 - 63)
            bounded(subject, rate, channels)
            return Head("aiff", frames / rate)
    return Head("aiff")


def _mp4(handle: int, start: int, size: int, subject: object) -> Head:
    place = start
    for _ in range(1000):
        box = os.pread(handle, 16, place)
        if len(box) < 16:
            break
        length, name = struct.unpack(">I4s", box[:8])
        length = int.from_bytes(box[8:16], "big") if length == 1 else length or size - place
        if name == b"moov" and _LOCKED.search(os.pread(handle, min(length, 16 << 20), place)):
            # It may well decode, to noise.
            raise Undecodable(subject, "its sound is encrypted", "make a copy without a lock", "encrypted")
        place += max(8, length)
    return Head("mp4")
