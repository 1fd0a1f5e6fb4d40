"""Whether an index is whole: every record of it, and the caches beside it.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DamagedError, UserError
from . import fulltext
from .backends.connection import anew
from .backends.meta import valid
from .backends.reader import Reader
from .backends.schema import broken
from .snapshot import beside, cache, cached, kept, read


@dataclass(frozen=True)
class Verified:
    """What a whole index holds.

    Args:
        rows: how many.
        vectors: how many, by their field.
        files: paths that scans have found.
        missing: how many of these are not there now.
        skips: what the last scan left out, by reason.
        model: where the model lies that made the vectors of the first field.
        fingerprint: what tells that model from others.
        removed: caches that were not what the index holds.
    """

    rows: int
    vectors: dict[str, int]
    files: int
    missing: int
    skips: dict[str, int]
    model: str
    fingerprint: str
    removed: tuple[Path, ...]


def verify(path: Path | str) -> Verified:
    """Read all of an index: its structure, its records' seals, its vectors, and the caches beside it.

    Any one flipped bit is found unless it changes nothing: in an unused part of a page, say. A cache that is not what
    the index holds is removed: the next search makes it anew. (Of a map only its own sum can tell.)

    Raises:
        DamagedError: the first thing that is wrong, with what mends it.
        UserError: it cannot be opened at all; see `Reader`.
    """
    path = Path(path)
    try:
        store = Reader(path)
        try:
            with store.inspecting(), store.reading() as db:
                return _verified(store, db)
        finally:
            store.close()
    except UserError:
        raise
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:  # what a broken file makes of our own queries
        raise DamagedError(path, f"this index is broken ({error})", anew(path)) from error


def _verified(store: Reader, db: sqlite3.Connection) -> Verified:
    def wrong(what: str) -> DamagedError:
        return DamagedError(store.path, what, anew(store.path))

    [(said,), *_] = db.execute("PRAGMA integrity_check(1)")
    if said != "ok":
        raise wrong(f"its file is broken ({said})")
    for one in broken(db):
        raise wrong(one)
    for table, number, *_ in db.execute("PRAGMA foreign_key_check"):
        raise wrong(f"record {number} of the table {table} belongs to nothing")
    for (number,) in db.execute("SELECT number FROM rows WHERE number NOT IN (SELECT row FROM vectors)"):
        raise wrong(f"row {number} has no vector")
    for last, most in db.execute("SELECT seq, (SELECT max(number) FROM rows) FROM sqlite_sequence"):
        if most is not None and last < most:
            raise wrong("the numbers of its rows would be used again")
    meta = store.meta()
    counts = dict(db.execute("SELECT field, count(*) FROM vectors GROUP BY field").fetchall())
    if not set(counts) <= set(meta["fields"]):
        raise wrong("it has vectors of a field that it does not know")
    wrongly = []
    for field, count in counts.items():
        space = store.field_info(field)
        numbers, values = read(db, store.path, field, count, space["dim"], space["metric"])
        path = cache(store, field)
        held = cached(path, count, space["dim"])
        if path.is_file() and not (held and _same(held[0], numbers) and _same(held[1], values)):
            wrongly.append(path)
        words, vectors = store.vocabulary(field)
        bad = np.flatnonzero(~valid(vectors, space["metric"]))
        if len(bad):
            raise wrong(f"the vector of the word {words[bad[0]]} is not finite, or not of length 1")
    for path, state, what in beside(store.path):
        if state == meta["state"] and (
            what.endswith("fts") and not fulltext.same(path, db) or "umap" in what and kept(path) is None
        ):
            wrongly.append(path)
    removed = [path for path in wrongly if _removed(path)]
    paths = [path for (path,) in db.execute("SELECT path FROM paths WHERE size IS NOT NULL")]
    root = os.fsencode(meta.get("root", ""))
    return Verified(
        rows=int(db.execute("SELECT count(*) FROM rows").fetchall()[0][0]),
        vectors={field: counts.get(field, 0) for field in meta["fields"]},
        files=len(paths),
        missing=sum(not os.path.exists(os.path.join(root, path)) for path in paths),
        skips=dict(Counter(reason for (reason,) in db.execute("SELECT reason FROM skips ORDER BY reason"))),
        model=store.model,
        fingerprint=store.field_info()["fingerprint"],
        removed=tuple(removed),
    )


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:  # who searches has just made another
        return False
    except OSError as error:
        raise DamagedError(path, "this cache is not what the index holds", f"rm {path}") from error
    return True


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return np.array_equal(one.view(np.uint32), other.view(np.uint32))  # bit by bit: -0.0 is not 0.0
