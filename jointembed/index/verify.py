"""Whether an index is whole: every record of it, and the caches beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DamagedError, UsageError, UserError
from .backends.base import FieldInfo, Float32s, Keys, View
from .backends.sqlite import SQLiteBackend
from .backends.verify import check_file, read_file_counts
from .cache import cache_path, list_caches, read_checked, read_vectors
from .graph_cache import read_graph
from .search.hnsw import import_faiss


@dataclass(frozen=True)
class VerifyReport:
    """What a whole index holds.

    Args:
        rows: the number of rows.
        vectors: the number of vectors of each field.
        files: the number of paths that scans have found.
        missing: how many of them do not exist now.
        skips: how many files the last scan left out, by reason.
        model: path of the model of the first field.
        fingerprint: of this model.
        removed: caches that did not match the index.
    """

    rows: int
    vectors: dict[str, int]
    files: int
    missing: int
    skips: dict[str, int]
    model: str
    fingerprint: str
    removed: tuple[Path, ...]


def verify(path: Path | str) -> VerifyReport:
    """Read all of an index: its structure, the checksums of its records, its vectors, and the caches beside it.

    Any flipped bit is found unless it changes nothing, such as one in an unused part of a page. A cache that does not
    match the index is removed, and the next search makes it again, but a graph, without which a search is exact. (Of a
    map only its own checksum can tell.)

    Raises:
        DamagedError: the first thing that is wrong, with the fix.
        UserError: it cannot be opened at all; see `SQLiteBackend`.
    """
    path = Path(path)
    if path.is_dir() and path.suffix == ".lance":
        fix = "search it: each vector is checked when it is read"
        raise UsageError(path, "a Lance table has no checksums that can be verified", fix)
    backend = SQLiteBackend(path)
    try:
        check_file(backend)
        with backend.read() as view:
            removed = tuple(cache for cache in _stale_caches(path, view) if _remove(cache))
            files, missing, skips = read_file_counts(view)
            first = view.info.field_info(None)
            return VerifyReport(
                rows=view.count(),
                vectors={field: view.vector_count(field) for field in view.info.fields},
                files=files,
                missing=missing,
                skips=skips,
                model=first.model,
                fingerprint=first.fingerprint,
                removed=removed,
            )
    finally:
        backend.close()


def _stale_caches(path: Path, view: View) -> list[Path]:
    """The caches that do not hold what the index holds: those of older versions, what has not changed since."""
    stale = []
    for number, field in enumerate(view.info.fields):
        blocks = list(view.vectors(field))
        dim = view.info.field_info(field).dim
        keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in blocks)])
        values = np.concatenate([np.empty((0, dim), np.float32), *(values for _, values in blocks)])
        for cache, version, end in list_caches(path):
            if end not in (f"-{number}.f32", f"-{number}.hnsw") or not view.is_ancestor(version):
                continue
            changed, _, removed = view.changed_vectors(field, version)
            if end.endswith(".hnsw"):
                is_equal = _is_graph_of(cache, version, view.info.field_info(field), keys, values, [changed, removed])
                stale += [] if is_equal else [cache]
            else:
                cached = read_vectors(cache, dim)
                if cached is None:
                    stale.append(cache)
                    continue
                same, stored = ~np.isin(keys, changed), ~np.isin(cached[0], np.concatenate([changed, removed]))
                is_equal = np.array_equal(keys[same], cached[0][stored]) and np.array_equal(
                    values[same].view(np.uint32),
                    cached[1][stored].view(np.uint32),  # bit by bit: -0.0 is not 0.0
                )
                stale += [] if is_equal else [cache]
        for kind in ("umap2", "umap3"):
            cache = cache_path(path, view.info, field, kind)
            stale += [cache] if cache.exists() and read_checked(cache) is None else []
    return stale


def _is_graph_of(
    cache: Path, version: str, info: FieldInfo, keys: Keys, values: Float32s, changes: Sequence[Keys]
) -> bool:
    """Whether a graph has the vectors of a field; without faiss, whether its checksum is right."""
    try:
        import_faiss()
    except UsageError:
        return read_checked(cache) is not None
    try:
        return read_graph(cache, version, info.dim, info.metric).matches(keys, values, np.concatenate(changes))
    except UserError:
        return False


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:  # a search has just replaced it
        return False
    except OSError as error:
        raise DamagedError(path, "this cache does not match the index", f"rm {path}") from error
    return True
