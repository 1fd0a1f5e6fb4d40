"""Full-text search over the metadata of an index, in the file of the index.

It is an FTS5 table of SQLite, ranked by BM25 (Robertson and Zaragoza 2009); a word in the title counts three times as
much. Case, accents, and the points of Hebrew and Arabic are ignored; vowel signs, such as those of Hindi, are not.
Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces: each of their characters is a word, and a query is a
phrase of them. A commit writes only the rows that it changes.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...words import drop_accents, space_characters, word_characters
from .schema import SCHEMA_VERSION, TEXT_PARTS, TEXT_TABLE, read_version

MAX_TERMS_IN_QUERY = 64


def search(db: sqlite3.Connection, query: str, k: int | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The keys (n,) of the rows that have a word of the query, and their scores, best first.

    Args:
        db: a connection to the index.
        query: words, or phrases in double quotes; the last word may be incomplete.
        k: the largest number of results; all if None.

    Raises:
        UsageError: the query holds no word.
    """
    sql = "SELECT rowid, -bm25(text, 3.0, 1.0) AS score FROM text WHERE text MATCH ? ORDER BY score DESC, rowid LIMIT ?"
    rows = db.execute(sql, (fts_query(query), -1 if k is None else k)).fetchall()
    return np.array([key for key, _ in rows], np.int64), np.array([score for _, score in rows])


def track_changes(db: sqlite3.Connection) -> None:
    """Make a connection remember the rows that it changes, as they were, and the vectors that it deletes."""
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute("CREATE TEMP TABLE changed(number INTEGER PRIMARY KEY, id TEXT, columns TEXT)")
    for name, event, values in (
        ("inserted", "AFTER INSERT", "NEW.number, NULL, NULL"),
        ("updated", "BEFORE UPDATE OF columns", "OLD.number, OLD.id, OLD.columns"),
        ("deleted", "BEFORE DELETE", "OLD.number, OLD.id, OLD.columns"),
    ):
        insert = f"INSERT OR IGNORE INTO changed VALUES({values})"
        db.execute(f"CREATE TEMP TRIGGER {name} {event} ON main.rows BEGIN {insert}; END")
    insert = "INSERT INTO removed(row, field) VALUES(OLD.row, OLD.field)"
    db.execute(f"CREATE TEMP TRIGGER vector_deleted AFTER DELETE ON main.vectors BEGIN {insert}; END")


def upgrade(db: sqlite3.Connection) -> None:
    """Write the full text anew where an older version of jointembed split words at their vowel signs."""
    if read_version(db) == SCHEMA_VERSION:
        return
    db.execute("DROP TABLE text")
    db.execute(TEXT_TABLE)
    _insert(db, db.execute("SELECT number, id, columns FROM rows ORDER BY number"))
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def write_changes(db: sqlite3.Connection) -> None:
    """Bring the full text up to date with the rows that this transaction changed; see `track_changes`."""
    old = db.execute("SELECT number, id, columns FROM changed WHERE id IS NOT NULL").fetchall()
    delete = "INSERT INTO text(text, rowid, title, rest) VALUES('delete', ?, ?, ?)"
    db.executemany(delete, (document(*row) for row in old))
    new = db.execute("SELECT number, rows.id, rows.columns FROM changed JOIN rows USING(number)").fetchall()
    _insert(db, new)
    db.execute("DELETE FROM changed")


def _insert(db: sqlite3.Connection, rows: Iterable[tuple[int, str, str]]) -> None:
    db.executemany("INSERT INTO text(rowid, title, rest) VALUES(?, ?, ?)", (document(*row) for row in rows))


def is_consistent(db: sqlite3.Connection) -> bool:
    """Whether the full text is what the rows of an index give; one of an older version is only checked to be whole."""
    stored, fresh = (sqlite3.connect(":memory:") for _ in range(2))
    try:
        for memory in (stored, fresh):
            memory.execute(TEXT_TABLE)
        for part in TEXT_PARTS:
            stored.execute(f"DELETE FROM text_{part}")
            records = db.execute(f"SELECT * FROM text_{part}")
            marks = ", ".join("?" * len(records.description))
            stored.executemany(f"INSERT INTO text_{part} VALUES({marks})", records)
        stored.execute("INSERT INTO text(text) VALUES('integrity-check')")
        if read_version(db) != SCHEMA_VERSION:
            return True
        _insert(fresh, db.execute("SELECT number, id, columns FROM rows ORDER BY number"))
        for memory in (stored, fresh):
            memory.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, text, instance)")
        queries = (
            "SELECT term, doc, col, offset FROM terms ORDER BY term, doc, col, offset",
            "SELECT id, sz FROM text_docsize ORDER BY id",
            "SELECT block FROM text_data WHERE id = 1",  # the totals that BM25 needs
            "SELECT k, v FROM text_config ORDER BY k",
        )
        return all(stored.execute(sql).fetchall() == fresh.execute(sql).fetchall() for sql in queries)
    except sqlite3.Error:
        return False
    finally:
        stored.close()
        fresh.close()


def document(key: int, id: str, columns: str) -> tuple[int, str, str]:
    """The key, the title and all other words of a row."""
    cells = json.loads(columns)
    title = cells.pop("title", None)
    return key, _normalize(str(title or "")), _normalize(" ".join([id, *_iter_words(cells)]))


def fts_query(query: str) -> str:
    """A query in the syntax of FTS5.

    Raises:
        UsageError: it holds no word.
    """
    query = drop_accents(query)
    word = f"[{word_characters(query)}]+"
    parts = []
    for part in re.finditer(f'"([^"]*)"|({word})', query):
        words = re.findall(word, space_characters(part[0]))
        if words:
            parts.append('"' + " ".join(words) + '"')
    if not parts:
        raise UsageError("query", "it holds no word", "write at least one")
    is_incomplete = re.fullmatch(word, query[-1:]) and query[-1:] != "_" and len(parts) <= MAX_TERMS_IN_QUERY
    return " OR ".join(parts[:MAX_TERMS_IN_QUERY]) + ("*" if is_incomplete else "")


def _iter_words(cell: Any) -> Iterator[str]:
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, int | float) and not isinstance(cell, bool):
        yield str(cell)
    elif isinstance(cell, list | dict):
        for element in cell.values() if isinstance(cell, dict) else cell:
            yield from _iter_words(element)


def _normalize(text: str) -> str:
    """The text as it is split into words: without accents and surrogates, with spaces where a script has none."""
    if text.isascii():
        return text
    return space_characters(drop_accents(text.encode("utf-8", "replace").decode()))
