"""The records of rows in an index's SQLite file. Functions that write are called within `SQLiteBackend.write`."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...errors import UsageError
from .base import Row
from .encoding import encode_cells, encode_id

_BLOCK_ROWS = 4_096
_MAX_PARAMETERS = 20  # of a statement, which SQLite then keeps compiled; a few rows are read in half of the time


def fetch(db: sqlite3.Connection, keys: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of some keys in their order, each with its `id`."""
    numbers = [int(key) for key in keys]
    if len(numbers) <= _MAX_PARAMETERS:
        selected, parameters = ", ".join("?" * len(numbers)), list[Any](numbers)
    else:
        selected, parameters = "SELECT value FROM json_each(?)", [json.dumps(numbers)]
    sql = f"SELECT number, id, CAST(columns AS BLOB) FROM rows WHERE number IN ({selected})"
    records = db.execute(sql, parameters).fetchall()
    text = b",".join([columns for _, _, columns in records]).decode("utf-8", "surrogateescape")
    # To parse all cells at once takes half of the time.
    rows = {key: {"id": id, **cells} for (key, id, _), cells in zip(records, json.loads(f"[{text}]"), strict=True)}
    return [rows[number] for number in numbers]


def upsert(
    db: sqlite3.Connection, ids: Sequence[bytes], rows: Sequence[Row], vectors: Sequence[bytes], field: str
) -> None:
    """Insert rows or replace those with the same id, which keep their keys and their vectors of other fields."""
    for id, row, vector in zip(ids, rows, vectors, strict=True):
        content = _record_content(db, id, row.get("_file"), row.get("_hash"))
        [(key,)] = db.execute(
            "INSERT INTO rows(id, content, columns) VALUES(CAST(? AS TEXT), ?, CAST(? AS TEXT)) ON CONFLICT(id)"
            " DO UPDATE SET columns = excluded.columns, content = coalesce(excluded.content, content), seal = NULL"
            " RETURNING number",
            (id, content, encode_cells(row)),
        ).fetchall()
        write_vector(db, key, field, vector, row.get("_digest"))


def write_vector(db: sqlite3.Connection, key: int, field: str, vector: bytes, digest: str | None = None) -> None:
    """Write the vector of a row in a field; `digest` identifies the cell that was embedded."""
    sql = "INSERT OR REPLACE INTO vectors(row, field, blob, digest) VALUES(?, ?, ?, ?)"
    db.execute(sql, (key, field, vector, digest))


def write_cells(db: sqlite3.Connection, key: int, row: Row) -> None:
    """Replace the cells of a row."""
    sql = "UPDATE rows SET columns = CAST(? AS TEXT), seal = NULL WHERE number = ?"
    db.execute(sql, (encode_cells(row), key))


def update(db: sqlite3.Connection, ids: Sequence[bytes], rows: Sequence[Row]) -> None:
    """Replace the cells and files of rows that exist; others are ignored."""
    for id, row in zip(ids, rows, strict=True):
        for (key,) in db.execute("SELECT number FROM rows WHERE id = CAST(? AS TEXT)", (id,)).fetchall():
            write_cells(db, key, row)
            if (content := _record_content(db, id, row.get("_file"), row.get("_hash"))) is not None:
                db.execute("UPDATE rows SET content = ?, seal = NULL WHERE number = ?", (content, key))


def stored_cells(db: sqlite3.Connection, id: bytes, path: bytes | str | None) -> tuple[bytes, bool] | None:
    """The cells of a row as JSON, and whether it has a file with this path; None if there is no such row."""
    sql = (
        "SELECT CAST(columns AS BLOB), EXISTS (SELECT 1 FROM paths WHERE paths.content = rows.content AND path = ?)"
        " FROM rows WHERE id = CAST(? AS TEXT)"
    )
    records = db.execute(sql, (None if path is None else os.fsencode(path), id)).fetchall()
    return (records[0][0], bool(records[0][1])) if records else None


def write_column(db: sqlite3.Connection, name: str, values: Mapping[str, Any], replaceable: Collection[Any]) -> None:
    """Write a column of all rows: the value of each id, and none where an id has none.

    Raises:
        UsageError: a row has a value in this column that is not one of those that may be replaced.
    """
    keys = [key for (key,) in db.execute("SELECT number FROM rows ORDER BY number")]
    for start in range(0, len(keys), _BLOCK_ROWS):
        block = keys[start : start + _BLOCK_ROWS]
        for key, row in zip(block, fetch(db, block), strict=True):
            old, new = row.pop(name, None), values.get(row["id"])
            if old is not None and old not in replaceable:
                fix = "choose another --output-column"
                raise UsageError(name, "the rows already have a column of this name", fix)
            if old != new:
                write_cells(db, key, row if new is None else {**row, name: new})


def write_vocabulary(db: sqlite3.Connection, field: str, terms: Sequence[str], vectors: Sequence[bytes]) -> None:
    """Replace the vocabulary of a field."""
    db.execute("DELETE FROM terms WHERE field = ?", (field,))
    records = zip([field] * len(terms), terms, vectors, strict=True)
    db.executemany("INSERT INTO terms VALUES(?, ?, ?, NULL)", records)


def delete(db: sqlite3.Connection, ids: Iterable[str]) -> int:
    """Delete rows, their vectors, and the files that no other row has; return the number of rows."""
    count = 0
    for id in ids:
        sql = "DELETE FROM rows WHERE id = CAST(? AS TEXT) RETURNING content"
        deleted = db.execute(sql, (encode_id(id),)).fetchall()
        count += len(deleted)
        for (content,) in deleted:
            delete_orphan_content(db, content)
    return count


def delete_orphan_content(db: sqlite3.Connection, content: int | None) -> None:
    """Delete a content and its paths if no row has it."""
    if not db.execute("SELECT 1 FROM rows WHERE content = ?", (content,)).fetchall():
        db.execute("DELETE FROM paths WHERE content = ?", (content,))
        db.execute("DELETE FROM content WHERE number = ?", (content,))


def _record_content(db: sqlite3.Connection, id: bytes, path: bytes | str | None, hash: str | None) -> int | None:
    """Record the file of a row; return the number of its content, None if the row has no file."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    if hash is None:
        numbers = db.execute("SELECT content FROM paths WHERE path = ?", (encoded,)).fetchall()
    else:
        numbers = db.execute("SELECT number FROM content WHERE hash = ?", (hash,)).fetchall()
    if not numbers:
        numbers = db.execute("INSERT INTO content(hash) VALUES(?) RETURNING number", (hash,)).fetchall()
    [(content,)] = numbers
    db.execute("INSERT OR REPLACE INTO paths(path, content) VALUES(?, ?)", (encoded, content))
    for (old,) in db.execute("SELECT content FROM rows WHERE id = CAST(? AS TEXT)", (id,)).fetchall():
        if old != content:
            db.execute("UPDATE rows SET content = ?, seal = NULL WHERE id = CAST(? AS TEXT)", (content, id))
            delete_orphan_content(db, old)
    return int(content)
