"""Arrays that lie in a file, and letting go of what was read of them in passing.

What a process has read of a mapped file counts as its memory until somebody else needs it. Where all of a long array
is read once, or in blocks, it is let go of on the way: the file stays in the system's cache, so that reading it again
is cheap.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_ROWS = 65_536  # rows after which those that were read are let go of


def mapped(path: Path, kind: str, shape: tuple[int, ...], offset: int = 0) -> npt.NDArray[Any]:
    """An array of a file, read only; OSError or ValueError if the file is not there, or too short."""
    return np.asarray(np.memmap(path, kind, "r", offset, shape))


def passing(values: npt.NDArray[Any], rows: int = _ROWS) -> Iterator[slice]:
    """Slices of so many rows of an array (N, ...), each let go of when the next is asked for."""
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
        if start // _ROWS != (start + rows) // _ROWS or start + rows >= len(values):
            leave(values)


def leave(values: npt.NDArray[Any]) -> None:
    """Let go of what was read of an array, if it lies in a file."""
    whole: Any = values
    while isinstance(whole, np.ndarray):
        whole = whole.base
    if isinstance(whole, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        whole.madvise(mmap.MADV_DONTNEED)
