"""Full-text search over the cells of an index's rows, in a cache file beside the index.

It is an FTS5 table of SQLite's, ranked by BM25 (Robertson and Zaragoza 2009); a title counts three times as much as the
rest. Words are compared without capitals and accents. Chinese and Japanese have no spaces: each of their characters is
a word, and what is asked for is a phrase of them.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .backends.reader import Reader
from .snapshot import cache, keep, kept

_TABLE = (
    "CREATE VIRTUAL TABLE told USING fts5"
    "(title, rest, content='', columnsize=1, tokenize=\"unicode61 remove_diacritics 2\")"
)
_LAYOUT = 2
_PART = re.compile(r'"([^"]*)"|(\w+)')
_CHARACTER = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff]")
MOST = 64  # words of a query


class FullTextIndex:
    """The words of the rows of one commit.

    Args:
        state: which commit of the store they are of.
        db: a connection that holds the table.
    """

    def __init__(self, state: str, db: sqlite3.Connection) -> None:
        self.state, self.db = state, db

    def find(self, query: str, k: int | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The numbers (n,) of the rows that have a word of the query, and their scores, the best first.

        Args:
            query: words, or phrases in double quotes; the last word may be only begun.
            k: how many at most; all if None.

        Raises:
            UsageError: it holds no word.
        """
        scored = "SELECT rowid, -bm25(told, 3.0, 1.0) AS score FROM told WHERE told MATCH ?"
        most = -1 if k is None else k
        found = self.db.execute(f"{scored} ORDER BY score DESC, rowid LIMIT ?", (_match(query), most)).fetchall()
        return np.array([number for number, _ in found], np.int64), np.array([score for _, score in found])


def load(store: Reader) -> FullTextIndex:
    """The words of the store's present commit, from their file, which is made anew if need be.

    The file holds a database of SQLite's. It is only a cache: of another sum it is not used, and where it cannot be
    written the table stays in memory, where it is made.
    """
    with store.reading() as source:
        state, path = store.state, cache(store, kind="fts")
        if (db := _opened(path)) is not None:
            return FullTextIndex(state, db)
        db = _made(source)
    keep(path, db.serialize())
    return FullTextIndex(state, db)


def same(path: Path, source: sqlite3.Connection) -> bool:
    """Whether the file of the words of an index's rows is what would be made of them now."""
    if (held := _opened(path)) is None:
        return False
    with contextlib.closing(held), contextlib.closing(_made(source)) as made:
        parts = [f"SELECT * FROM told_{part}" for part in ("data", "idx", "docsize", "config")]  # FTS5's own tables
        with contextlib.suppress(sqlite3.Error):
            return all(made.execute(sql).fetchall() == held.execute(sql).fetchall() for sql in parts)
    return False


def _opened(path: Path) -> sqlite3.Connection | None:
    if kept(path) is None:
        return None
    with contextlib.suppress(sqlite3.Error):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        db.execute("PRAGMA trusted_schema=OFF")
        known = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'told'").fetchall()
        if known == [(_TABLE,)] and db.execute("PRAGMA user_version").fetchall() == [(_LAYOUT,)]:
            return db
        db.close()
    return None


def _made(source: sqlite3.Connection) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.execute(_TABLE)
    db.executemany("INSERT INTO told(rowid, title, rest) VALUES(?, ?, ?)", _told(source))
    db.execute(f"PRAGMA user_version={_LAYOUT}")
    db.commit()
    return db


def _told(db: sqlite3.Connection) -> Iterator[tuple[int, str, str]]:
    for number, id, columns in db.execute("SELECT number, id, columns FROM rows"):
        row = json.loads(columns)
        title = row.pop("title", None)
        yield number, _plain(str(title or "")), _plain(" ".join([id, *_words(row)]))


def _words(cell: Any) -> Iterator[str]:
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, int | float) and not isinstance(cell, bool):
        yield str(cell)
    elif isinstance(cell, list | dict):
        for one in cell.values() if isinstance(cell, dict) else cell:
            yield from _words(one)


def _plain(text: str) -> str:
    if text.isascii():
        return text
    text = text.encode("utf-8", "replace").decode()  # a file name that is no UTF-8 holds surrogates
    return _CHARACTER.sub(r" \g<0> ", text)


def _match(query: str) -> str:
    parts = []
    for found in _PART.finditer(query):
        words = re.findall(r"\w+", _plain(found[0]))
        if words:
            parts.append('"' + " ".join(words) + '"')
    if not parts:
        raise UsageError("query", "it holds no word", "write at least one")
    begun = query[-1:].isalnum()
    return " OR ".join(parts[:MOST]) + ("*" if begun and len(parts) <= MOST else "")
