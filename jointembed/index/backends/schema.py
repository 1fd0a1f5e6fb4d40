"""The tables of an index's SQLite file, and the seal of every record: a checksum that tells of a flipped bit."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator

APPLICATION = 0x4A6E456D  # "JnEm", at a fixed place of the file's header
SCHEMA = 3

# A row's number is never used again, so that the order of the numbers is the order in which rows came.
# A path has a size if a scan of a folder found it; it is missing since the time, in seconds, when a scan did not.
_RECORDS = {  # name: its columns, its constraints, and what is sealed
    "content": ("number INTEGER PRIMARY KEY, hash TEXT UNIQUE", "", ("number", "hash")),
    "paths": (
        "path BLOB PRIMARY KEY, content INTEGER NOT NULL REFERENCES content(number), size INTEGER, mtime INTEGER,"
        " inode INTEGER, missing INTEGER",
        "",
        ("path", "content", "size", "mtime", "inode", "missing"),
    ),
    "rows": (
        "number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
        " content INTEGER REFERENCES content(number), columns TEXT NOT NULL",
        "",
        ("number", "id", "content", "columns"),
    ),
    "vectors": (
        "row INTEGER NOT NULL REFERENCES rows(number) ON DELETE CASCADE, field TEXT NOT NULL, blob BLOB NOT NULL,"
        " cell TEXT",
        ", PRIMARY KEY(field, row)",
        ("row", "field", "blob", "cell"),
    ),
    # Words of the model's own space, by the column whose vectors they are compared with.
    "terms": (
        "field TEXT NOT NULL, word TEXT NOT NULL, blob BLOB NOT NULL",
        ", PRIMARY KEY(field, word)",
        ("field", "word", "blob"),
    ),
    "skips": (
        "path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, hash TEXT, reason TEXT NOT NULL, problem TEXT NOT NULL,"
        " fix TEXT NOT NULL, decoder_version TEXT NOT NULL",
        "",
        ("path", "size", "mtime", "hash", "reason", "problem", "fix", "decoder_version"),
    ),
}
TABLES = (
    *(f"CREATE TABLE {name}({columns}, seal INTEGER{more}) STRICT" for name, (columns, more, _) in _RECORDS.items()),
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE INDEX vectors_row ON vectors(row)",
    "CREATE INDEX rows_content ON rows(content)",
    "CREATE INDEX paths_content ON paths(content)",
    *(f"CREATE INDEX {name}_open ON {name}(seal) WHERE seal IS NULL" for name in _RECORDS),
)
OWN = {*TABLES, "CREATE TABLE sqlite_sequence(name,seq)"}


def seal(*values: bytes | None) -> int:
    """The CRC-32 of a record: any one flipped bit of it changes this."""
    return zlib.crc32(b"".join(b"-" if value is None else b"%d:%b" % (len(value), value) for value in values))


def close(db: sqlite3.Connection) -> None:
    """Seal every record that was written, which is every one whose seal is NULL, and the table `meta`.

    The connection must have had `seal` registered; see `sqlite.connect`.
    """
    for name, (_, _, columns) in _RECORDS.items():
        db.execute(f"UPDATE {name} SET seal = {_call(columns)} WHERE seal IS NULL")
    db.execute("INSERT OR REPLACE INTO meta VALUES('seal', ?)", (str(_whole(db)),))


def broken(db: sqlite3.Connection) -> Iterator[str]:
    """Say of every record that is not as it was sealed where it is."""
    for name, (_, _, columns) in _RECORDS.items():
        wrong = f"seal IS NOT {_call(columns)}"
        for (number,) in db.execute(f"SELECT rowid FROM {name} WHERE {wrong}"):
            yield f"record {number} of the table {name} has changed since it was written"
    if dict(db.execute("SELECT key, value FROM meta")).get("seal") != str(_whole(db)):
        yield "what this index says of itself has changed since it was written"


def _call(columns: tuple[str, ...]) -> str:
    return f"seal({', '.join(f'CAST({column} AS BLOB)' for column in columns)})"


def _whole(db: sqlite3.Connection) -> int:
    kept = db.execute("SELECT CAST(key AS BLOB), CAST(value AS BLOB) FROM meta WHERE key <> 'seal' ORDER BY key")
    return seal(*(part for pair in kept for part in pair))
