"""What an index knows of the files of its folder: paths, contents and skips in its SQLite file.

A content is the bytes of a file, known by their hash. It has one row, with one vector a column, and any number of
paths. Each function that writes is called within `Store.writing`. (CROSS JOIN keeps SQLite to the order as written: it
would else begin with all vectors of a column, at each file.)
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ..index.backends.rows import cells, embedded, forget
from ..index.index import Index
from .walk import File, Skip


class Known(NamedTuple):
    """A file as it was at the last scan."""

    size: int
    mtime: int
    inode: int
    content: int
    missing: int | None


def text(path: bytes) -> str:
    """A path for people: composed characters (NFC); bytes that are no UTF-8 are kept as surrogates."""
    return unicodedata.normalize("NFC", os.fsdecode(path))


def known(db: sqlite3.Connection, column: str) -> dict[bytes, Known]:
    """The paths that a scan found whose content has a vector in the column."""
    sql = (
        "SELECT path, size, mtime, inode, paths.content, missing FROM paths WHERE size IS NOT NULL AND EXISTS"
        ' (SELECT 1 FROM rows CROSS JOIN vectors ON row = number WHERE rows.content = paths.content AND "column" = ?)'
    )
    return {path: Known(*rest) for path, *rest in db.execute(sql, (column,))}


def alike(db: sqlite3.Connection) -> set[tuple[int, int]]:
    """The sizes and times that several files share, so that these do not tell one from another."""
    sql = "SELECT size, mtime FROM paths WHERE size IS NOT NULL GROUP BY size, mtime HAVING count(*) > 1"
    return {(size, mtime) for size, mtime in db.execute(sql)}


def content(db: sqlite3.Connection, hash: str, column: str) -> int | None:
    """The number of the content of this hash, if it has a vector in the column."""
    sql = (
        "SELECT content.number FROM content CROSS JOIN rows ON rows.content = content.number"
        ' CROSS JOIN vectors ON row = rows.number WHERE hash = ? AND "column" = ? LIMIT 1'
    )
    found = db.execute(sql, (hash, column)).fetchall()
    return int(found[0][0]) if found else None


def skipped(db: sqlite3.Connection) -> dict[bytes, Skip]:
    """The skips of the last scan, by their paths in their order."""
    sql = "SELECT path, reason, wrong, fix, size, mtime, hash, decoder FROM skips ORDER BY path"
    return {path: Skip(path, *rest) for path, *rest in db.execute(sql)}


def skips(index: Index) -> list[Skip]:
    """All that the last scan of an index left out, in the order of the paths."""
    with index.reading() as db:
        return list(skipped(db).values())


def place(db: sqlite3.Connection, file: File, number: int) -> None:
    """Note that a content lies at a path, which is no skip then; the row of what lay there tells of another path."""
    old = db.execute("SELECT content FROM paths WHERE path = ?", (file.path,)).fetchall()
    homeless = not db.execute("SELECT 1 FROM paths WHERE content = ? LIMIT 1", (number,)).fetchall()
    sql = "INSERT OR REPLACE INTO paths(path, content, size, mtime, inode) VALUES(?, ?, ?, ?, ?)"
    db.execute(sql, (file.path, number, file.size, file.mtime, file.inode))
    db.execute("DELETE FROM skips WHERE path = ?", (file.path,))
    _rename(db, {content for (content,) in old if content != number} | ({number} if homeless else set()))


def skip(db: sqlite3.Connection, one: Skip) -> None:
    """Note a skip. What lay at its path before is missing if something else is known to lie there now."""
    sql = (
        "INSERT OR REPLACE INTO skips(path, size, mtime, hash, reason, wrong, fix, decoder)"
        " VALUES(?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?)"
    )
    words = [word.encode("utf-8", "surrogateescape") for word in (one.reason, one.wrong, one.fix)]
    db.execute(sql, (one.path, one.size, one.mtime, one.hash, *words, one.decoder))
    if one.hash is not None:
        lose(db, one.path)


def lose(db: sqlite3.Connection, path: bytes) -> None:
    """Mark a file as missing since now."""
    sql = "UPDATE paths SET missing = ?, seal = NULL WHERE path = ? AND size IS NOT NULL AND missing IS NULL"
    db.execute(sql, (int(time.time()), path))


def put(db: sqlite3.Connection, file: File, hash: str, row: dict[str, Any], column: str, vector: bytes) -> int:
    """Write a file's row, and its vector in a column; the number of its content.

    The row of this content takes it, else the row of what lay at this path, unless that lies elsewhere too, else a
    new one.
    """
    db.execute("INSERT OR IGNORE INTO content(hash) VALUES(?)", (hash,))
    [(number,)] = db.execute("SELECT number FROM content WHERE hash = ?", (hash,)).fetchall()
    found = db.execute("SELECT number FROM rows WHERE content = ?", (number,)).fetchall()
    old = db.execute("SELECT content FROM paths WHERE path = ? AND size IS NOT NULL", (file.path,)).fetchall()
    place(db, file, number)
    if not found and old and not db.execute("SELECT 1 FROM paths WHERE content = ?", old[0]).fetchall():
        found = db.execute("SELECT number FROM rows WHERE content = ?", old[0]).fetchall()
        db.executemany("DELETE FROM vectors WHERE row = ?", found)
        db.execute("UPDATE rows SET content = ?, seal = NULL WHERE content = ?", (number, *old[0]))
        forget(db, old[0][0])
    if not found:
        sql = "INSERT INTO rows(id, content, columns) VALUES(CAST(? AS TEXT), ?, '{}') RETURNING number"
        found = db.execute(sql, (_id(db, file.path, hash), number)).fetchall()
    for (at,) in found:
        db.execute("UPDATE rows SET columns = CAST(? AS TEXT), seal = NULL WHERE number = ?", (cells(row), at))
        embedded(db, at, column, vector)
    return int(number)


def settle(db: sqlite3.Connection, gone: Collection[bytes]) -> dict[int, int]:
    """Note at the end of a scan that files are not there any more.

    A file that also lies elsewhere has moved: its old path goes, and its row tells of another. Others are marked as
    missing. A row goes only if each of its paths was seen to hold something else.

    Returns:
        How many paths went, by the number of their content.
    """
    for path in gone:
        lose(db, path)
    away = (
        "FROM paths WHERE missing IS NOT NULL AND EXISTS"
        " (SELECT 1 FROM paths AS other WHERE other.content = paths.content AND other.missing IS NULL)"
    )
    moved: dict[int, int] = {}
    for (number,) in db.execute(f"SELECT content {away}").fetchall():
        moved[number] = moved.get(number, 0) + 1
    db.execute(f"DELETE {away}")
    _rename(db, moved)
    replaced = "SELECT number FROM content WHERE hash IS NOT NULL AND number NOT IN (SELECT content FROM paths)"
    for (number,) in db.execute(replaced).fetchall():
        db.execute("DELETE FROM rows WHERE content = ?", (number,))
        forget(db, number)
    return moved


def _rename(db: sqlite3.Connection, contents: Iterable[int]) -> None:
    """Let rows tell of a path that they still have, and of its name if their title was only a name."""
    for number in contents:
        rows = db.execute("SELECT number, columns FROM rows WHERE content = ?", (number,)).fetchall()
        for at, columns in rows:
            row = json.loads(columns)
            old, first = str(row.get("path")), None
            for (path,) in db.execute("SELECT path FROM paths WHERE content = ? ORDER BY path", (number,)):
                first = first or text(path)
                if text(path) == old:
                    break
            else:
                if first is not None:
                    row |= {"path": first} | ({"title": stem(first)} if row.get("title") == stem(old) else {})
                    sql = "UPDATE rows SET columns = CAST(? AS TEXT), seal = NULL WHERE number = ?"
                    db.execute(sql, (cells(row), at))


def stem(path: str) -> str:
    """A file's name without its folder and extension."""
    return os.path.splitext(os.path.basename(path))[0]


def _id(db: sqlite3.Connection, path: bytes, hash: str) -> bytes:
    """The path; with some of the hash if a file that was moved from there, and keeps its id, has it."""
    taken = db.execute("SELECT 1 FROM rows WHERE id = CAST(? AS TEXT)", (path,)).fetchall()
    return path + b"#" + hash[:12].encode() if taken else path
