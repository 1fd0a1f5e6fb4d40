"""Memory-mapped arrays that are read without keeping their pages in memory.

Pages of a mapped file count as this process's memory until the system needs them for something else. Code that reads a
long array once drops its pages on the way: the file stays in the system's page cache, so reading it again is cheap.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DROP_EVERY_ROWS = 65_536


def open_array(path: Path, dtype: str, shape: tuple[int, ...], offset: int = 0) -> npt.NDArray[Any]:
    """Map an array of a file, read only; OSError or ValueError if the file is missing or too short."""
    return np.asarray(np.memmap(path, dtype, "r", offset, shape))


def iter_slices(values: npt.NDArray[Any], rows: int = _DROP_EVERY_ROWS) -> Iterator[slice]:
    """Yield slices of `rows` rows of an array (N, ...), and drop the pages read so far on the way."""
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
        if start // _DROP_EVERY_ROWS != (start + rows) // _DROP_EVERY_ROWS or start + rows >= len(values):
            drop_pages(values)


def drop_pages(values: npt.NDArray[Any]) -> None:
    """Drop the pages of a memory-mapped array from this process's memory; other arrays are left alone."""
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
