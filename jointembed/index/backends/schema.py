"""The tables of an index's SQLite file, and the seal of every record: a checksum that a flipped bit breaks."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

APPLICATION_ID = 0x4A6E456D  # "JnEm", at a fixed place of the file's header
SCHEMA_VERSION = 6
OLDEST_SCHEMA_VERSION = 5  # which differs in the full text alone, and is read as it is until it is written
MAX_COMMITS_IN_HISTORY = 200  # vectors of an older version are read again whole


@dataclass(frozen=True)
class TableSpec:
    """A table whose records are sealed: its columns and constraints as SQL, and the columns that the seal covers."""

    columns: str
    sealed: tuple[str, ...]
    constraints: str = ""


# The key of a row (`number`) is never used again, so that the order of the keys is the order in which rows came.
# `tags` and `inferred` are the cells that scans wrote into the row of a content, from its bytes and from its path.
# A path has a size if a scan of a folder found it; it is missing since the time, in seconds, when a scan did not.
# The generation of a vector is that of the commit that wrote it; see `changed_vectors`.
_SPECS = {
    "content": TableSpec(
        "number INTEGER PRIMARY KEY, hash TEXT UNIQUE, tags TEXT, inferred TEXT",
        ("number", "hash", "tags", "inferred"),
    ),
    "paths": TableSpec(
        "path BLOB PRIMARY KEY, content INTEGER NOT NULL REFERENCES content(number), size INTEGER, mtime INTEGER,"
        " inode INTEGER, link INTEGER, missing INTEGER",
        ("path", "content", "size", "mtime", "inode", "link", "missing"),
    ),
    "rows": TableSpec(
        "number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
        " content INTEGER REFERENCES content(number), columns TEXT NOT NULL",
        ("number", "id", "content", "columns"),
    ),
    "vectors": TableSpec(
        "row INTEGER NOT NULL REFERENCES rows(number) ON DELETE CASCADE, field TEXT NOT NULL, blob BLOB NOT NULL,"
        " digest TEXT, generation INTEGER",
        ("row", "field", "blob", "digest", "generation"),
        ", PRIMARY KEY(field, row)",
    ),
    "removed": TableSpec(  # vectors that a commit deleted
        "number INTEGER PRIMARY KEY, row INTEGER NOT NULL, field TEXT NOT NULL, generation INTEGER",
        ("number", "row", "field", "generation"),
    ),
    "commits": TableSpec("generation INTEGER PRIMARY KEY, token TEXT NOT NULL", ("generation", "token")),
    "terms": TableSpec(  # the vocabulary of a field
        "field TEXT NOT NULL, word TEXT NOT NULL, blob BLOB NOT NULL",
        ("field", "word", "blob"),
        ", PRIMARY KEY(field, word)",
    ),
    "skips": TableSpec(
        "path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, hash TEXT, reason TEXT NOT NULL, problem TEXT NOT NULL,"
        " fix TEXT NOT NULL, decoder_version TEXT NOT NULL",
        ("path", "size", "mtime", "hash", "reason", "problem", "fix", "decoder_version"),
    ),
}
_TEXT_TABLE = (
    "CREATE VIRTUAL TABLE text USING fts5"
    "(title, rest, content='', columnsize=1, tokenize=\"unicode61 remove_diacritics 2%s\")"
)
TEXT_TABLE = _TEXT_TABLE % " categories 'L* N* Co Mn Mc'"  # by default vowel signs would end a word
OLDEST_TEXT_TABLE = _TEXT_TABLE % ""
TEXT_PARTS = ("data", "idx", "docsize", "config")  # FTS5's own tables
TABLES = (
    *(f"CREATE TABLE {name}({spec.columns}, seal INTEGER{spec.constraints}) STRICT" for name, spec in _SPECS.items()),
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE INDEX vectors_row ON vectors(row)",
    "CREATE INDEX vectors_generation ON vectors(field, generation)",
    "CREATE INDEX removed_generation ON removed(field, generation)",
    "CREATE INDEX rows_content ON rows(content)",
    "CREATE INDEX paths_content ON paths(content)",
    *(f"CREATE INDEX {name}_open ON {name}(seal) WHERE seal IS NULL" for name in _SPECS),
    TEXT_TABLE,
)
EXPECTED_SQL = {
    *TABLES,
    "CREATE TABLE sqlite_sequence(name,seq)",
    "CREATE TABLE 'text_data'(id INTEGER PRIMARY KEY, block BLOB)",
    "CREATE TABLE 'text_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
    "CREATE TABLE 'text_docsize'(id INTEGER PRIMARY KEY, sz BLOB)",
    "CREATE TABLE 'text_config'(k PRIMARY KEY, v) WITHOUT ROWID",
}


def read_version(db: sqlite3.Connection) -> int:
    """The version of the schema that a file says it has."""
    [(version,)] = db.execute("PRAGMA user_version")
    return int(version)


def expected_sql(version: int) -> set[str]:
    """The SQL of all tables and indexes of a version."""
    return EXPECTED_SQL if version == SCHEMA_VERSION else EXPECTED_SQL - {TEXT_TABLE} | {OLDEST_TEXT_TABLE}


def seal(*values: bytes | None) -> int:
    """The CRC-32 of a record, which changes with any one bit of it."""
    return zlib.crc32(b"".join(b"-" if value is None else b"%d:%b" % (len(value), value) for value in values))


def seal_records(db: sqlite3.Connection, generation: int) -> None:
    """Seal every record that was written, which is each whose seal is NULL, and the table `meta`.

    Vectors written and removed get the generation first. `db` must have the function `seal`; see `connect`.
    """
    for name in ("vectors", "removed"):
        db.execute(f"UPDATE {name} SET generation = ? WHERE seal IS NULL", (generation,))
    for name, spec in _SPECS.items():
        db.execute(f"UPDATE {name} SET seal = {_seal_expression(spec)} WHERE seal IS NULL")
    db.execute("INSERT OR REPLACE INTO meta VALUES('seal', ?)", (str(_meta_seal(db)),))


def corrupt_records(db: sqlite3.Connection) -> Iterator[str]:
    """Yield one message for each record whose checksum does not match."""
    for name, spec in _SPECS.items():
        for (number,) in db.execute(f"SELECT rowid FROM {name} WHERE seal IS NOT {_seal_expression(spec)}"):
            yield f"record {number} of the table {name} has changed since it was written"
    if dict(db.execute("SELECT key, value FROM meta")).get("seal") != str(_meta_seal(db)):
        yield "the description of this index has changed since it was written"


def _seal_expression(spec: TableSpec) -> str:
    return f"seal({', '.join(f'CAST({column} AS BLOB)' for column in spec.sealed)})"


def _meta_seal(db: sqlite3.Connection) -> int:
    pairs = db.execute("SELECT CAST(key AS BLOB), CAST(value AS BLOB) FROM meta WHERE key <> 'seal' ORDER BY key")
    return seal(*(part for pair in pairs for part in pair))
