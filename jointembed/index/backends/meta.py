"""What an index says of itself, which vectors it may hold, and the making of its file.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import files
from ...errors import UsageError
from .connection import connect, faults, ours
from .schema import APPLICATION, SCHEMA, TABLES, close

METRICS = ("cosine", "dot", "euclidean")
WIDEST = 65_536  # dimensions
STATE = re.compile("[0-9a-f]{8}-[0-9]+-[0-9a-f]{8}")  # it becomes part of the names of files
LONGEST = 1e18  # a vector's length whose square still fits a float32, with room for a difference of two


def check(subject: object, dim: int, metric: str) -> None:
    """Raise UsageError unless vectors may be of this metric and dimension."""
    if metric not in METRICS or not 1 <= dim <= WIDEST:
        fix = f"use {' or '.join(METRICS)}, and 1 to {WIDEST} dimensions"
        raise UsageError(subject, f"no index can have the metric {metric} in {dim} dimensions", fix)


def valid(vectors: npt.NDArray[np.float32], metric: str) -> npt.NDArray[np.bool_]:
    """Which of (N, D) vectors may be stored: those that are finite, and of length 1 if the metric is cosine."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    least, most = (0.999, 1.001) if metric == "cosine" else (0.0, LONGEST)
    return np.asarray((least <= length) & (length <= most))


def make(path: Path, about: Mapping[str, Any]) -> None:
    """Make an empty index file at once, in the place of an older index or of an empty file; see `Store.create`."""
    check(path, about["dim"], about["metric"])
    if path.is_dir() or (path.is_file() and path.stat().st_size and not ours(path)):
        raise UsageError(path, "something that is no index has this name", "choose another name, or delete it")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    meta = {**about, "identity": token(), "commit": token(), "generation": 0}
    meta |= {"fields": "[]", "columns": "[]", "spaces": "{}"}
    with faults(path), contextlib.closing(connect(part, "mode=rwc")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN")
        for table in TABLES:
            db.execute(table)
        db.executemany("INSERT INTO meta VALUES(?, ?)", [(key, str(value)) for key, value in meta.items()])
        close(db)
        db.execute(f"PRAGMA application_id={APPLICATION}")
        db.execute(f"PRAGMA user_version={SCHEMA}")
        db.execute("COMMIT")
    for end in ("-wal", "-shm"):  # an older index's log would be replayed into the new file
        path.with_name(path.name + end).unlink(missing_ok=True)
    os.replace(part, path)
    files.fsync_dir(path.parent)


def read(meta: Mapping[str, str]) -> dict[str, Any]:
    """What an index says of itself, as `Reader.meta` gives it; KeyError, ValueError or the like if it is broken."""
    told: dict[str, Any] = {**meta}
    told |= {name: int(meta[name]) for name in ("dim", "generation")}
    told |= {name: json.loads(meta[name]) for name in ("fields", "columns", "spaces")}
    named = all(isinstance(name, str) for name in told["fields"] + told["columns"])
    spaces = [told, *({**told, **one} for one in told["spaces"].values())]
    sound = named and all(1 <= one["dim"] <= WIDEST and one["metric"] in METRICS for one in spaces)
    told["state"] = f"{told['identity']}-{told['generation']}-{told.get('commit', '0' * 8)}"
    if not sound or not STATE.fullmatch(told["state"]):
        raise ValueError(meta)
    return told


def token() -> str:
    """What tells one thing from all others of its kind."""
    return os.urandom(4).hex()
