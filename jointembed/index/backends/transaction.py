"""What a transaction that writes the next version of an index does beside its rows and vectors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from .base import IndexInfo
from .info import serialize_info
from .schema import MAX_COMMITS_IN_HISTORY


class Transaction:
    """What a block of `SQLiteBackend.write` works with; it may replace `info`."""

    def __init__(self, db: sqlite3.Connection, info: IndexInfo) -> None:
        self.db, self.info = db, info

    def add_names(self, fields: Sequence[str], columns: Sequence[str]) -> None:
        """Add names of fields and columns to the description."""
        self.info = self.info.with_names(fields, columns)


def write_info(db: sqlite3.Connection, info: IndexInfo, token: str) -> None:
    """Write the description of a version, which the token identifies."""
    values = [(key, value.encode("utf-8", "surrogateescape")) for key, value in serialize_info(info)]
    db.executemany("INSERT OR REPLACE INTO meta VALUES(?, CAST(? AS TEXT))", values)
    db.execute("INSERT OR REPLACE INTO meta VALUES('commit', ?)", (token,))
    db.execute("INSERT OR REPLACE INTO commits(generation, token) VALUES(?, ?)", (info.generation, token))


def prune_history(db: sqlite3.Connection, info: IndexInfo) -> None:
    """Forget old commits: vectors in memory and in caches that are older are read again whole."""
    oldest = info.generation + 1 - MAX_COMMITS_IN_HISTORY
    db.execute("DELETE FROM commits WHERE generation <= ?", (oldest,))
    sql = "DELETE FROM removed WHERE field = ? AND generation <= ?"
    db.executemany(sql, [(field, oldest) for field in info.fields])


def random_id() -> str:
    """Eight random hexadecimal digits."""
    return os.urandom(4).hex()
