"""The caches beside a table: what they hold, which are out of date, and their removal."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..errors import UsageError
from .cache_use import hold_unused, last_use
from .column_store import MANIFEST
from .table_file import FOLDER, content_digest

FEATURES, COLUMNS, CONTENTS = "features", "columns", "contents"
MAX_SHARE_OF_FREE_SPACE = 0.25  # what all caches of a table should take of the disk, before a line says so
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_VECTORS = re.compile(r"vectors-\w+-torch-(.+?)-([^-]+)")
_OF_TABLE = re.compile(r"(.+)-([0-9a-f]{16,64})(?:\.parquet)?")


@dataclass(frozen=True)
class CacheItem:
    """One cache.

    Args:
        path: the file or folder.
        content: what it holds.
        arrays: the number of arrays.
        size: in bytes.
        last_use: in seconds since 1970.
        outdated: why nothing will use it again; empty otherwise.
        is_marked: whether the processes that use it mark it; see `CacheUse`.
    """

    path: Path
    content: str
    arrays: int
    size: int
    last_use: float
    outdated: str
    is_marked: bool = True

    def remove(self) -> bool:
        """Remove it, unless a process uses it; return whether it is removed."""
        with hold_unused(self.path) as unused:
            if not unused:
                return False
            try:
                for path in [self.path, *_companions(self.path)]:
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink(missing_ok=True)
            except PermissionError:  # Windows, where a process has mapped it
                return False
        return True


def cache_folder(root: Path) -> Path:
    """The folder of the caches of tables in a folder: beside them, or in the user's cache if that is read-only."""
    if os.access(root, os.W_OK):
        return root / FOLDER
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "jointembed" / hashlib.sha256(str(root).encode()).hexdigest()[:16]


def list_caches(folder: Path) -> list[CacheItem]:
    """The caches in a folder, the largest first."""
    items = [_array_cache(path) for path in folder.glob(f"{FEATURES}/*.bin")]
    items += [_column_store(path, folder) for path in folder.glob(f"{COLUMNS}/*") if path.is_dir()]
    for path in folder.glob(f"{CONTENTS}/*-*"):
        if path.is_dir():
            table = path.name.rpartition("-")[0]
            outdated = "" if "+" in table else _outdated_table(path.name, folder)
            files = sum(1 for _ in path.iterdir())
            items.append(CacheItem(path, f"files within {table}", files, _size(path), last_use(path), outdated, False))
    for path in folder.glob("*.parquet"):
        content = f"{path.name.rpartition('-')[0]} as Parquet"
        outdated = _outdated_table(path.name, folder)
        items.append(CacheItem(path, content, 1, _size(path), last_use(path), outdated, is_marked=False))
    return sorted(items, key=lambda item: -item.size)


def prune(items: Sequence[CacheItem], unused_days: float | None, max_size: int | None) -> dict[Path, str]:
    """Remove caches that are out of date, were not used for some days, or are too many; the oldest use goes first.

    What a process uses stays, and so does a converted table that is up to date.

    Args:
        items: see `list_caches`.
        unused_days: the days; any number if None.
        max_size: bytes that may remain; any number if None.

    Returns:
        What became of caches that were to be removed: their paths with the reason, or with `in use`.
    """
    left = sum(item.size for item in items)
    fates = {}
    for item in sorted(items, key=lambda item: (not item.outdated, item.last_use)):
        days = (time.time() - item.last_use) / 86_400
        reason = item.outdated
        if not reason and item.is_marked:
            if unused_days is not None and days >= unused_days:
                reason = f"not used for {days:.0f} days"
            elif max_size is not None and left > max_size:
                reason = "over the size"
        if reason:
            removed = item.remove()
            left -= item.size if removed else 0
            fates[item.path] = reason if removed else "in use"
    return fates


def warn_if_large(folder: Path) -> None:
    """Say on standard error if the caches of a folder take more than a quarter of the space that is or was free."""
    if not hasattr(shutil, "disk_usage"):  # Unix and Windows have it
        return
    size = sum(_size(path) for path in folder.iterdir())
    if size > MAX_SHARE_OF_FREE_SPACE * (shutil.disk_usage(folder).free + size):
        share = f"more than {MAX_SHARE_OF_FREE_SPACE:.0%} of the space that the disk has for them"
        root = folder.parent if folder.name == FEATURES else folder
        limit = format_size(size / 2)
        fix = f"jointembed cache {root} --prune --max-size {limit.replace(' ', '')}"
        print(f"warning: {folder} holds {format_size(size)}, {share}; to remove some: {fix}", file=sys.stderr)


def parse_size(text: str, subject: str) -> int:
    """The bytes that a text such as `20GB` or `500M` stands for.

    Raises:
        UsageError: it is not a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise UsageError(subject, f"must be a size, got {text!r}", "write it like 20GB or 500MB")
    return int(float(match[1]) * UNITS[match[2]])


def format_size(size: float) -> str:
    """A number of bytes in its largest unit: `1.5 GB`."""
    unit = max((unit for unit in UNITS if size >= UNITS[unit]), key=lambda unit: UNITS[unit], default="")
    return f"{size / UNITS[unit]:.{1 if unit else 0}f} {unit}B"


def _companions(path: Path) -> list[Path]:
    """What lies beside the arrays of a cache: their list and a description."""
    return [path.with_suffix(suffix) for suffix in (".list", ".about")] if path.suffix == ".bin" else []


def _array_cache(path: Path) -> CacheItem:
    records, about = _companions(path)
    arrays = records.read_bytes().count(b"\n") if records.exists() else 0
    content = about.read_text("utf-8") if about.exists() else path.stem
    size = sum(_size(part) for part in (path, records, about))
    return CacheItem(path, content, arrays, size, last_use(path), _outdated_vectors(path) if arrays else "empty")


def _outdated_vectors(path: Path) -> str:
    import torch

    match = _VECTORS.fullmatch(path.stem)
    if match is None or (match[1], match[2]) == (torch.__version__, __version__):
        return ""
    return f"made by torch {match[1]} and jointembed {match[2]}"


def _column_store(path: Path, folder: Path) -> CacheItem:
    arrays = sum(1 for _ in path.glob(f"*/{MANIFEST}"))
    content = f"columns of {path.name.rpartition('-')[0]}"
    return CacheItem(path, content, arrays, _size(path), last_use(path), _outdated_table(path.name, folder))


def _outdated_table(name: str, folder: Path) -> str:
    """Why what was computed from a table will not be used again; empty if the table is as it was, or lies elsewhere."""
    match = _OF_TABLE.fullmatch(name)
    if match is None or folder.name != FOLDER:
        return ""
    table = folder.parent / match[1]
    if not table.is_file():
        return f"{match[1]} does not exist any more"
    return "" if content_digest(table).startswith(match[2]) else f"{match[1]} has changed"


def _size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in paths if part.is_file())
