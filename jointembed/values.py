"""Cells of a table: their keys for comparison, missing cells, the elements of a cell."""

from __future__ import annotations

import contextlib
import datetime
import json
import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, TypeGuard
from uuid import UUID

import numpy as np
import numpy.typing as npt

from .errors import UsageError

MAX_EXACT_FLOAT = 2.0**53  # above it not every integer is a float64


def key(cell: object) -> int:
    """The 64-bit BLAKE2b key of a cell: equal cells have equal keys, whatever their types; see also `to_plain`.

    A NumPy scalar equals the Python number, a path its text, 3 equals 3.0 (but not "3"), a list of numbers the array of
    the same shape and values, and a list of one element that element. Missing elements of a list do not count, and the
    order of a dict's keys does not matter.

    Returns:
        A signed 64-bit integer.

    Raises:
        UsageError: the cell contains something other than text, path, bytes, number, date, list, dict or array.
    """
    if isinstance(cell, PurePath):
        cell = str(cell)
    if isinstance(cell, str):
        return _hash(b"s", cell.encode("utf-8", "surrogatepass"))
    if isinstance(cell, np.ndarray):
        return _hash_array(cell)
    if isinstance(cell, int | np.integer | np.bool_):
        return _hash(b"i", b"%d" % int(cell))
    if isinstance(cell, float | np.floating):
        value = float(cell)
        if value.is_integer():
            return _hash(b"i", b"%d" % int(value))
        return _hash(b"f", b"nan" if value != value else struct.pack("<d", value))
    if isinstance(cell, list | tuple):
        return _hash_list(cell)
    if isinstance(cell, dict):
        pairs = sorted((str(name), key(value)) for name, value in cell.items())
        return _hash(b"d", *(_pack(part) for name, value in pairs for part in (key(name), value)))
    if isinstance(cell, bytes):
        return _hash(b"b", cell)
    if isinstance(cell, datetime.date | datetime.time):
        return _hash(b"t", cell.isoformat().encode())
    if cell is None:
        return _hash(b"n")
    if (plain := to_plain(cell)) is not cell:
        return key(plain)
    wrong = "cells of this type cannot be compared"
    raise UsageError(type(cell).__name__, wrong, "use text, numbers, dates, lists, dicts or arrays")


def keys(cells: Sequence[Any]) -> npt.NDArray[np.int64]:
    """The keys of N cells, (N,); see `key`. Text and integers take a third of the time."""
    contents = [
        (b"s" + cell.encode("utf-8", "surrogatepass") if type(cell) is str else b"i%d" % cell)
        if type(cell) in (str, int)
        else None
        for cell in cells
    ]
    places = [place for place, content in enumerate(contents) if content is None]
    result = hash_all([b"" if content is None else content for content in contents] if places else contents)
    result[places] = [key(cells[place]) for place in places]
    return result


def hash_all(contents: Iterable[Any]) -> npt.NDArray[np.int64]:
    """The 64-bit BLAKE2b hashes of N byte strings, (N,)."""
    digests = b"".join([blake2b(content, digest_size=8).digest() for content in contents])
    return np.frombuffer(digests, "<i8").astype(np.int64)


def missing(cell: object) -> bool:
    """True if a cell is empty: None, NaN, "", [], an empty array, or a list or an array (N,) of missing cells."""
    if isinstance(cell, str | bytes):
        return not cell
    if isinstance(cell, np.ndarray):
        return cell.size == 0 or (
            cell.ndim == 1 and cell.dtype.kind in "OfUS" and missing(cell[0]) and missing(cell.tolist())
        )
    if isinstance(cell, list | tuple):
        return all(missing(element) for element in cell)
    if isinstance(cell, float | np.floating | datetime.date):
        return bool(cell != cell)
    if is_content(cell):
        return missing(cell["bytes"]) and missing(cell["path"])
    return cell is None or type(cell).__name__ == "NAType"  # pandas.NA


def is_content(cell: object) -> TypeGuard[dict[str, Any]]:
    """Whether a cell is a file as `datasets` keeps it: {"bytes": its content or None, "path": its name or None}."""
    return isinstance(cell, dict) and cell.keys() == {"bytes", "path"}


def present(cell: Sequence[Any] | npt.NDArray[Any]) -> list[Any]:
    """The items of a list or of an array (N, ...) that are not missing.

    An empty list among them, such as a silent frame of a piano roll, is an item.
    """
    items = cell.tolist() if isinstance(cell, np.ndarray) and cell.ndim == 1 else cell
    return [
        item for item in items if (item if type(item) is str else isinstance(item, _CONTAINERS) or not missing(item))
    ]


_CONTAINERS = (list, tuple, np.ndarray)


def items(cell: Any) -> list[Any]:
    """The items of a cell that are not missing, numbers included: those of a list or an array, or the cell itself."""
    if isinstance(cell, _CONTAINERS):
        return present(cell)
    return [] if missing(cell) else [cell]


def to_plain(cell: Any) -> Any:
    """A cell as readers and JSON take it, also within lists and dicts.

    Returns:
        The number of a decimal, the seconds of a duration, the text of a UUID or a path, the array of a tensor; any
        other cell itself.
    """
    if hasattr(cell, "detach"):  # a tensor, whose library need not be imported to ask
        return cell.detach().cpu().numpy()
    match cell:
        case Decimal():
            return int(cell) if cell.is_finite() and cell == cell.to_integral_value() else float(cell)
        case datetime.timedelta():
            return cell.total_seconds()
        case UUID() | PurePath():
            return str(cell)
        case list() if cell and not isinstance(cell[0], str | int | float):
            return [to_plain(item) for item in cell]
        case dict():
            return {name: to_plain(item) for name, item in cell.items()}
    return cell


def to_unicode(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair that stands alone, as a cut inside an emoji leaves it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def escape_surrogates(text: str) -> str:
    r"""The text as UTF-8 can hold it: bytes of a file name that are not UTF-8 are written as \udcXX."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def explode(cell: Any) -> list[Any]:
    """The elements of a cell: the items of a list, or the cell itself; none if it is missing.

    A list of numbers is a single element (an image, a vector), and so are an array of numbers and a dict. Missing
    elements are left out, but not those of a vector: its reader says what they mean.
    """
    if missing(cell):
        return []
    if isinstance(cell, np.ndarray) and cell.ndim == 1 and cell.dtype.kind in "OUST":
        cell = cell.tolist()
    if not isinstance(cell, list | tuple) or all(
        isinstance(item, int | float | np.number | np.bool_) for item in present(cell)
    ):
        return [cell]
    return [item for item in cell if not missing(item)]


def row_cell(row: Any, column: str, reads: Sequence[str] = ()) -> Any:
    """The cell of a column in a row (a dict); for a reader of several columns, a dict of those that are there."""
    if not isinstance(row, dict):
        raise UsageError(
            column,
            f"a row must be a dict of columns, got {type(row).__name__}",
            'give JSON like {"words": "..."}',
        )
    if not reads:
        return row.get(column)
    present = {name: row[name] for name in reads if not missing(row.get(name))}
    return present or None


def parse_cell(query: str) -> Any:
    """The cell that the text of a query stands for: JSON if it begins with [ or {, else the text itself.

    Raises:
        UsageError: it begins like JSON but is not.
    """
    if query[:1] not in ("[", "{"):
        return query
    try:
        return json.loads(query)
    except ValueError as error:
        raise UsageError("query", f"it begins like JSON but is not ({error})", "correct it") from error


def parse_texts(query: str) -> str | list[str]:
    """The text of a query, which may begin with [ or {; or the texts of a JSON list of texts."""
    if query[:1] == "[":
        with contextlib.suppress(ValueError):
            texts = json.loads(query)
            if texts and all(isinstance(text, str) for text in texts):
                return list(texts)
    return query


def _hash(tag: bytes, *parts: Any) -> int:
    digest = blake2b(tag, digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little", signed=True)


def _pack(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=True)


def _hash_array(cell: npt.NDArray[Any]) -> int:
    if cell.ndim == 0:
        return key(cell.item())
    if len(cell) == 1:
        return key(cell[0])
    if cell.dtype.kind not in "biuf":
        return _hash_list(cell.tolist())
    if cell.ndim == 1 and cell.dtype.kind == "f" and (absent := np.isnan(cell)).any() and not absent.all():
        return _hash_array(cell[~absent])
    values = np.add(cell, 0.0, dtype="<f8", order="C")  # the sum turns -0.0, which equals 0.0, into it
    parts = [repr(cell.shape).encode(), values.data if values.size else b""]
    if cell.dtype.kind in "iu" and cell.itemsize == 8 and values.size and np.abs(values).max() > MAX_EXACT_FLOAT:
        parts.append(np.ascontiguousarray(cell).astype("<i8").data)
    return _hash(b"a", *parts)


def _hash_list(cell: Sequence[Any]) -> int:
    cell = present(cell) or cell
    if len(cell) == 1:
        return key(cell[0])
    if not cell or not isinstance(cell[0], str):
        cell = to_plain(cell)
        try:
            array = np.array(cell)
        except (ValueError, OverflowError):  # rows of unequal length
            array = np.array(None)
        if array.dtype.kind in "biuf":
            return _hash_array(array)
    return _hash(b"l", *(_pack(key(item)) for item in cell))
