"""Images of any aspect ratio as patches, for SigLIP 2 with NaFlex and for Gemma 4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import LEAVE_OUT, UsageError
from ...readers import Image
from ...readers.image import Resample, read_image
from ...readers.reader import Array, FileReader

if TYPE_CHECKING:
    from ...readers.front_end import FrontEnd

# P patches, S pixels of a side of a patch

MAX_SCALE = 100.0  # by which a small image is enlarged
PRECISION = 1e-5  # of the scale; a finer search would resize some images to another size than transformers


class ImagePatches(FileReader):
    """A colour image as patches, (P, S * S * 3 + 2), which keeps its aspect ratio (Tschannen et al. 2025).

    An image is resized to as many patches as it may have, and padded with black patches to that number. Each patch
    contains its pixels in 0 to 1, and then the number of rows and columns of patches in the image.

    Args:
        patch_size: S.
        max_patches: P.
        resample: the filter with which an image is resized.
        mean: what the network subtracts from each channel.
        std: what it then divides each channel by.
    """

    cached = reads_images = True

    def __init__(
        self,
        patch_size: int,
        max_patches: int,
        resample: Resample = "bilinear",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        # Its checks are those of all images.
        image = Image([patch_size, patch_size], resample=resample, mean=list(mean), std=list(std))
        if max_patches < 1:
            raise UsageError("ImagePatches.max_patches", f"got {max_patches}", "give a number of at least 1")
        self.patch_size, self.max_patches, self.resample = patch_size, max_patches, image.resample
        self.mean = [*mean] * patch_size**2 + [0.0, 0.0]
        self.std = [*std] * patch_size**2 + [1.0, 1.0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Patches and the values of each."""
        return (self.max_patches, len(self.mean))

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`."""
        return {"patch_size": self.patch_size, "max_patches": self.max_patches, "resample": self.resample}

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: images of two sizes."""
        return Image([self.patch_size, self.patch_size]).example_cells()

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: it has none.

        Raises:
            UsageError: always.
        """
        raise UsageError(type(self).__name__, "images of any aspect ratio are not exported to ONNX", LEAVE_OUT)

    def preprocess(self, cell: Any) -> Array:
        """The patches of an image, row by row, float32.

        Raises:
            UsageError: the file does not exist or is too large, or the array is not an image.
            DamagedError: the file cannot be read.
        """
        import PIL.Image

        image, size = read_image(cell), self.patch_size
        rows, columns = self.grid(image.height, image.width)
        pixels = np.asarray(
            image.resize((columns * size, rows * size), PIL.Image.Resampling[self.resample.upper()]), np.float32
        )
        patches = pixels.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(rows * columns, -1)
        padded = np.zeros(self.shape, np.float32)
        padded[: rows * columns, :-2] = patches / np.float32(255)
        padded[:, -2:] = rows, columns
        return padded

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The rows and columns of patches of an image: the most that its aspect ratio allows."""
        low, high = PRECISION / 10, MAX_SCALE
        while high - low >= PRECISION:
            scale = (low + high) / 2
            if math.prod(self._scaled(height, width, scale)) <= self.max_patches:
                low = scale
            else:
                high = scale
        return self._scaled(height, width, low)

    def _scaled(self, height: int, width: int, scale: float) -> tuple[int, int]:
        rows, columns = (max(1, math.ceil(side * scale / self.patch_size)) for side in (height, width))
        return rows, columns


class PooledPatches(ImagePatches):
    """A colour image as patches that are pooled in squares, as Gemma 4 reads it; see `ImagePatches`.

    The rows and the columns of patches are multiples of the side of a square.

    Args:
        patch_size: S.
        max_patches: P.
        pool_size: patches of a side of a square.
        resample: the filter with which an image is resized.
    """

    def __init__(self, patch_size: int, max_patches: int, pool_size: int, resample: Resample = "bicubic") -> None:
        super().__init__(patch_size, max_patches, resample, mean=[0.0] * 3, std=[1.0] * 3)
        if pool_size < 1 or max_patches % pool_size**2:
            wrong = f"{max_patches} patches do not fill squares of {pool_size} x {pool_size}"
            raise UsageError("PooledPatches.max_patches", wrong, "give a multiple of the patches in a square")
        self.pool_size = pool_size

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`."""
        return {**super().preprocess_config(), "pool_size": self.pool_size}

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The rows and columns of patches of an image: about its aspect ratio, and at most `max_patches`."""
        squares = self.max_patches // self.pool_size**2
        scale = math.sqrt(self.max_patches * self.patch_size**2 / (height * width))
        side = self.pool_size * self.patch_size
        rows, columns = (math.floor(length * scale / side) for length in (height, width))
        if not rows:
            rows, columns = 1, min(max(1, width // height), squares)
        elif not columns:
            rows, columns = min(height // width, squares), 1
        return rows * self.pool_size, columns * self.pool_size
