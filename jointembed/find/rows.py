"""The rows of an index in its SQLite file: their ids, the files that they come from, and their cells as JSON."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import Usage

CELL = 64_000  # bytes of JSON above which a cell is data, not a description
HIDDEN = ("_path", "_hash")

Row = Mapping[str, Any]


def ids(rows: Sequence[Row]) -> list[bytes]:
    """The ids of rows as they are stored.

    Raises:
        Usage: an id is missing, not text, or there twice.
    """
    found = [encode(row.get("id")) for row in rows]
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0].decode("utf-8", "replace")
        raise Usage(twice, "two rows have this id", "give every row an id of its own")
    return found


def encode(id: object) -> bytes:
    """The bytes of an id, which may be a file name that is not valid UTF-8.

    Raises:
        Usage: it is not text, or empty.
    """
    with contextlib.suppress(UnicodeEncodeError):
        if isinstance(id, str) and id:
            return id.encode("utf-8", "surrogateescape")
    raise Usage("id", f"{id!a} is no id", "use text that is not empty")


def names(rows: Sequence[Row]) -> list[str]:
    """The names of the cells that rows have."""
    return list(dict.fromkeys(str(name) for row in rows for name in row if name != "id" and name not in HIDDEN))


def upsert(db: sqlite3.Connection, rows: Iterable[tuple[bytes, Row, bytes]], column: str) -> None:
    """Write (id, row, vector) triples over those of the same id, keeping their numbers and other columns' vectors."""
    for id, row, vector in rows:
        content = _content(db, id, row.get("_path"), row.get("_hash"))
        [(number,)] = db.execute(
            "INSERT INTO rows(id, content, columns) VALUES(CAST(? AS TEXT), ?, CAST(? AS TEXT)) ON CONFLICT(id)"
            " DO UPDATE SET columns = excluded.columns, content = coalesce(excluded.content, content)"
            " RETURNING number",
            (id, content, _cells(row)),
        ).fetchall()
        db.execute("INSERT OR REPLACE INTO vectors VALUES(?, ?, ?)", (number, column, vector))


def remove(db: sqlite3.Connection, ids: Iterable[str]) -> int:
    """Delete rows, their vectors, and the files that no other row has; the number of rows deleted."""
    count = 0
    for id in ids:
        gone = db.execute("DELETE FROM rows WHERE id = CAST(? AS TEXT) RETURNING content", (encode(id),)).fetchall()
        count += len(gone)
        for (content,) in gone:
            _forget(db, content)
    return count


def fetch(db: sqlite3.Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of these numbers in their order, each with its `id`."""
    wanted = "SELECT value FROM json_each(?)"
    found = db.execute(f"SELECT number, id, columns FROM rows WHERE number IN ({wanted})", (json.dumps(list(numbers)),))
    known = {number: {"id": id, **json.loads(cells)} for number, id, cells in found}
    return [known[number] for number in numbers]


def _cells(row: Row) -> bytes:
    cells = []
    for name, cell in row.items():
        if name == "id" or name in HIDDEN:
            continue
        with contextlib.suppress(TypeError, ValueError):  # an array, bytes, an infinity: data, or nothing JSON knows
            text = _json(cell)
            if len(text) <= CELL:
                cells.append(_json(str(name)) + b":" + text)
    return b"{" + b",".join(cells) + b"}"


def _json(cell: Any) -> bytes:
    if isinstance(cell, float | np.floating) and cell != cell:
        return b"null"
    try:  # SQLite compares the names of cells as they stand in the text, so they are not escaped
        return json.dumps(cell, ensure_ascii=False, allow_nan=False, default=_plain).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return json.dumps(cell, allow_nan=False, default=_plain).encode()


def _plain(cell: Any) -> Any:
    if isinstance(cell, np.generic):
        return cell.item()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    raise TypeError(cell)


def _content(db: sqlite3.Connection, id: bytes, path: bytes | str | None, digest: str | None) -> int | None:
    """The number of the content of a row's file, whose path is noted; None if the row tells of no file."""
    if path is None and digest is None:
        return None
    place = os.fsencode(path) if path is not None else None
    if digest is None:
        found = db.execute("SELECT content FROM paths WHERE path = ?", (place,)).fetchall()
    else:
        found = db.execute("SELECT number FROM content WHERE hash = ?", (digest,)).fetchall()
    if not found:
        found = db.execute("INSERT INTO content(hash) VALUES(?) RETURNING number", (digest,)).fetchall()
    [(content,)] = found
    if place is not None:
        db.execute("INSERT OR REPLACE INTO paths VALUES(?, ?)", (place, content))
    for (old,) in db.execute("SELECT content FROM rows WHERE id = CAST(? AS TEXT)", (id,)).fetchall():
        if old != content:
            db.execute("UPDATE rows SET content = ? WHERE id = CAST(? AS TEXT)", (content, id))
            _forget(db, old)
    return int(content)


def _forget(db: sqlite3.Connection, content: int | None) -> None:
    """Drop a content and its paths once no row has it."""
    if not db.execute("SELECT 1 FROM rows WHERE content = ?", (content,)).fetchall():
        db.execute("DELETE FROM paths WHERE content = ?", (content,))
        db.execute("DELETE FROM content WHERE number = ?", (content,))
