"""Files that hold further files: joined by `cat`, or chained Ogg streams."""

from __future__ import annotations

import os
import struct

BYTES_IN_BLOCK = 1 << 20
MAX_JOINED = 1000  # files in a file
BYTES_OF_FRAMES = 4096  # that hold at least two frames of an MP3
_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # a second
_KILOBITS_OF_LOW_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MAGIC_BYTES = {b"fLaC": 8, b".snd": 8, b"caff": 8, b"riff": 16, b"0&\xb2u": 16}  # FLAC, AU, CAF, W64 and ASF


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """At most `count` bytes from an offset; none if a header points where no file can reach."""
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
    except (OSError, OverflowError):
        return b""
    return os.read(descriptor, count)


def past_tags(descriptor: int, offset: int = 0) -> int:
    """The offset of the sound after the ID3 tags; broken writers put several before each other."""
    for _ in range(8):
        tag = read_at(descriptor, 10, offset)
        if len(tag) < 10 or tag[:3] != b"ID3" or max(tag[6:10]) > 127:
            break
        length = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        offset += 10 + length + (10 if tag[5] & 16 else 0)
    return offset


def find_joined(descriptor: int, start: int, size: int, first: bytes, format: str) -> tuple[int, ...]:
    """The offsets at which further files begin in a file whose sound begins at `start` with the bytes `first`."""
    if format in ("wav", "aiff"):
        return _after_chunks(descriptor, start, size, "<" if first[:4] == b"RIFF" else ">")
    if format == "mp4":
        return _after_boxes(descriptor, start, size)
    if format == "mp3":
        return _after_frames(descriptor, start, size)
    if first[:4] == b"OggS":
        return _after_streams(descriptor, start, size)
    if first[:4] in _MAGIC_BYTES:
        return _find_again(descriptor, start, first[: _MAGIC_BYTES[first[:4]]])
    return ()


def _after_chunks(descriptor: int, start: int, size: int, order: str) -> tuple[int, ...]:
    """Where a WAV or AIFF file follows another, which ends where its header says."""
    offsets: list[int] = []
    head = read_at(descriptor, 12, start)
    while len(offsets) < MAX_JOINED:
        end = start + 8 + struct.unpack(order + "I", read_at(descriptor, 8, start)[4:])[0]
        after = read_at(descriptor, 13, end) if end < size else b""
        pads = [pad for pad in (0, 1) if after[pad : pad + 4] + after[pad + 8 : pad + 12] == head[:4] + head[8:]]
        if not pads:
            break
        start = end + pads[0]
        offsets.append(start)
    return tuple(offsets)


def _after_boxes(descriptor: int, start: int, size: int) -> tuple[int, ...]:
    """Where the first box of an MP4 file follows the last one of another."""
    offsets: list[int] = []
    offset = start
    for _ in range(MAX_JOINED):
        box = read_at(descriptor, 16, offset)
        if len(box) < 16:
            break
        length, name = struct.unpack(">I4s", box[:8])
        if name == b"ftyp" and offset > start:
            offsets.append(offset)
        length = int.from_bytes(box[8:16], "big") if length == 1 else length or size - offset
        offset += max(8, length)
    return tuple(offsets)


def _after_frames(descriptor: int, start: int, size: int) -> tuple[int, ...]:
    """Where frames of an MP3 follow those that a header (Xing or Info) counts, in bytes."""
    offsets: list[int] = []
    while len(offsets) < MAX_JOINED:
        sound = past_tags(descriptor, start)
        first = read_at(descriptor, 256, sound)
        place = max(first.find(b"Xing"), first.find(b"Info"))
        if place < 0 or not first[place + 7 : place + 8] > b"\1" or not first[place + 7] & 2:
            break
        at = place + 8 + 4 * (first[place + 7] & 1)
        start = sound + int.from_bytes(first[at : at + 4], "big")
        frames = read_at(descriptor, BYTES_OF_FRAMES, past_tags(descriptor, start)) if sound < start < size else b""
        if len(frames) < BYTES_OF_FRAMES or not _has_frames(frames):
            break
        offsets.append(start)
    return tuple(offsets)


def _has_frames(data: bytes) -> bool:
    """Whether a frame of an MP3 follows another; the bytes of a picture in a tag may look like one."""
    place = data.find(b"\xff")
    while place >= 0:
        length = _frame_length(data[place : place + 4])
        after = data[place + length : place + length + 4]
        if length and after[:2] == data[place : place + 2] and _frame_length(after):
            return True
        place = data.find(b"\xff", place + 1)
    return False


def _frame_length(head: bytes) -> int:
    """The length in bytes of the frame of an MP3 (layer III of MPEG 1, 2 or 2.5) with a header of 4 bytes, else 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate, padding = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    first = version == 3
    kilobits = (_KILOBITS if first else _KILOBITS_OF_LOW_RATES)[bitrate - 1]
    hertz = (44_100, 48_000, 32_000)[rate] >> (0 if first else 1 if version == 2 else 2)
    return (144_000 if first else 72_000) * kilobits // hertz + padding


def _after_streams(descriptor: int, start: int, size: int) -> tuple[int, ...]:
    """Where an Ogg stream begins after the end of another; those that are played together begin together."""
    offsets: list[int] = []
    offset, in_stream = start, False
    while len(offsets) < MAX_JOINED:
        page = read_at(descriptor, 27 + 255, offset)
        if len(page) < 27 or page[:4] != b"OggS":
            break
        begins = bool(page[5] & 2)
        if begins and in_stream:
            offsets.append(offset)
        in_stream = not begins
        offset += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return tuple(offsets)


def _find_again(descriptor: int, start: int, magic: bytes) -> tuple[int, ...]:
    """Where the bytes with which a file begins occur again."""
    offsets: list[int] = []
    offset = start + len(magic)
    # The file is read, not mapped: one that is cut meanwhile would end the process.
    while len(offsets) < MAX_JOINED and len(block := read_at(descriptor, BYTES_IN_BLOCK, offset)) >= len(magic):
        place = block.find(magic)
        while place >= 0:
            offsets.append(offset + place)
            place = block.find(magic, place + len(magic))
        offset += len(block) - len(magic) + 1
    return tuple(offsets[:MAX_JOINED])
