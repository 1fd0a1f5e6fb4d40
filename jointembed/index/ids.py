"""What an item of an index may be called: its id, an indexed path, a title."""

from __future__ import annotations

import sqlite3
import unicodedata

from ..errors import UsageError, did_you_mean
from .backends.rows import encode


def number(db: sqlite3.Connection, id: str) -> int | None:
    """The number of the row with this id, or None if there is none."""
    found = db.execute("SELECT number FROM rows WHERE id = CAST(? AS TEXT)", (encode(id),)).fetchall()
    return int(found[0][0]) if found else None


def known(db: sqlite3.Connection, id: str) -> int:
    """The number of the row with this id; Usage, which names those that are alike, if there is none."""
    found = number(db, id)
    if found is None:
        raise UsageError(id, "this id is not in the index", nearest(db, id))
    return found


def nearest(db: sqlite3.Connection, id: str) -> str:
    """Words for a fix: the id or title nearest to a mistyped one, sought among 2000 of each of about its length."""
    known = []
    for name in ("id", "json_extract(columns, '$.title')"):
        sql = f"SELECT {name} FROM rows WHERE typeof({name}) = 'text' ORDER BY abs(length({name}) - ?) LIMIT 2000"
        known += [one for (one,) in db.execute(sql, (len(id),))]
    return did_you_mean(id, known)


def resolve(db: sqlite3.Connection, item: str) -> str | None:
    """The id that an item is known by; see `Index.resolve`."""
    if number(db, item) is not None:
        return item
    name = encode(item)
    sql = "SELECT id FROM paths JOIN rows USING(content) WHERE path = ? ORDER BY number LIMIT 1"
    found = db.execute(sql, (name,)).fetchall()
    if not found:
        plain = encode(unicodedata.normalize("NFC", item))
        cells = "json_extract(columns, '$.title'), json_extract(columns, '$.path')"
        sql = f"SELECT id FROM rows WHERE CAST(? AS TEXT) IN ({cells}) OR CAST(? AS TEXT) IN ({cells})"
        found = db.execute(f"{sql} ORDER BY number", (name, plain)).fetchall()
    if len(found) > 1:
        listed = ", ".join(id for (id,) in found[:8]) + (", ..." if len(found) > 8 else "")
        raise UsageError(item, f"{len(found)} items have this title or path", f"use an id: {listed}")
    return str(found[0][0]) if found else None
