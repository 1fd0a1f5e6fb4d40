"""Rows as a backend stores them: ids as bytes, cells as one JSON object."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import UsageError
from ...values import present, to_plain
from .base import Row

MAX_CELL_BYTES = 64_000  # of JSON; a longer cell is data, not a description
RESERVED_COLUMNS = ("_file", "_hash", "_digest")


def encode_ids(rows: Sequence[Row]) -> list[bytes]:
    """The ids of rows.

    Raises:
        UsageError: an id is missing, not text, or duplicated.
    """
    ids = [encode_id(row.get("id")) for row in rows]
    if len(set(ids)) < len(ids):
        duplicate = Counter(ids).most_common(1)[0][0].decode("utf-8", "replace")
        raise UsageError(duplicate, "two rows have this id", "give every row a different id")
    return ids


def encode_id(id: object) -> bytes:
    """The bytes of an id, which may be a file name that is not valid UTF-8.

    Raises:
        UsageError: it is not text, or empty.
    """
    with contextlib.suppress(UnicodeEncodeError):
        if isinstance(id, str) and id:
            return id.encode("utf-8", "surrogateescape")
    raise UsageError("id", f"must be Unicode text that is not empty, got {id!a}", "give every row an id")


def column_names(rows: Sequence[Row]) -> list[str]:
    """The names of the columns of rows."""
    names = (str(name) for row in rows for name in row)
    return list(dict.fromkeys(name for name in names if name != "id" and name not in RESERVED_COLUMNS))


def encode_cells(row: Row) -> bytes:
    """The cells of a row as one JSON object, without missing elements and cells that JSON cannot hold in 64 kB."""
    cells = {
        str(name): present(cell) if isinstance(cell, list) else cell
        for name, cell in row.items()
        if name != "id" and name not in RESERVED_COLUMNS
    }
    with contextlib.suppress(TypeError, ValueError):
        text = _ENCODER.encode(cells).encode()
        if len(text) <= MAX_CELL_BYTES:
            return text
    parts = []
    for name, cell in cells.items():
        with contextlib.suppress(TypeError, ValueError):  # an array, bytes, an infinity
            text = _encode_cell(cell)
            if len(text) <= MAX_CELL_BYTES:
                parts.append(_encode_cell(name) + b":" + text)
    return b"{" + b",".join(parts) + b"}"


def merge_cells(old: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """The cells of a row after an update: None removes a cell."""
    return {name: cell for name, cell in {**old, **row}.items() if cell is not None}


def _encode_cell(cell: Any) -> bytes:
    if isinstance(cell, float | np.floating) and cell != cell:
        return b"null"
    try:  # SQLite compares the names of cells as they stand in the text, so they are not escaped
        return _ENCODER.encode(cell).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return json.dumps(cell, allow_nan=False, default=_to_plain, separators=(",", ":")).encode()


def _to_plain(cell: Any) -> Any:
    if isinstance(cell, np.generic):
        return cell.item()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if (plain := to_plain(cell)) is not cell:
        return plain
    raise TypeError(cell)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_to_plain, separators=(",", ":"))
