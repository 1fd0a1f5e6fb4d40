"""Reads the tensors of a TensorFlow checkpoint (version 2) without TensorFlow.

Its index is a table of LevelDB: blocks of entries with shared prefixes, found through a footer. Each value is a
`BundleEntryProto`, a protocol buffer with the type, shape, offset, size and checksum of a tensor in the data file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DamagedError

_FOOTER_BYTES, _TRAILER_BYTES = 48, 5
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)  # of a LevelDB table
_FLOAT = 1  # the number of float32 among TensorFlow's types
_TYPE, _SHAPE, _OFFSET, _SIZE, _CHECKSUM = 1, 2, 4, 5, 6  # fields of a BundleEntryProto


def read_tensors(name: str, index: bytes, data: bytes, skip: str = "Adam") -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a checkpoint by their names, each compared with its checksum.

    Args:
        name: of the checkpoint, for messages.
        index: the content of its `.index` file.
        data: the content of its only `.data-00000-of-00001` file.
        skip: tensors whose names contain this are left out: the states of an optimizer.

    Raises:
        DamagedError: the files are not a checkpoint, or are damaged.
    """
    try:
        if index[-len(_MAGIC) :] != _MAGIC:
            raise ValueError("it is not the index of a TensorFlow checkpoint")
        footer = index[-_FOOTER_BYTES:]
        _, at = _read_varint(footer, 0)  # the handle of the meta block comes first: offset and size
        _, at = _read_varint(footer, at)
        tensors = {}
        for _, handle in _read_block(index, footer[at:]):
            for key, entry in _read_block(index, handle):
                tensor = key.decode()
                if tensor and skip not in tensor and (array := _read_tensor(tensor, entry, data)) is not None:
                    tensors[tensor] = array
        return tensors
    except (ValueError, IndexError, struct.error) as error:
        raise DamagedError(name, f"the weights are damaged ({error})", "get the model from its maker again") from error


def _read_tensor(name: str, entry: bytes, data: bytes) -> NDArray[np.float32] | None:
    fields = dict(_read_fields(entry))
    if fields.get(_TYPE) != _FLOAT:
        return None
    shape = [
        int(dict(_read_fields(size)).get(1, 0)) for field, size in _read_fields(fields.get(_SHAPE, b"")) if field == 2
    ]
    start, size = int(fields.get(_OFFSET, 0)), int(fields.get(_SIZE, 0))
    content = data[start : start + size]
    if len(content) != size or size != 4 * math.prod(shape):
        raise ValueError(f"{name} has {len(content)} bytes, its shape {shape} needs {4 * math.prod(shape)}")
    if _mask(crc32c(content)) != fields.get(_CHECKSUM):
        raise ValueError(f"the checksum of {name} does not match")
    return np.frombuffer(content, "<f4").reshape(shape)


def _read_block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; each key is stored as what differs from the one before."""
    start, at = _read_varint(handle, 0)
    size, _ = _read_varint(handle, at)
    block, trailer = table[start : start + size], table[start + size : start + size + _TRAILER_BYTES]
    if len(trailer) != _TRAILER_BYTES or trailer[0] != 0:
        raise ValueError("a block of its index is cut off or compressed")
    if _mask(crc32c(block + trailer[:1])) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError("the checksum of its index does not match")
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _read_varint(block, at)
        added, at = _read_varint(block, at)
        length, at = _read_varint(block, at)
        key, at = key[:shared] + block[at : at + added], at + added
        yield key, block[at : at + length]
        at += length


def _read_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of the fields of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _read_varint(message, at)
            yield field, value
        elif kind == 2:
            length, at = _read_varint(message, at)
            yield field, message[at : at + length]
            at += length
        elif kind == 5:
            yield field, struct.unpack("<I", message[at : at + 4])[0]
            at += 4
        else:
            raise ValueError(f"a field of its index has the unknown type {kind}")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number in its index is too long")


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _make_table()


def crc32c(content: bytes) -> int:
    """The cyclic redundancy check of Castagnoli, which LevelDB and TensorFlow use; `zlib` has another polynomial."""
    value, table = 0xFFFFFFFF, _TABLE
    for byte in content:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _mask(checksum: int) -> int:
    """A checksum as it is stored: rotated and shifted, so that it can be part of what is summed itself."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
