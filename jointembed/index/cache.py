"""Files beside an index that save computing something again: a field's vectors as one array, its graph, and maps.

A cache is of one version, which is part of its name. Files take the place of older ones only as a whole; whoever writes
into a cache that is in use, or cuts it, ends the process that reads it (SIGBUS).

Letters: N rows, D dimension.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import DiskFullError, UsageError
from .backends.base import Float32s, IndexInfo, Keys
from .backends.info import VERSION
from .search.memmap import iter_slices, open_array


def cache_path(path: Path, info: IndexInfo, field: str, kind: str) -> Path:
    """The cache of a field at the version of an index."""
    return path.with_name(f"{path.name}-{info.version}-{list(info.fields).index(field)}.{kind}")


def write_vectors(path: Path, blocks: Iterable[tuple[Keys, Float32s]]) -> None:
    """Write N x D float32, N int64 and their checksum, block by block, so that not all are in memory at once.

    It does nothing if the file cannot be written.
    """
    with contextlib.suppress(OSError, DiskFullError, UsageError):
        keys, total = [], 0
        with files.atomic_write(path) as file:
            for key, values in blocks:
                file.write(np.ascontiguousarray(values, "<f4").data)
                keys.append(np.ascontiguousarray(key, "<i8"))
                total += checksum(values, keys[-1])
            file.write(np.concatenate(keys).data)
            file.write((total % 2**64).to_bytes(8, "little"))
        remove_stale(path)


def read_vectors(path: Path, dim: int) -> tuple[Keys, Float32s] | None:
    """The keys (N,) and vectors (N, D) in a cache, mapped; None if it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        count, rest = divmod(path.stat().st_size - 8, 4 * dim + 8)
        if count > 0 and not rest:
            values = open_array(path, "<f4", (count, dim))
            keys = open_array(path, "<i8", (count,), 4 * count * dim)
            with open(path, "rb") as file:
                file.seek(-8, os.SEEK_END)
                stored = int.from_bytes(file.read(), "little")
            if stored == checksum(values, keys):
                return keys, values
    return None


def write_checked(path: Path, content: bytes) -> None:
    """Write a cache with its checksum; it does nothing if the file cannot be written."""
    with contextlib.suppress(OSError, DiskFullError, UsageError):
        write_parts(path, [np.frombuffer(content, "<u4")])


def write_parts(path: Path, parts: Sequence[npt.NDArray[Any]]) -> None:
    """Write a cache of arrays, which one after another are what `read_checked` reads; each takes whole 32-bit words.

    Raises:
        UserError: see `files.atomic_write`.
    """
    with files.atomic_write(path) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
        file.write(checksum(*parts).to_bytes(8, "little"))
    remove_stale(path)


def read_checked(path: Path) -> npt.NDArray[np.uint32] | None:
    """The 32-bit words in a cache; None if it is missing or damaged."""
    try:
        words = np.memmap(path, "<u4", "r")
    except (OSError, ValueError):  # no file; an empty one, or one that is cut within a word
        return None
    stored = int.from_bytes(words[-2:].tobytes(), "little")
    return np.asarray(words[:-2]) if stored == checksum(words[:-2]) else None


def checksum(*parts: npt.NDArray[Any]) -> int:
    """The sum of arrays as 32-bit words, modulo 2^64, which changes with any one bit of them.

    It takes 20 ms for 100,000 x 512; a CRC-32 would take 90 ms.
    """
    sums = (
        np.add.reduce(part[rows].view("<u4").ravel(), dtype=np.uint64) for part in parts for rows in iter_slices(part)
    )
    return sum(map(int, sums)) % 2**64


def list_caches(path: Path) -> Iterator[tuple[Path, str, str]]:
    """The caches beside an index, each with its version and the end of its name, such as `-0.f32`."""
    pattern = re.compile(re.escape(path.name) + f"-({VERSION.pattern})" + r"((?:-[0-9]+)?\.(?:f32|hnsw|umap[23]))")
    with contextlib.suppress(OSError), os.scandir(path.absolute().parent) as entries:
        for entry in entries:
            if match := pattern.fullmatch(entry.name):
                yield path.with_name(entry.name), match[1], match[2]


def remove_stale(path: Path) -> None:
    """Remove the caches that one replaces, and those of an older index that had the same name."""
    match = re.fullmatch(f"(.+)-({VERSION.pattern})" + r"((?:-[0-9]+)?\.\w+)", path.name)
    assert match
    for old, version, end in list_caches(path.with_name(match[1])):
        if version != match[2] and (end == match[3] or version[:8] != match[2][:8]):
            with contextlib.suppress(OSError):
                old.unlink()
