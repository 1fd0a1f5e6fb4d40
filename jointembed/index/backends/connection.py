"""Connections to an index's SQLite file, and SQLite's errors as errors that a user can act on."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ...errors import DamagedError, DiskFullError, MismatchError, UsageError
from ...files import check_regular
from .schema import APPLICATION_ID, OLDEST_SCHEMA_VERSION, SCHEMA_VERSION, expected_sql, read_version, seal

_FUNCTIONS = {"json_extract", "json_array", "typeof", "abs", "length", "bm25", "match", "count"}
_BROKEN = (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_IOERR_DATA)
_PRAGMAS = {"data_version"}  # FTS5 reads it


def rebuild_command(path: Path) -> str:
    """The command that creates or updates an index."""
    return f"jointembed index MODEL SOURCE {path}"


def recreate_hint(path: Path) -> str:
    """How to recreate an index that cannot be updated; the command alone would be refused."""
    return f"delete it, then run: {rebuild_command(path)}"


def not_an_index(path: Path) -> DamagedError:
    """The error for a file that is not an index: it may be a table, which nobody should be told to delete."""
    fix = f"give the file of an index; if it was one, move it away and run: {rebuild_command(path)}"
    return DamagedError(path, "this is not an index", fix)


def connect(path: Path, uri_query: str) -> sqlite3.Connection:
    """A connection to a file, for one thread at a time."""
    for end in ("-journal", "-wal"):  # which SQLite opens if they are there
        check_regular(f"{path}{end}")
    uri = f"{path.absolute().as_uri()}?{uri_query}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    db.execute("PRAGMA trusted_schema=OFF")
    db.create_function("seal", -1, seal, deterministic=True)
    return db


def connect_reader(path: Path, uri_query: str) -> sqlite3.Connection:
    """A connection that can only select, from a file that is checked to be an index."""
    db = connect(path, uri_query)
    try:
        db.execute("PRAGMA query_only=ON")
        check_schema(db, path)
        # The first use of these asks the authorizer for more than a later one.
        db.execute("SELECT value FROM json_each('[]')").fetchall()
        db.execute("SELECT rowid FROM text WHERE text MATCH 'x' LIMIT 1").fetchall()
    except BaseException:
        db.close()
        raise
    db.set_authorizer(authorize)
    return db


def authorize(action: int, name: str | None, detail: str | None, _database: str | None, _trigger: str | None) -> int:
    """Allow a reader to select, and to call the functions that its queries need."""
    is_read = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_TRANSACTION)
    is_call = action == sqlite3.SQLITE_FUNCTION and detail in _FUNCTIONS
    is_pragma = action == sqlite3.SQLITE_PRAGMA and name in _PRAGMAS
    return sqlite3.SQLITE_OK if is_read or is_call or is_pragma else sqlite3.SQLITE_DENY


@contextlib.contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into errors that name the index and the fix."""
    try:
        yield
    except UnicodeDecodeError as error:  # a broken schema that SQLite quotes in its message
        raise DamagedError(path, "this index is broken", recreate_hint(path)) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # absent where Python itself, not SQLite, complains
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UsageError(path, "another process is writing this index", "wait until it has finished") from error
        if code == sqlite3.SQLITE_FULL:
            fix = "free some space and run the command again"
            raise DiskFullError(path, "no space is left on the disk", fix) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise UsageError(path, "this index may not be opened or written here", "check its permissions") from error
        if code == sqlite3.SQLITE_NOTADB:
            raise not_an_index(path) from error
        # FTS5 has no code of its own for a damaged header of its table.
        is_broken = getattr(error, "sqlite_errorcode", 0) in _BROKEN or "fts5 file format" in str(error)
        if is_broken or code == sqlite3.SQLITE_CORRUPT:
            raise DamagedError(path, "this index is broken", recreate_hint(path)) from error
        if code == sqlite3.SQLITE_IOERR:  # of a disk or a network: the file itself may be whole
            fix = f"check its disk or its network mount, then run: jointembed verify {path}"
            raise DamagedError(path, "the system cannot read or write this index (I/O error)", fix) from error
        raise


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedError or MismatchError unless the file is a whole index of this version."""
    [(application,)], version = db.execute("PRAGMA application_id"), read_version(db)
    if application != APPLICATION_ID:
        raise not_an_index(path)
    if not OLDEST_SCHEMA_VERSION <= version <= SCHEMA_VERSION:
        fix = "pip install -U jointembed" if version > SCHEMA_VERSION else recreate_hint(path)
        raise MismatchError(path, f"another version of jointembed wrote this index (layout {version})", fix)
    schema = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema") if sql is not None}
    if schema != expected_sql(version) or _is_truncated(db, path):
        raise DamagedError(path, "this index is broken", recreate_hint(path))


def has_wal(path: Path) -> bool:
    """Whether a write-ahead log that belongs to the file is beside it."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def has_application_id(path: Path) -> bool:
    """Whether a file says that it is an index."""
    with open(path, "rb") as file:
        return file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")


def _is_truncated(db: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is shorter than its header says; SQLite fills a last page that is cut with zeros.

    The file is not opened: closing it would release all locks of this process on it, and another process could then
    delete the log that its connections read (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    if has_wal(path):
        return False
    [(pages,)], [(size,)] = db.execute("PRAGMA page_count"), db.execute("PRAGMA page_size")
    return path.stat().st_size < int(pages) * int(size)
