"""Colour images, resized to one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from .image_file import open_image
from .reader import Array, FileReader, Standardized

# H rows, W columns, in pixels


class Image(FileReader, Standardized):
    """A colour image, (3, H, W) in 0 to 1, resized to one size.

    A cell is the path of an image (PNG, BMP, WebP, JPEG), or an array (rows, columns) of grey or (rows, columns, 3) of
    colour: integers are read as 0 to 255, floats as 0 to 1. An image of another aspect ratio is cropped around its
    centre; transparency is laid on white; a photograph is rotated as its EXIF orientation says.

    Args:
        size: rows and columns, in pixels.
        shift: augmentation: move by up to this many pixels; the border is filled with its nearest row or column.
        flip: augmentation: mirror every second image from left to right.
        brightness: augmentation: change the brightness by up to this share.
    """

    cached = True

    def __init__(self, size: list[int], shift: int = 0, flip: bool = False, brightness: float = 0.0) -> None:
        if len(size) != 2 or min(size) < 1:
            raise UsageError("Image.size", f"expected rows and columns, got {size}", "give two numbers, like [32, 32]")
        self.height, self.width = size
        self.shift, self.flip, self.brightness = shift, flip, brightness
        self.mean, self.std = [[[0.0]]] * 3, [[[1.0]]] * 3  # (3, 1, 1) each

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, rows and columns."""
        return (3, self.height, self.width)

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`: the size, without augmentation."""
        return {"size": [self.height, self.width]}

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the standard deviation of each channel from at most 200 training cells."""
        if images := self.preprocess_sample(cells):
            self.standardize(np.stack(images), (0, 2, 3), min_std=0.01)

    def preprocess(self, cell: Any) -> Array:
        """The image (3, H, W), float32 in 0 to 1.

        Raises:
            UsageError: the file does not exist, or the array is not an image.
            DamagedError: the file cannot be read.
        """
        import PIL.Image
        import PIL.ImageOps

        if isinstance(cell, str | Path):
            image = open_image(Path(cell))
        else:
            image = PIL.Image.fromarray(self._to_bytes(np.asarray(cell)))
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layer.size, "white"), layer)
        fitted = PIL.ImageOps.fit(image.convert("RGB"), (self.width, self.height), PIL.Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(fitted, np.float32).transpose(2, 0, 1) / np.float32(255))

    @staticmethod
    def _to_bytes(array: Array) -> Array:
        fix = "give an array (rows, columns) or (rows, columns, 3), of integers of 0 to 255 or of floats of 0 to 1"
        if not (array.dtype.kind in "biuf" and array.size and (array.ndim == 2 or array.shape[2:] == (3,))):
            raise UsageError("image", f"an array {array.shape} of {array.dtype} is not an image", fix)
        if array.dtype.kind == "f" or array.dtype == bool:
            array = np.asarray(array, np.float64) * 255
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
            raise UsageError("image", "its values are out of range", fix)
        return np.rint(array).astype(np.uint8)

    def augment(self, array: Array, rng: np.random.Generator) -> Array:
        """The image (3, H, W) shifted, flipped and brightened at random."""
        if self.shift:
            padded = np.pad(array, ((0, 0), (self.shift,) * 2, (self.shift,) * 2), mode="edge")
            down, right = rng.integers(0, 2 * self.shift + 1, 2)
            array = padded[:, down : down + self.height, right : right + self.width]
        if self.flip and rng.random() < 0.5:
            array = array[:, :, ::-1]
        if self.brightness:
            array = np.clip(array * np.float32(1 + rng.uniform(-self.brightness, self.brightness)), 0, 1)
        return np.ascontiguousarray(array)
