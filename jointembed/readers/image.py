"""Pictures in colour, brought to one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import values as table_cells
from ..errors import DamagedError, UsageError
from .reader import Array, Reader

# C channels (3), H rows, W columns, in pixels


class Image(Reader):
    """A picture as red, green and blue in 0 to 1, (3, H, W), of one size.

    A cell is the path of a picture (PNG, BMP, WebP, JPEG), or an array (rows, columns) of grey or (rows, columns, 3) of
    colour: whole numbers are taken as 0 to 255, floats as 0 to 1. What does not have the shape of the size is cut to it
    round its middle; what can be seen through is put on white; a photograph is turned as its camera says.

    Args:
        size: rows and columns, in pixels.
        shift: in training, move by up to so many pixels; what comes in at the border is its last row or column.
        flip: in training, turn every second picture's left to its right.
        light: in training, make brighter or darker by up to this share.
    """

    files = True
    slow = True

    def __init__(self, size: list[int], shift: int = 0, flip: bool = False, light: float = 0.0) -> None:
        if len(size) != 2 or min(size) < 1:
            raise UsageError("Image.size", f"{size} is no size", "give rows and columns, such as [32, 32]")
        self.height, self.width = size
        self.shift, self.flip, self.light = shift, flip, light
        self.restore({"centre": [0.0] * 3, "deviation": [1.0] * 3})

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, rows and columns."""
        return (3, self.height, self.width)

    def recipe(self) -> dict[str, Any]:
        """What decides `load`, as plain data: not what training changes."""
        return {"size": [self.height, self.width]}

    def elements(self, cell: Any) -> list[Any]:
        """The pictures of a cell: a list of paths is several, anything else is one."""
        return list(cell) if isinstance(cell, list | tuple) and cell and isinstance(cell[0], str | Path) else [cell]

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the deviation of each colour from at most 200 cells, spread over the training rows."""
        known = [cell for cell in cells if not table_cells.missing(cell)]
        chosen = known[:: max(1, len(known) // 200)][:200]
        if not chosen:
            return
        colours = np.stack([self.load(self.elements(cell)[0]) for cell in chosen]).astype(np.float64)
        deviation = np.maximum(colours.std((0, 2, 3)), 0.01)
        self.restore({"centre": colours.mean((0, 2, 3)).tolist(), "deviation": deviation.tolist()})

    def state(self) -> dict[str, Any]:
        """The mean and the deviation of each colour."""
        return {name: [channel[0][0] for channel in getattr(self, name)] for name in ("centre", "deviation")}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        # (3, 1, 1) each, so that they stand against whole pictures.
        self.centre = [[[value]] for value in state["centre"]]
        self.deviation = [[[value]] for value in state["deviation"]]

    def load(self, cell: Any) -> Array:
        """The picture (3, H, W), float32 in 0 to 1.

        Raises:
            UsageError: there is no such file, or it is no picture.
            DamagedError: the file cannot be read.
        """
        from PIL import Image, ImageOps

        if isinstance(cell, str | Path):
            image = self._open(Path(cell))
        else:
            image = Image.fromarray(self._bytes(np.asarray(cell)))
        if image.has_transparency_data:
            seen = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
        fitted = ImageOps.fit(image.convert("RGB"), (self.width, self.height), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(fitted, np.float32).transpose(2, 0, 1) / np.float32(255))

    @staticmethod
    def _open(path: Path) -> Any:
        from PIL import Image, ImageOps

        if not path.is_file():
            raise UsageError(path, "there is no such picture", "correct the path, or put the file there")
        try:
            with Image.open(path, formats=["PNG", "BMP", "WEBP", "JPEG"]) as image:
                return ImageOps.exif_transpose(image)
        except (ValueError, OSError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
            raise DamagedError(path, f"it cannot be read as a picture ({error})", "replace the file") from error

    @staticmethod
    def _bytes(array: Array) -> Array:
        """An array of a picture as bytes."""
        fix = "give (rows, columns) or (rows, columns, 3), of 0 to 255 or of floats of 0 to 1"
        plain = array.dtype.kind in "biuf" and array.size and (array.ndim == 2 or array.shape[2:] == (3,))
        if not plain:
            raise UsageError("picture", f"an array {array.shape} of {array.dtype} is no picture", fix)
        if array.dtype.kind == "f" or array.dtype == bool:
            array = np.asarray(array, np.float64) * 255
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
            raise UsageError("picture", "its values are no colours", fix)
        return np.rint(array).astype(np.uint8)

    def augment(self, array: Array, rng: np.random.Generator) -> Array:
        """The picture (3, H, W) moved, turned and lit at random."""
        if self.shift:
            wide = np.pad(array, ((0, 0), (self.shift,) * 2, (self.shift,) * 2), mode="edge")
            down, right = rng.integers(0, 2 * self.shift + 1, 2)
            array = wide[:, down : down + self.height, right : right + self.width]
        if self.flip and rng.random() < 0.5:
            array = array[:, :, ::-1]
        if self.light:
            array = np.clip(array * np.float32(1 + rng.uniform(-self.light, self.light)), 0, 1)
        return np.ascontiguousarray(array)
