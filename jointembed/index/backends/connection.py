"""Connections to an index's SQLite file, and SQLite's complaints as failures that a user can mend."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ...errors import DamagedError, DiskFullError, MismatchError, UsageError
from .schema import APPLICATION, OWN, SCHEMA, seal

_FUNCTIONS = {"json_extract", "json_type", "json_array", "typeof", "coalesce", "count", "abs", "length", "like"}


def mend(path: Path) -> str:
    """The command that makes or fills an index."""
    return f"jointembed index MODEL SOURCE {path}"


def anew(path: Path) -> str:
    """What to do with an index that cannot be gone on with: the command alone would refuse it again."""
    return f"delete it, then run: {mend(path)}"


def strange(path: Path) -> DamagedError:
    """The complaint of a file that is no index: it may be a table, which nobody should be told to delete."""
    fix = f"give the file of an index; if it was one, move it away and run: {mend(path)}"
    return DamagedError(path, "this is not an index", fix)


def connect(path: Path, how: str) -> sqlite3.Connection:
    """A connection to a file, opened as the URI's query `how` says."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
    db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    db.execute("PRAGMA trusted_schema=OFF")
    db.create_function("seal", -1, seal, deterministic=True)
    return db


def allowed(action: int, name: str | None, function: str | None, _database: str | None, _trigger: str | None) -> int:
    """Whether a reader may do this: it may select, and call what a condition needs."""
    plain = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_TRANSACTION)
    known = action == sqlite3.SQLITE_FUNCTION and function in _FUNCTIONS
    return sqlite3.SQLITE_OK if plain or known else sqlite3.SQLITE_DENY


@contextlib.contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn what SQLite complains of into a failure that names the index and what mends it."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # absent where Python itself, not SQLite, complains
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UsageError(path, "another process is writing this index", "wait until it has finished") from error
        if code == sqlite3.SQLITE_FULL:
            raise DiskFullError(
                path, "no space is left on the disk", "free some space and run the command again"
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise UsageError(path, "this index may not be opened or written here", "check its permissions") from error
        if code == sqlite3.SQLITE_NOTADB:
            raise strange(path) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR):
            raise DamagedError(path, "this index is broken", anew(path)) from error
        raise


def verify(db: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedError or Mismatch unless what was opened is an index of this version, as long as it says."""
    [(application,)], [(version,)] = db.execute("PRAGMA application_id"), db.execute("PRAGMA user_version")
    if application != APPLICATION:
        raise strange(path)
    if version != SCHEMA:
        fix = "pip install -U jointembed" if version > SCHEMA else anew(path)
        raise MismatchError(path, f"another version of jointembed wrote this index (layout {version})", fix)
    schema = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema") if sql is not None}
    if schema != OWN or _cut(path):
        raise DamagedError(path, "this index is broken", anew(path))


def logged(path: Path) -> bool:
    """Whether a log lies beside the file, which belongs to it."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def ours(path: Path) -> bool:
    """Whether a file says that it is an index."""
    with open(path, "rb") as file:
        return file.read(72)[68:] == APPLICATION.to_bytes(4, "big")


def _cut(path: Path) -> bool:
    """Whether the file is shorter than it says; SQLite fills a last page that is cut with zeros."""
    if logged(path):
        return False
    with open(path, "rb") as file:
        head = file.read(100)
    size = int.from_bytes(head[16:18], "big")
    return path.stat().st_size < (65_536 if size == 1 else size) * int.from_bytes(head[28:32], "big")
