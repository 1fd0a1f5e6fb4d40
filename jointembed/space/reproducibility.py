"""Whether a space gives the same vectors again: for the same cell, for a cell alone, and after a reload."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .inference import Vectors
from .space import Space


def repeat_difference(space: Space, column: str, cells: Sequence[Any]) -> float:
    """The largest difference between numbers of the vectors of cells that are embedded twice."""
    return _largest_difference(space.embed(column, cells), space.embed(column, cells))


def batch_difference(space: Space, column: str, cells: Sequence[Any]) -> float:
    """The largest difference between numbers of the vectors of cells that are embedded together and one by one."""
    alone = [space.embed(column, [cell]) for cell in cells]
    return _largest_difference(space.embed(column, cells), np.concatenate(alone))


def reload_difference(space: Space, column: str, cells: Sequence[Any], trust: Collection[str] = ()) -> float:
    """The largest difference between numbers of the vectors of a space and of its saved and loaded copy.

    Raises:
        UnsafeError: the space has classes of packages that are not trusted.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.ckpt"
        space.save(path)
        copy = Space.load(path, trust).to(space.device)
    return _largest_difference(space.embed(column, cells), copy.embed(column, cells))


def _largest_difference(first: Vectors, second: Vectors) -> float:
    return 0.0 if np.array_equal(first, second) else float(np.abs(first.astype(np.float64) - second).max())
