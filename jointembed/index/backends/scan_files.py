"""The file table of an index: the files that a scan of a folder found, the content of each, and the files it skipped.

A content is a sequence of bytes, identified by its hash. It has one row, one vector a field, and any number of paths.
(CROSS JOIN keeps SQLite to the written order; it would otherwise begin with all vectors of a field for every file.)
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...files import path_to_text, sound_path
from .base import Backend, Root
from .records import delete_orphan_content, write_cells, write_vector
from .scanned import Content, File, IndexedFile, Skip, display_path, infer_title
from .sqlite import SQLiteBackend, SQLiteView
from .transaction import Transaction

InferFunction = Callable[[bytes], Mapping[str, Any]]
_FIRST_COLUMNS = ("title", "artist", "album", "genre", "year", "track", "path")


class FileTable:
    """The file table of one index, seen by one vector field: a file is indexed if its content has a vector there.

    Args:
        backend: the store of the index.
        field: the vector field.
        infer: the metadata that a path gives; a row has them where its file has no such tags.
    """

    def __init__(self, backend: Backend, field: str, infer: InferFunction = infer_title) -> None:
        if not isinstance(backend, SQLiteBackend):
            raise UsageError(backend.path, "this index cannot record files", "use an index in a file")
        self._backend, self.field, self._infer = backend, field, infer

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

    def paths(self) -> list[bytes]:
        """The paths of all files that scans found and that are not missing, whatever fields they are indexed in."""
        sql = "SELECT path FROM paths WHERE size IS NOT NULL AND missing IS NULL ORDER BY path"
        with self._read() as db:
            return [path for (path,) in db.execute(sql)]

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

    def find_row(self, hash: str) -> str | None:
        """The id of the row whose content has this hash and a vector in the field, else None."""
        sql = "SELECT id FROM rows WHERE content = ? ORDER BY number LIMIT 1"
        with self._read() as db:
            ids = db.execute(sql, (self.find_content(hash),)).fetchall()
        return str(ids[0][0]) if ids else None

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
        root: Root,
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
            transaction.info = transaction.info.with_root(root)
            writer = _FileWriter(transaction, self._infer)
            for file, number in paths:  # first, so that a new content does not take the row of a file that moved
                writer.record_path(file, number)
            vectors = [vector for _, vector in contents]
            info = transaction.info.field_info(self.field)
            blobs = self._backend.encode_vectors(np.stack(vectors), len(vectors), info) if vectors else []
            numbers = [
                writer.upsert(content, self.field, blob) for (content, _), blob in zip(contents, blobs, strict=True)
            ]
            for skip in skips:
                writer.record_skip(skip)
            transaction.add_names([self.field], writer.describe_rows())
        return numbers

    def finish_scan(
        self, root: Root, unseen_files: Collection[bytes], unseen_skips: Collection[bytes]
    ) -> tuple[dict[int, int], int]:
        """Record at the end of a scan of a folder which of its files are gone.

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
            transaction.info = transaction.info.with_root(root)
            writer = _FileWriter(transaction, self._infer)
            db.executemany("DELETE FROM skips WHERE path = ?", [(path,) for path in unseen_skips])
            for path in unseen_files:
                writer.mark_missing(path)
            moved: dict[int, int] = {}
            for (number,) in db.execute(f"SELECT content {away}").fetchall():
                moved[number] = moved.get(number, 0) + 1
            db.execute(f"DELETE {away}")
            writer.changed.update(moved)
            transaction.add_names([], writer.describe_rows())
            replaced = "SELECT number FROM content WHERE hash IS NOT NULL AND number NOT IN (SELECT content FROM paths)"
            for (number,) in db.execute(replaced).fetchall():
                db.execute("DELETE FROM rows WHERE content = ?", (number,))
                delete_orphan_content(db, number)
            [(missing,)] = db.execute("SELECT count(*) FROM paths WHERE missing IS NOT NULL").fetchall()
        return moved, missing


class _FileWriter:
    """Writes files within one transaction, and at its end what their rows say of them.

    A row changes only where its file does: what was written into the index since, such as clusters, stays.
    """

    def __init__(self, transaction: Transaction, infer: InferFunction) -> None:
        self.db, self.info, self.infer = transaction.db, transaction.info, infer
        self.changed: set[int] = set()  # contents whose paths or tags are new
        self.replaced: dict[int, dict[str, Any]] = {}  # by row, the cells that the scan of its old content wrote
        self.derived: dict[int, dict[str, Any]] = {}  # by row, the cells that a model reads off its new vector

    def record_path(self, file: File, content: int) -> None:
        """Record that a file has a content; it is not skipped then."""
        for (old,) in self.db.execute("SELECT content FROM paths WHERE path = ?", (file.path,)):
            self.changed.add(old)
        self.changed.add(content)
        sql = "INSERT OR REPLACE INTO paths(path, content, size, mtime, inode, link) VALUES(?, ?, ?, ?, ?, ?)"
        self.db.execute(sql, (file.path, content, file.size, file.mtime, file.inode, file.link))
        self.db.execute("DELETE FROM skips WHERE path = ?", (file.path,))

    def record_skip(self, skip: Skip) -> None:
        """Record a skip; if its content is known, whatever was at its path before is missing now."""
        sql = (
            "INSERT OR REPLACE INTO skips(path, size, mtime, hash, reason, problem, fix, decoder_version)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
        )
        values = (skip.size, skip.mtime, skip.hash, skip.reason, skip.problem, skip.fix, skip.decoder_version)
        self.db.execute(sql, (skip.path, *values))
        if skip.hash is not None:
            self.mark_missing(skip.path)

    def mark_missing(self, path: bytes) -> None:
        """Record that a file is gone, unless that is recorded already."""
        sql = "UPDATE paths SET missing = ?, seal = NULL WHERE path = ? AND size IS NOT NULL AND missing IS NULL"
        self.db.execute(sql, (int(time.time()), path))

    def upsert(self, content: Content, field: str, vector: bytes) -> int:
        """Write the vector of a content; return the content's number.

        It takes the row that it has. Otherwise it takes the row of the old content of its path, unless that content
        lies elsewhere too. Otherwise it gets a new row.
        """
        db, file = self.db, min(content.files, key=lambda file: file.rank)
        db.execute("INSERT OR IGNORE INTO content(hash) VALUES(?)", (content.hash,))
        [(number,)] = db.execute("SELECT number FROM content WHERE hash = ?", (content.hash,)).fetchall()
        rows = db.execute("SELECT number FROM rows WHERE content = ?", (number,)).fetchall()
        old = db.execute("SELECT content FROM paths WHERE path = ? AND size IS NOT NULL", (file.path,)).fetchall()
        for copy in content.files:
            self.record_path(copy, number)
        if rows:
            self.replaced.update({row: self._written_cells(number) for (row,) in rows})
        elif old and not db.execute("SELECT 1 FROM paths WHERE content = ?", old[0]).fetchall():
            rows = db.execute("SELECT number FROM rows WHERE content = ?", old[0]).fetchall()
            for (row,) in rows:
                self.replaced[row] = self._written_cells(old[0][0])
                self._forget_sound(row, field, vector)
            db.execute("UPDATE rows SET content = ?, seal = NULL WHERE content = ?", (number, *old[0]))
            delete_orphan_content(db, old[0][0])
        if not rows:
            sql = "INSERT INTO rows(id, content, columns) VALUES(?, ?, '{}') RETURNING number"
            rows = db.execute(sql, (_new_id(db, file.path, content.hash), number)).fetchall()
            self.replaced[rows[0][0]] = {}
        db.execute("UPDATE content SET tags = ?, seal = NULL WHERE number = ?", (json.dumps(content.cells), number))
        for (row,) in rows:
            write_vector(db, row, field, vector)
            self.derived[row] = content.derived
        return int(number)

    def describe_rows(self) -> list[str]:
        """Make the rows of all contents that changed say what their files do; return the names of their columns.

        A row names the original among the paths of its content. A cell is written if a scan would not have written it
        before: a title that only came from the name of a file follows the file, but not if somebody changed it.
        """
        columns: dict[str, None] = {}
        for content in self.changed:
            sql = (
                "SELECT path FROM paths WHERE content = ?"
                " ORDER BY missing IS NOT NULL, link, mtime, length(path), path LIMIT 1"
            )
            paths = self.db.execute(sql, (content,)).fetchall()
            rows = self.db.execute("SELECT number, columns FROM rows WHERE content = ?", (content,)).fetchall()
            if not paths or not rows:
                continue
            written = self._written_cells(content)
            path, tags = paths[0][0], self._tags(content)
            file = sound_path(path)
            inferred = {"path": display_path(file), **self.infer(file)}
            cells = {**inferred, **tags}
            new = {name: cells[name] for name in sorted(cells, key=_sort_column)}
            columns |= dict.fromkeys(new)
            for row, text in rows:
                old, cells = self.replaced.get(row, written), json.loads(text)
                merged = {name: cell for name, cell in cells.items() if name in new or cell != old.get(name)}
                merged |= {name: cell for name, cell in new.items() if cell != old.get(name)}
                derived = {name: cell for name, cell in self.derived.get(row, {}).items() if name not in new}
                merged |= derived
                columns |= dict.fromkeys(derived)
                if merged != cells:
                    write_cells(self.db, row, merged)
            sql = "UPDATE content SET inferred = ?, seal = NULL WHERE number = ?"
            self.db.execute(sql, (json.dumps(inferred), content))
        return list(columns)

    def _tags(self, content: int) -> dict[str, Any]:
        """The cells that the decoder gave."""
        [(tags,)] = self.db.execute("SELECT tags FROM content WHERE number = ?", (content,)).fetchall()
        return dict(json.loads(tags or "{}"))

    def _written_cells(self, content: int) -> dict[str, Any]:
        """The cells that scans wrote into the row of a content."""
        sql = "SELECT inferred, tags FROM content WHERE number = ?"
        [(inferred, tags)] = self.db.execute(sql, (content,)).fetchall()
        return {**json.loads(inferred or "{}"), **json.loads(tags or "{}")}

    def _forget_sound(self, row: int, field: str, vector: bytes) -> None:
        """Remove the vectors and clusters of a row, unless its file has got other tags but the same sound."""
        sql = "SELECT blob FROM vectors WHERE row = ? AND field = ?"
        if self.db.execute(sql, (row, field)).fetchall() == [(vector,)]:
            return
        self.db.execute("DELETE FROM vectors WHERE row = ?", (row,))
        [(text,)] = self.db.execute("SELECT columns FROM rows WHERE number = ?", (row,)).fetchall()
        cells = json.loads(text)
        if not cells.keys().isdisjoint(self.info.clusters):
            write_cells(self.db, row, {name: cell for name, cell in cells.items() if name not in self.info.clusters})


def _sort_column(name: str) -> int:
    return _FIRST_COLUMNS.index(name) if name in _FIRST_COLUMNS else len(_FIRST_COLUMNS)


def _new_id(db: sqlite3.Connection, path: bytes, hash: str) -> str:
    """The path as text, followed by a part of the hash if another row, whose file was moved, has this id."""
    id = path_to_text(path)
    exists = db.execute("SELECT 1 FROM rows WHERE id = ?", (id,)).fetchall()
    return f"{id}#{hash[:12]}" if exists else id
