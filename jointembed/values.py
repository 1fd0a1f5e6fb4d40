"""Cells of a table: when two of them are equal, when one is missing, and which things one holds."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import UsageError

_EXACT = 2.0**53  # above it not every integer is a float64


def key(cell: object) -> int:
    """The 64-bit BLAKE2b key of a cell: equal cells have equal keys, whatever types hold them.

    A NumPy scalar equals the Python number, a path its text, 3 equals 3.0 (but not "3"), a list of numbers equals the
    array of the same shape and values, a list of one thing equals that thing, and the order of a dict's keys does not
    count.

    Returns:
        A signed 64-bit integer.

    Raises:
        UsageError: the cell is or holds something other than text, path, bytes, number, date, list, dict or array.
    """
    if isinstance(cell, PurePath):
        cell = str(cell)
    if isinstance(cell, str):
        return _hash(b"s", cell.encode("utf-8", "surrogatepass"))
    if isinstance(cell, np.ndarray):
        return _array(cell)
    if isinstance(cell, int | np.integer | np.bool_):
        return _hash(b"i", b"%d" % int(cell))
    if isinstance(cell, float | np.floating):
        value = float(cell)
        if value.is_integer():
            return _hash(b"i", b"%d" % int(value))
        return _hash(b"f", b"nan" if value != value else struct.pack("<d", value))
    if isinstance(cell, list | tuple):
        return _list(cell)
    if isinstance(cell, dict):
        pairs = sorted((str(name), key(one)) for name, one in cell.items())
        return _hash(b"d", *(_packed(part) for name, one in pairs for part in (key(name), one)))
    if isinstance(cell, bytes):
        return _hash(b"b", cell)
    if isinstance(cell, datetime.date | datetime.time):
        return _hash(b"t", cell.isoformat().encode())
    if cell is None:
        return _hash(b"n")
    kind = type(cell).__name__
    raise UsageError(kind, "a cell of this type cannot be compared", "use text, numbers, dates, lists, dicts or arrays")


def missing(cell: object) -> bool:
    """Whether a cell holds nothing: None, NaN, "", [], an empty array, or a list of such."""
    if isinstance(cell, str | bytes):
        return not cell
    if isinstance(cell, np.ndarray):
        return cell.size == 0
    if isinstance(cell, list | tuple):
        return all(missing(one) for one in cell)
    return cell is None or (isinstance(cell, float | np.floating | datetime.date) and bool(cell != cell))


def explode(cell: Any) -> list[Any]:
    """The things that a cell holds: the elements of a list, else the cell itself; nothing if it is missing.

    A list of numbers is one thing (a bitmap, a vector), and so are an array of numbers and a dict. Missing elements
    are left out.
    """
    if missing(cell):
        return []
    if isinstance(cell, np.ndarray) and cell.ndim == 1 and cell.dtype.kind in "OUST":
        cell = cell.tolist()
    if not isinstance(cell, list | tuple) or all(isinstance(one, int | float | np.number | np.bool_) for one in cell):
        return [cell]
    return [one for one in cell if not missing(one)]


def _hash(tag: bytes, *parts: Any) -> int:
    digest = blake2b(tag, digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little", signed=True)


def _packed(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=True)


def _array(cell: npt.NDArray[Any]) -> int:
    if cell.ndim == 0:
        return key(cell.item())
    if len(cell) == 1:
        return key(cell[0])
    if cell.dtype.kind not in "biuf":
        return _list(cell.tolist())
    values = np.add(cell, 0.0, dtype="<f8", order="C")  # the sum turns -0.0, which equals 0.0, into it
    parts = [repr(cell.shape).encode(), values.data if values.size else b""]
    if cell.dtype.kind in "iu" and cell.itemsize == 8 and values.size and np.abs(values).max() > _EXACT:
        parts.append(np.ascontiguousarray(cell).astype("<i8").data)
    return _hash(b"a", *parts)


def _list(cell: Sequence[Any]) -> int:
    if len(cell) == 1:
        return key(cell[0])
    if not cell or not isinstance(cell[0], str):
        try:
            array = np.array(cell)
        except (ValueError, OverflowError):  # rows of unequal length
            array = np.array(None)
        if array.dtype.kind in "biuf":
            return _array(array)
    return _hash(b"l", *(_packed(key(one)) for one in cell))
