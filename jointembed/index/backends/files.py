"""The file table of an index: the files that a scan of a folder found, the content of each, and the files it skipped.

A content is a sequence of bytes, identified by its hash. It has one row, one vector a field, and any number of paths.
(CROSS JOIN keeps SQLite to the written order; it would otherwise begin with all vectors of a field for every file.)
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...files import path_to_text
from .base import Backend
from .records import delete_orphan_content, write_cells, write_vector
from .sqlite import SQLiteBackend, SQLiteView


@dataclass(frozen=True, slots=True)
class File:
    """A file that may hold sound.

    Args:
        path: relative to the root, as bytes.
        size: in bytes.
        mtime: the time of its last change, in nanoseconds.
        inode: its number in its file system.
    """

    path: bytes
    size: int
    mtime: int
    inode: int


class IndexedFile(NamedTuple):
    """A file as the last scan found it, and the number of its content; `missing` is the time since when it is gone."""

    size: int
    mtime: int
    inode: int
    content: int
    missing: int | None


@dataclass(frozen=True, slots=True)
class Skip:
    """A file, link or folder that a scan left out.

    Args:
        path: relative to the root.
        reason: a one-word code, such as `truncated`.
        problem: what is wrong, as a sentence without its full stop.
        fix: how to correct it.
        size: in bytes, None if it could not be read.
        mtime: in nanoseconds.
        hash: of the content; a skip without one is tried again at every scan.
        decoder_version: of the decoder that refused the content.
    """

    path: bytes
    reason: str
    problem: str
    fix: str
    size: int | None = None
    mtime: int | None = None
    hash: str | None = None
    decoder_version: str = ""


@dataclass(slots=True)
class Content:
    """A content that gets a row.

    Args:
        hash: of its bytes.
        files: the files that have it; the first one is decoded.
        row: its metadata, filled in once it is decoded.
    """

    hash: str
    files: list[File]
    row: dict[str, Any] = field(default_factory=dict)


class FileTable:
    """The file table of one index, seen by one vector field: a file is indexed if its content has a vector there."""

    def __init__(self, backend: Backend, field: str) -> None:
        if not isinstance(backend, SQLiteBackend):
            raise UsageError(backend.path, "this index cannot record files", "use an index in a file")
        self._backend, self.field = backend, field

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._backend.read() as view:
            assert isinstance(view, SQLiteView)
            yield view.db

    def indexed_files(self) -> dict[bytes, IndexedFile]:
        """The files of earlier scans, by path."""
        sql = (
            "SELECT path, size, mtime, inode, paths.content, missing FROM paths WHERE size IS NOT NULL AND EXISTS"
            " (SELECT 1 FROM rows CROSS JOIN vectors ON row = number"
            " WHERE rows.content = paths.content AND field = ?)"
        )
        with self._read() as db:
            return {path: IndexedFile(*rest) for path, *rest in db.execute(sql, (self.field,))}

    def ambiguous_stats(self) -> set[tuple[int, int]]:
        """The (size, mtime) pairs that several files share, so that they do not identify a file."""
        sql = "SELECT size, mtime FROM paths WHERE size IS NOT NULL GROUP BY size, mtime HAVING count(*) > 1"
        with self._read() as db:
            return {(size, mtime) for size, mtime in db.execute(sql)}

    def skips(self) -> dict[bytes, Skip]:
        """The skips of the last scan by path, in the order of the paths."""
        sql = "SELECT path, reason, problem, fix, size, mtime, hash, decoder_version FROM skips ORDER BY path"
        with self._read() as db:
            return {path: Skip(path, *rest) for path, *rest in db.execute(sql)}

    def find_content(self, hash: str) -> int | None:
        """The number of the content with this hash if it has a vector in the field, else None."""
        sql = (
            "SELECT content.number FROM content CROSS JOIN rows ON rows.content = content.number"
            " CROSS JOIN vectors ON row = rows.number WHERE hash = ? AND field = ? LIMIT 1"
        )
        with self._read() as db:
            numbers = db.execute(sql, (hash, self.field)).fetchall()
        return int(numbers[0][0]) if numbers else None

    def paths_of_rows(self) -> dict[str, list[bytes]]:
        """The paths of each row that has files, by id."""
        paths: dict[str, list[bytes]] = {}
        with self._read() as db:
            for id, path in db.execute("SELECT id, path FROM rows JOIN paths USING(content) ORDER BY path"):
                paths.setdefault(id, []).append(path)
        return paths

    def rows_without_files(self) -> list[tuple[str, bytes]]:
        """(id, path) of every path of the rows all of whose files were missing at the last scan."""
        sql = (
            "SELECT id, path FROM rows JOIN paths USING(content) WHERE content NOT IN"
            " (SELECT content FROM paths WHERE missing IS NULL) ORDER BY number"
        )
        with self._read() as db:
            return db.execute(sql).fetchall()

    def commit(
        self,
        root: str,
        paths: Iterable[tuple[File, int]],
        contents: Sequence[tuple[Content, npt.NDArray[np.float32]]],
        skips: Iterable[Skip],
    ) -> list[int]:
        """Write a part of a scan in one transaction.

        Args:
            root: the folder.
            paths: files with the number of their content, which has a row already.
            contents: new contents, each with its vector (D,).
            skips: files that were left out.

        Returns:
            The number of each new content.
        """
        with self._backend.write() as transaction:
            db = transaction.db
            transaction.info = replace(transaction.info, root=root)
            transaction.add_names([self.field], [name for content, _ in contents for name in content.row])
            for file, number in paths:  # first, so that a new content does not take the row of a file that moved
                _record_path(db, file, number)
            vectors = [vector for _, vector in contents]
            info = transaction.info.field_info(self.field)
            blobs = self._backend.encode_vectors(np.stack(vectors), len(vectors), info) if vectors else []
            numbers = [
                _upsert(db, content, self.field, blob) for (content, _), blob in zip(contents, blobs, strict=True)
            ]
            for skip in skips:
                _record_skip(db, skip)
        return numbers

    def finish_scan(
        self, root: str, device: int, unseen_files: Collection[bytes], unseen_skips: Collection[bytes]
    ) -> tuple[dict[int, int], int]:
        """Record at the end of a scan which files are gone.

        If the content of an unseen file also lies elsewhere, the file was moved: its old path is removed, and its row
        names another path. All other unseen files are marked as missing. A row is removed only if every path that it
        had now holds something else.

        Returns:
            The number of paths removed for each content that was moved, and the number of files that are missing.
        """
        away = (
            "FROM paths WHERE missing IS NOT NULL AND EXISTS"
            " (SELECT 1 FROM paths AS other WHERE other.content = paths.content AND other.missing IS NULL)"
        )
        with self._backend.write() as transaction:
            db = transaction.db
            transaction.info = replace(transaction.info, root=root, device=str(device))
            db.executemany("DELETE FROM skips WHERE path = ?", [(path,) for path in unseen_skips])
            for path in unseen_files:
                _mark_missing(db, path)
            moved: dict[int, int] = {}
            for (number,) in db.execute(f"SELECT content {away}").fetchall():
                moved[number] = moved.get(number, 0) + 1
            db.execute(f"DELETE {away}")
            _correct_paths_in_rows(db, moved)
            replaced = "SELECT number FROM content WHERE hash IS NOT NULL AND number NOT IN (SELECT content FROM paths)"
            for (number,) in db.execute(replaced).fetchall():
                db.execute("DELETE FROM rows WHERE content = ?", (number,))
                delete_orphan_content(db, number)
            [(missing,)] = db.execute("SELECT count(*) FROM paths WHERE missing IS NOT NULL").fetchall()
        return moved, missing


def display_path(path: bytes) -> str:
    """A path as text in composed characters (NFC)."""
    return unicodedata.normalize("NFC", path_to_text(path))


def stem(path: str) -> str:
    """The name of a file without its folder and extension."""
    return os.path.splitext(os.path.basename(path))[0]


def _record_path(db: sqlite3.Connection, file: File, content: int) -> None:
    """Record that a file has a content; it is not skipped then, and the row of its old content names another path."""
    old = db.execute("SELECT content FROM paths WHERE path = ?", (file.path,)).fetchall()
    had_no_path = not db.execute("SELECT 1 FROM paths WHERE content = ? LIMIT 1", (content,)).fetchall()
    sql = "INSERT OR REPLACE INTO paths(path, content, size, mtime, inode) VALUES(?, ?, ?, ?, ?)"
    db.execute(sql, (file.path, content, file.size, file.mtime, file.inode))
    db.execute("DELETE FROM skips WHERE path = ?", (file.path,))
    _correct_paths_in_rows(
        db, {number for (number,) in old if number != content} | ({content} if had_no_path else set())
    )


def _record_skip(db: sqlite3.Connection, skip: Skip) -> None:
    """Record a skip; if its content is known, whatever was at its path before is missing now."""
    sql = (
        "INSERT OR REPLACE INTO skips(path, size, mtime, hash, reason, problem, fix, decoder_version)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
    )
    db.execute(
        sql, (skip.path, skip.size, skip.mtime, skip.hash, skip.reason, skip.problem, skip.fix, skip.decoder_version)
    )
    if skip.hash is not None:
        _mark_missing(db, skip.path)


def _mark_missing(db: sqlite3.Connection, path: bytes) -> None:
    sql = "UPDATE paths SET missing = ?, seal = NULL WHERE path = ? AND size IS NOT NULL AND missing IS NULL"
    db.execute(sql, (int(time.time()), path))


def _upsert(db: sqlite3.Connection, content: Content, field: str, vector: bytes) -> int:
    """Write the row and the vector of a content; return the content's number.

    It takes the row that it has. Otherwise it takes the row of the old content of its first path, unless that content
    lies elsewhere too. Otherwise it gets a new row.
    """
    file = content.files[0]
    db.execute("INSERT OR IGNORE INTO content(hash) VALUES(?)", (content.hash,))
    [(number,)] = db.execute("SELECT number FROM content WHERE hash = ?", (content.hash,)).fetchall()
    rows = db.execute("SELECT number FROM rows WHERE content = ?", (number,)).fetchall()
    old = db.execute("SELECT content FROM paths WHERE path = ? AND size IS NOT NULL", (file.path,)).fetchall()
    _record_path(db, file, number)
    if not rows and old and not db.execute("SELECT 1 FROM paths WHERE content = ?", old[0]).fetchall():
        rows = db.execute("SELECT number FROM rows WHERE content = ?", old[0]).fetchall()
        db.executemany("DELETE FROM vectors WHERE row = ?", rows)
        db.execute("UPDATE rows SET content = ?, seal = NULL WHERE content = ?", (number, *old[0]))
        delete_orphan_content(db, old[0][0])
    if not rows:
        sql = "INSERT INTO rows(id, content, columns) VALUES(?, ?, '{}') RETURNING number"
        rows = db.execute(sql, (_new_id(db, file.path, content.hash), number)).fetchall()
    for (row,) in rows:
        write_cells(db, row, content.row)
        write_vector(db, row, field, vector)
    for copy in content.files[1:]:
        _record_path(db, copy, number)
    return int(number)


def _correct_paths_in_rows(db: sqlite3.Connection, contents: Iterable[int]) -> None:
    """Make rows name a path that their content still has; a title that was only a file name follows."""
    for content in contents:
        rows = db.execute("SELECT number, columns FROM rows WHERE content = ?", (content,)).fetchall()
        paths = db.execute("SELECT path FROM paths WHERE content = ? ORDER BY path", (content,)).fetchall()
        texts = [display_path(path) for (path,) in paths]
        for number, columns in rows:
            row = json.loads(columns)
            old = str(row.get("path"))
            if texts and old not in texts:
                row |= {"path": texts[0]} | ({"title": stem(texts[0])} if row.get("title") == stem(old) else {})
                write_cells(db, number, row)


def _new_id(db: sqlite3.Connection, path: bytes, hash: str) -> str:
    """The path as text, followed by a part of the hash if another row, whose file was moved, has this id."""
    id = path_to_text(path)
    exists = db.execute("SELECT 1 FROM rows WHERE id = ?", (id,)).fetchall()
    return f"{id}#{hash[:12]}" if exists else id
