"""Bitmaps, as their lit pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import values as table_cells
from ..errors import DamagedError, UsageError
from ..ragged import Ragged
from .reader import Array, Load, Reader


class SparseImage(Reader):
    """A bitmap as its lit pixels and their grey levels: blank pixels cost nothing.

    A cell is the path of a picture (PNG, BMP, WebP, JPEG) or of a .npy file, or an array of shape `shape` or flat.
    Whole numbers are taken as grey levels of 0 to 255, floats as 0 to 1.

    Args:
        shape: rows and columns, in pixels.

    >>> reader = SparseImage([2, 2])
    >>> x = reader.encode([np.array([[0, 255], [0, 51]], np.uint8)])
    >>> x.values.tolist(), [round(float(grey), 1) for grey in x.weights]
    ([1, 3], [1.0, 0.2])
    """

    files = True

    def __init__(self, shape: list[int]) -> None:
        self._shape = tuple(shape)
        self.size = math.prod(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, in pixels."""
        return self._shape

    def elements(self, cell: Any) -> list[Any]:
        """The bitmaps of a cell: a list of paths is several, anything else is one."""
        return list(cell) if isinstance(cell, list | tuple) and cell and isinstance(cell[0], str | Path) else [cell]

    def load(self, cell: Any) -> Array:
        """The grey levels (rows * columns,) in 0 to 1.

        Raises:
            UsageError: the bitmap has another shape, or is none.
            DamagedError: the file cannot be read.
        """
        name = str(cell) if isinstance(cell, str | Path) else "bitmap"
        array = self._open(Path(cell)) if isinstance(cell, str | Path) else np.asarray(cell)
        if array.dtype.kind not in "biuf":
            raise UsageError(name, f"{type(cell).__name__} is no bitmap", "give a path, or an array of grey levels")
        if array.size != self.size or (array.ndim > 1 and array.shape != self._shape):
            raise UsageError(
                name, f"expected a bitmap of {self._shape}, got {array.shape}", "bring it to that shape first"
            )
        grey = array.ravel().astype(np.float32) / np.float32(255 if array.dtype.kind in "iu" else 1)
        if not (np.isfinite(grey).all() and grey.min(initial=0) >= 0 and grey.max(initial=0) <= 1):
            raise UsageError(
                name, "its values are not grey levels", "give whole numbers of 0 to 255, or floats of 0 to 1"
            )
        return grey

    @staticmethod
    def _open(path: Path) -> Array:
        if not path.is_file():
            raise UsageError(path, "there is no such bitmap", "correct the path, or put the file there")
        try:
            if path.suffix == ".npy":
                loaded: Array = np.load(path, allow_pickle=False)
                return loaded
            from PIL import Image

            with Image.open(path, formats=["PNG", "BMP", "WEBP", "JPEG"]) as image:
                return np.asarray(image.convert("L"))
        except (ValueError, OSError, EOFError) as error:
            raise DamagedError(path, f"it cannot be read as a bitmap ({error})", "replace the file") from error

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        load: Load | None = None,
    ) -> Ragged:
        """A column of bitmaps -> their lit pixels: values (V,), grey levels as weights (V,), inner (P + 1,)."""
        keys = self.keys(cells)
        rows, lit, grey, sizes, marks = [], [], [], [], []
        for row, cell in enumerate(cells):
            for element in [] if table_cells.missing(cell) else self.elements(cell):
                array = self.load(element)
                where = np.flatnonzero(array)
                rows.append(row)
                lit.append(where.astype(np.int32))
                grey.append(array[where])
                sizes.append(len(where))
                marks.append(element)
        several = len(rows) > len(set(rows))
        return Ragged(
            torch.from_numpy(np.concatenate(lit) if lit else np.zeros(0, np.int32)).long(),
            torch.tensor(rows, dtype=torch.int64),
            torch.from_numpy(keys),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(sizes, dtype=torch.int64).cumsum(0)]),
            weights=torch.from_numpy(np.concatenate(grey) if grey else np.zeros(0, np.float32)),
            piece_keys=torch.tensor([table_cells.key(mark) for mark in marks]) if several else None,
        )
