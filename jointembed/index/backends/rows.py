"""The rows of an index in its SQLite file: their ids, the files that they come from, and their cells as JSON."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError

CELL = 64_000  # bytes of JSON above which a cell is data, not a description
HIDDEN = ("_path", "_hash", "_cell")

Row = Mapping[str, Any]


def ids(rows: Sequence[Row]) -> list[bytes]:
    """The ids of rows as they are stored.

    Raises:
        UsageError: an id is missing, not text, or there twice.
    """
    found = [encode(row.get("id")) for row in rows]
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0].decode("utf-8", "replace")
        raise UsageError(twice, "two rows have this id", "give every row an id of its own")
    return found


def encode(id: object) -> bytes:
    """The bytes of an id, which may be a file name that is not valid UTF-8.

    Raises:
        UsageError: it is not text, or empty.
    """
    with contextlib.suppress(UnicodeEncodeError):
        if isinstance(id, str) and id:
            return id.encode("utf-8", "surrogateescape")
    raise UsageError("id", f"{id!a} is no id", "use text that is not empty")


def names(rows: Sequence[Row]) -> list[str]:
    """The names of the cells that rows have."""
    return list(dict.fromkeys(str(name) for row in rows for name in row if name != "id" and name not in HIDDEN))


def upsert(db: sqlite3.Connection, rows: Iterable[tuple[bytes, Row, bytes]], field: str) -> None:
    """Write (id, row, vector) triples over those of the same id, keeping their numbers and other fields' vectors."""
    for id, row, vector in rows:
        content = _content(db, id, row.get("_path"), row.get("_hash"))
        [(number,)] = db.execute(
            "INSERT INTO rows(id, content, columns) VALUES(CAST(? AS TEXT), ?, CAST(? AS TEXT)) ON CONFLICT(id)"
            " DO UPDATE SET columns = excluded.columns, content = coalesce(excluded.content, content), seal = NULL"
            " RETURNING number",
            (id, content, cells(row)),
        ).fetchall()
        embedded(db, number, field, vector, row.get("_cell"))


def embedded(db: sqlite3.Connection, number: int, field: str, vector: bytes, cell: str | None = None) -> None:
    """Write a row's vector in one field over an older one; `cell` is the digest of what was embedded."""
    sql = "INSERT OR REPLACE INTO vectors(row, field, blob, cell) VALUES(?, ?, ?, ?)"
    db.execute(sql, (number, field, vector, cell))


def update(db: sqlite3.Connection, rows: Iterable[tuple[bytes, Row]]) -> None:
    """Write the cells and paths of rows that are there; ids that are not are passed over."""
    for id, row in rows:
        sql = "UPDATE rows SET columns = CAST(? AS TEXT), seal = NULL WHERE id = CAST(? AS TEXT) RETURNING number"
        found = db.execute(sql, (cells(row), id)).fetchall()
        if found and (content := _content(db, id, row.get("_path"), row.get("_hash"))) is not None:
            db.execute("UPDATE rows SET content = ?, seal = NULL WHERE number = ?", (content, *found[0]))


def merge(db: sqlite3.Connection, id: bytes, row: Row) -> dict[str, Any] | None:
    """A row with its stored cells beside the given ones, without those that are None; None if it is not stored."""
    found = db.execute("SELECT columns FROM rows WHERE id = CAST(? AS TEXT)", (id,)).fetchall()
    if not found:
        return None
    return {name: cell for name, cell in {**json.loads(found[0][0]), **row}.items() if cell is not None}


def differs(db: sqlite3.Connection, id: bytes, row: Row) -> bool:
    """Whether a row that is there has other cells than these, or another path."""
    sql = (
        "SELECT CAST(columns AS BLOB), EXISTS (SELECT 1 FROM paths WHERE paths.content = rows.content AND path = ?)"
        " FROM rows WHERE id = CAST(? AS TEXT)"
    )
    path = row.get("_path")
    found = db.execute(sql, (None if path is None else os.fsencode(path), id)).fetchall()
    return bool(found) and found != [(cells(row), int(path is not None))]


def same(db: sqlite3.Connection, rows: Sequence[Row], field: str) -> list[bool]:
    """Of each row whether its vector in the field was made from a cell of the same digest as its `_cell`."""
    sql = "SELECT cell FROM rows CROSS JOIN vectors ON row = number WHERE id = CAST(? AS TEXT) AND field = ?"
    found = [db.execute(sql, (encode(row.get("id")), field)).fetchall() for row in rows]
    return [row.get("_cell") is not None and old == [(row["_cell"],)] for row, old in zip(rows, found, strict=True)]


def note(db: sqlite3.Connection, key: str, new: Iterable[str]) -> None:
    """Add names to a list of them that the index keeps of itself: `fields` or `columns`."""
    [(old,)] = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchall()
    value = json.dumps(list(dict.fromkeys([*json.loads(old), *new])))
    db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))


def remove(db: sqlite3.Connection, ids: Iterable[str]) -> int:
    """Delete rows, their vectors, and the files that no other row has; the number of rows deleted."""
    count = 0
    for id in ids:
        gone = db.execute("DELETE FROM rows WHERE id = CAST(? AS TEXT) RETURNING content", (encode(id),)).fetchall()
        count += len(gone)
        for (content,) in gone:
            forget(db, content)
    return count


def fetch(db: sqlite3.Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of these numbers in their order, each with its `id`."""
    wanted = "SELECT value FROM json_each(?)"
    found = db.execute(f"SELECT number, id, columns FROM rows WHERE number IN ({wanted})", (json.dumps(list(numbers)),))
    known = {number: {"id": id, **json.loads(cells)} for number, id, cells in found}
    return [known[number] for number in numbers]


def labels(db: sqlite3.Connection, numbers: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.int64]:
    """Of a cell of the rows (N,) of these numbers a code: equal where the cells are, a row's own where there is none.

    Capital and small letters are equal, and so are the ways to write an accent.
    """
    told = dict(db.execute("SELECT number, json_extract(columns, ?) FROM rows", (f'$."{name}"',)))
    codes: dict[object, int] = {}
    made = []
    for at, number in enumerate(numbers.tolist()):
        cell = told.get(number)
        key = unicodedata.normalize("NFKC", cell).casefold() if isinstance(cell, str) else cell
        made.append(-1 - at if key is None else codes.setdefault(key, len(codes)))
    return np.array(made, np.int64)


def cells(row: Row) -> bytes:
    """The cells of a row as one JSON object; those that JSON cannot hold in 64 kB are left out."""
    told = {str(name): cell for name, cell in row.items() if name != "id" and name not in HIDDEN}
    with contextlib.suppress(TypeError, ValueError):
        whole = _JSON.encode(told).encode()
        if len(whole) <= CELL:
            return whole
    kept = []
    for name, cell in told.items():
        with contextlib.suppress(TypeError, ValueError):  # an array, bytes, an infinity: data, or nothing JSON knows
            text = _json(cell)
            if len(text) <= CELL:
                kept.append(_json(name) + b":" + text)
    return b"{" + b",".join(kept) + b"}"


def _json(cell: Any) -> bytes:
    if isinstance(cell, float | np.floating) and cell != cell:
        return b"null"
    try:  # SQLite compares the names of cells as they stand in the text, so they are not escaped
        return _JSON.encode(cell).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return json.dumps(cell, allow_nan=False, default=_plain, separators=(",", ":")).encode()


def _plain(cell: Any) -> Any:
    if isinstance(cell, np.generic):
        return cell.item()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    raise TypeError(cell)


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain, separators=(",", ":"))


def _content(db: sqlite3.Connection, id: bytes, path: bytes | str | None, digest: str | None) -> int | None:
    """The number of the content of a row's file, whose path is noted; None if the row tells of no file."""
    if path is None:
        return None
    place = os.fsencode(path)
    if digest is None:
        found = db.execute("SELECT content FROM paths WHERE path = ?", (place,)).fetchall()
    else:
        found = db.execute("SELECT number FROM content WHERE hash = ?", (digest,)).fetchall()
    if not found:
        found = db.execute("INSERT INTO content(hash) VALUES(?) RETURNING number", (digest,)).fetchall()
    [(content,)] = found
    db.execute("INSERT OR REPLACE INTO paths(path, content) VALUES(?, ?)", (place, content))
    for (old,) in db.execute("SELECT content FROM rows WHERE id = CAST(? AS TEXT)", (id,)).fetchall():
        if old != content:
            db.execute("UPDATE rows SET content = ?, seal = NULL WHERE id = CAST(? AS TEXT)", (content, id))
            forget(db, old)
    return int(content)


def forget(db: sqlite3.Connection, content: int | None) -> None:
    """Drop a content and its paths once no row has it."""
    if not db.execute("SELECT 1 FROM rows WHERE content = ?", (content,)).fetchall():
        db.execute("DELETE FROM paths WHERE content = ?", (content,))
        db.execute("DELETE FROM content WHERE number = ?", (content,))
