"""Whether the SQLite file of an index is whole."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...errors import DamagedError, UserError
from . import fulltext
from .base import View, is_storable
from .connection import recreate_hint
from .schema import MAX_COMMITS_IN_HISTORY, corrupt_records
from .sqlite import SQLiteBackend, SQLiteView


def check_file(backend: SQLiteBackend) -> None:
    """Raise DamagedError with the first thing that is wrong: structure, checksums, references, vectors, full text."""
    try:
        with backend.inspect() as view:
            for problem in _problems(view):
                raise DamagedError(backend.path, problem, recreate_hint(backend.path))
    except UserError:
        raise
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:  # a broken file breaks our own queries
        raise DamagedError(backend.path, f"this index is broken ({error})", recreate_hint(backend.path)) from error


def read_file_counts(view: View) -> tuple[int, int, dict[str, int]]:
    """The number of files that scans found, how many are missing now, and how many were skipped by reason."""
    assert isinstance(view, SQLiteView)
    paths = [path for (path,) in view.db.execute("SELECT path FROM paths WHERE size IS NOT NULL")]
    roots = view.info.roots
    missing = sum(not os.path.exists(root.absolute(path)) for path in paths for root in roots if root.contains(path))
    reasons = view.db.execute("SELECT reason FROM skips ORDER BY reason")
    return len(paths), missing, dict(Counter(reason for (reason,) in reasons))


def _problems(view: SQLiteView) -> Iterator[str]:
    db = view.db
    [(result,), *_] = db.execute("PRAGMA integrity_check(1)")
    if result != "ok":
        yield f"its file is broken ({result})"
    yield from corrupt_records(db)
    for table, number, *_ in db.execute("PRAGMA foreign_key_check"):
        yield f"record {number} of the table {table} refers to nothing"
    for (number,) in db.execute("SELECT number FROM rows WHERE number NOT IN (SELECT row FROM vectors)"):
        yield f"row {number} has no vector"
    for last, highest in db.execute("SELECT seq, (SELECT max(number) FROM rows) FROM sqlite_sequence"):
        if highest is not None and last < highest:
            yield "sqlite_sequence is behind the highest row number"
    last = view.info.generation
    expected = range(max(0, last + 1 - MAX_COMMITS_IN_HISTORY), last + 1)
    commits = {generation for (generation,) in db.execute("SELECT generation FROM commits")}
    if not view.is_ancestor(view.info.version) or not commits.issuperset(expected) or max(commits) > last:
        yield "its list of commits is incomplete"
    fields = {field for (field,) in db.execute("SELECT DISTINCT field FROM vectors")}
    if not fields <= set(view.info.fields):
        yield "it has vectors of a field that it does not list"
    for field in view.info.fields:
        for _ in view.vectors(field):
            pass  # each is checked
        terms, vectors = view.vocabulary(field)
        for wrong in np.flatnonzero(~is_storable(vectors, view.info.field_info(field).metric)):
            yield f"the vector of the term {terms[wrong]} is not finite, or not of length 1"
    if not fulltext.is_consistent(db):
        yield "its full text does not match its rows"
