"""Colour images, resized to one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..arguments import Natural, Share
from ..errors import UsageError, did_you_mean
from .examples import make_images
from .image_file import MAX_PIXELS, is_image, open_image, to_rgb
from .reader import Array, FileReader, Standardized

if TYPE_CHECKING:
    from .front_end import FrontEnd

# H rows, W columns, in pixels

Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


class Image(FileReader, Standardized):
    """A colour image, (3, H, W) in 0 to 1, resized to one size.

    A cell is the path of an image (PNG, JPEG, WebP, BMP, or the first frame of a GIF), the bytes of one, a PIL image,
    or an array or tensor (rows, columns) of grey, (rows, columns, 3) or (3, rows, columns) of colour: integers are read
    as 0 to 255, floats as 0 to 1. Transparency is laid on
    white; a photograph is rotated as its EXIF orientation says. `resize`, `resample`, `mean` and `std` are for
    networks that were trained with images prepared so.

    Args:
        size: rows and columns, in pixels.
        resize: the length of the shortest side, or rows and columns, to which an image is resized before its centre is
            cropped to `size`. If not given, an image of another aspect ratio is cropped first, and then resized.
        resample: the filter with which an image is resized; it covers all pixels of a large image (antialiasing).
        mean: what a network subtracts from each channel; learned from the training cells if not given.
        std: what it then divides each channel by.
        shift: augmentation: move by up to this many pixels; the border is filled with its nearest row or column.
        flip: augmentation: mirror every second image from left to right.
        brightness: augmentation: change the brightness by up to this share.
    """

    cached = reads_images = True

    def __init__(
        self,
        size: list[int],
        resize: int | list[int] | None = None,
        resample: Resample = "bicubic",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        shift: Natural = 0,
        flip: bool = False,
        brightness: Share = 0.0,
    ) -> None:
        _check_size("Image.size", size)
        if isinstance(resize, list):
            _check_size("Image.resize", resize)
        smallest = [resize, resize] if isinstance(resize, int) else resize
        if smallest and (smallest[0] < size[0] or smallest[1] < size[1]):
            wrong = f"images cannot be cropped to {size} after they are resized to {resize}"
            raise UsageError("Image.resize", wrong, "give a `resize` that is not smaller than `size`")
        if (mean is None) != (std is None) or (mean and std and not len(mean) == len(std) == 3):
            wrong = f"mean and std must have three numbers each, got {mean} and {std}"
            raise UsageError("Image.mean", wrong, "give both or neither")
        if resample not in get_args(Resample):
            fix = did_you_mean(resample, get_args(Resample))
            raise UsageError("Image.resample", f"unknown filter {resample!r}", fix)
        self.height, self.width = size
        self.resize, self.resample = resize, resample
        self.shift, self.flip, self.brightness = shift, flip, brightness
        self.learns_scale = mean is None or std is None
        # (3, 1, 1) each
        self.mean = [[[value]] for value in mean or [0.0] * 3]
        self.std = [[[value]] for value in std or [1.0] * 3]

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, rows and columns."""
        return (3, self.height, self.width)

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`: the size, without augmentation."""
        return {"size": [self.height, self.width], "resize": self.resize, "resample": self.resample}

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the standard deviation of each channel from at most 200 training cells, if not given."""
        if self.learns_scale and (images := self.preprocess_sample(cells)):
            self.standardize(np.stack(images), (0, 2, 3), min_std=0.01)

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: images of two sizes."""
        return list(make_images())

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: pixels, resized already."""
        from .front_end import Pixels

        return Pixels(self.shape)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: the pixels of each image."""
        images = [self.preprocess(element) for element in self.elements(cell)]
        return {"pixels": np.stack(images).reshape(-1, *self.shape)}

    def preprocess(self, cell: Any) -> Array:
        """The image (3, H, W), float32 in 0 to 1.

        Raises:
            UsageError: the file does not exist or is too large, or the array is not an image.
            DamagedError: the file cannot be read.
        """
        import PIL.Image
        import PIL.ImageOps

        image = read_image(cell)
        resample = PIL.Image.Resampling[self.resample.upper()]
        if self.resize is None:
            image = PIL.ImageOps.fit(image, (self.width, self.height), resample)
        else:
            name = cell if isinstance(cell, str | Path) else "image"
            image = image.resize(self._resized(image.width, image.height, name), resample)
            left, top = self.crop_offset(image.width - self.width), self.crop_offset(image.height - self.height)
            image = image.crop((left, top, left + self.width, top + self.height))
        return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255))

    def crop_offset(self, excess: int) -> int:
        """The pixels that are cropped in front, of those that are too many along a side."""
        return excess // 2

    def _resized(self, width: int, height: int, name: object) -> tuple[int, int]:
        """The width and height that an image is resized to."""
        if isinstance(self.resize, list):
            return self.resize[1], self.resize[0]
        assert self.resize is not None
        long = int(self.resize * max(width, height) / min(width, height))
        if long * self.resize > MAX_PIXELS:
            wrong = f"an image of {width} x {height} pixels is too narrow for a shortest side of {self.resize}"
            raise UsageError(name, wrong, "crop the image")
        return (self.resize, long) if width <= height else (long, self.resize)

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


def _check_size(key: str, size: list[int]) -> None:
    if len(size) != 2 or min(size) < 1:
        raise UsageError(key, f"expected rows and columns, got {size}", "give two numbers, like [32, 32]")


def read_image(cell: Any) -> Any:
    """The `PIL.Image.Image` of a cell of `Image`, in red, green and blue.

    Raises:
        UsageError: the file does not exist or is too large, or the array is not an image.
        DamagedError: the file cannot be read.
    """
    import PIL.Image

    if isinstance(cell, str | Path | bytes) or is_image(cell):
        return to_rgb(open_image(cell))
    return to_rgb(PIL.Image.fromarray(_to_bytes(np.asarray(cell))))


def _to_bytes(array: Array) -> Array:
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] != 3:  # as torch orders the channels
        array = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    fix = "give an array (rows, columns) or (rows, columns, 3), of integers of 0 to 255 or of floats of 0 to 1"
    if not (array.dtype.kind in "biuf" and array.size and (array.ndim == 2 or array.shape[2:] == (3,))):
        raise UsageError("image", f"an array {array.shape} of {array.dtype} is not an image", fix)
    if array.dtype.kind == "f" or array.dtype == bool:
        array = np.asarray(array, np.float64) * 255
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
        raise UsageError("image", "its values are out of range", fix)
    return np.rint(array).astype(np.uint8)
