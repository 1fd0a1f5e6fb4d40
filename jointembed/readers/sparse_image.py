"""Grey images as their nonzero pixels."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import values
from ..arguments import Count
from ..errors import DamagedError, UsageError
from .examples import make_images
from .image_file import is_image, open_image
from .reader import Array, FileReader, Preprocess

if TYPE_CHECKING:
    from ..ragged import Ragged
    from .front_end import FrontEnd


class SparseImage(FileReader):
    """A grey image as its nonzero pixels and their grey levels: blank pixels cost nothing.

    A cell is the path of an image (PNG, JPEG, WebP, BMP, or the first frame of a GIF) or of a .npy file, the bytes of
    an image, a PIL image, or an array or tensor of shape `shape` or flat. Integers are read as grey levels of 0 to 255,
    floats as 0 to 1. Transparency is ignored.

    Args:
        shape: rows and columns, in pixels.

    >>> reader = SparseImage([2, 2])
    >>> x = reader.encode([np.array([[0, 255], [0, 51]], np.uint8)])
    >>> x.values.tolist(), [round(float(grey), 1) for grey in x.weights]
    ([1, 3], [1.0, 0.2])
    """

    has_weights = reads_images = True

    def __init__(self, shape: list[Count]) -> None:
        self._shape = tuple(shape)
        self.size = math.prod(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, in pixels."""
        return self._shape

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: two images, with blank pixels."""
        size = (self._shape[0], math.prod(self._shape[1:]))
        greys = [image[:, :, 0] for image in make_images(size, size)]
        blank = greys[0] < np.median(greys[0])
        return [np.where(blank, 0, grey).astype(np.uint8).reshape(self._shape) for grey in greys]

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: pixels, resized already."""
        from .front_end import Pixels

        return Pixels(self.shape)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: the pixels of each image."""
        images = [self.preprocess(element) for element in self.elements(cell)]
        return {"pixels": np.stack(images).reshape(-1, *self.shape)}

    def preprocess(self, cell: Any) -> Array:
        """The grey levels (rows * columns,) in 0 to 1.

        Raises:
            UsageError: the file does not exist, or the cell is not an image of this shape.
            DamagedError: the file cannot be read.
        """
        name = str(cell) if isinstance(cell, str | Path) else "image"
        is_file = isinstance(cell, str | Path | bytes) or is_image(cell)
        array = self._read(cell) if is_file else np.asarray(cell)
        if array.shape == (1, *self._shape):  # as torch writes a grey image
            array = array[0]
        if array.dtype.kind not in "biuf":
            wrong = f"grey levels must be numbers, got {array.dtype}"
            raise UsageError(name, wrong, "give a path, or an array of grey levels")
        if array.size != self.size or (array.ndim > 1 and array.shape != self._shape):
            wrong = f"expected an image of {self._shape}, got {array.shape}"
            raise UsageError(name, wrong, "resize it to that shape first")
        grey = array.ravel().astype(np.float32) / np.float32(255 if array.dtype.kind in "iu" else 1)
        if not (np.isfinite(grey).all() and grey.min(initial=0) >= 0 and grey.max(initial=0) <= 1):
            raise UsageError(name, "its values are not grey levels", "give integers of 0 to 255, or floats of 0 to 1")
        return grey

    @staticmethod
    def _read(cell: Any) -> Array:
        if not isinstance(cell, str | Path) or Path(cell).suffix != ".npy":
            return np.asarray(open_image(cell).convert("L"))
        path = Path(cell)
        if not os.path.isfile(path):
            raise UsageError(path, "the image does not exist", "correct the path, or put the file there")
        try:
            # It compares the size that the file declares with that of the file before any memory is allocated.
            with np.errstate(over="ignore"):
                array: Array = np.lib.format.open_memmap(path, mode="r")
            return array
        except (ValueError, OSError, EOFError, OverflowError) as error:
            raise DamagedError(path, f"it cannot be read as an array ({error})", "replace the file") from error

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        preprocess: Preprocess | None = None,
    ) -> Ragged:
        """A column of images as nonzero pixels: values (V,), grey levels as weights (V,), offsets (P + 1,)."""
        import torch

        from ..ragged import Ragged

        keys = self.keys(cells)
        rows, pixels, grey, sizes, elements = [], [], [], [], []
        for row, cell in enumerate(cells):
            for element in [] if values.missing(cell) else self.elements(cell):
                array = self.preprocess(element)
                nonzero = np.flatnonzero(array)
                rows.append(row)
                pixels.append(nonzero.astype(np.int32))
                grey.append(array[nonzero])
                sizes.append(len(nonzero))
                elements.append(element)
        multiple = len(rows) > len(set(rows))
        return Ragged(
            torch.from_numpy(np.concatenate(pixels) if pixels else np.zeros(0, np.int32)).long(),
            torch.tensor(rows, dtype=torch.int64),
            torch.from_numpy(keys),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(sizes, dtype=torch.int64).cumsum(0)]),
            weights=torch.from_numpy(np.concatenate(grey) if grey else np.zeros(0, np.float32)),
            piece_keys=torch.tensor([values.key(element) for element in elements]) if multiple else None,
        )
