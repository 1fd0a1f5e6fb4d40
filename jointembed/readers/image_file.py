"""Opens image files, which may come from anywhere."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedError, UsageError

# No other decoder of Pillow ever sees a file, whatever its name says: those for PSD, EPS, JPEG 2000, FITS and the like
# have had far more holes.
FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF"]
MAX_PIXELS = 120_000_000  # in an image; decoded, it takes four bytes for each
MAX_FILE_BYTES = 4 * MAX_PIXELS
ORIENTATION = 0x0112  # the EXIF tag


def open_image(cell: Any) -> Any:
    """The `PIL.Image.Image` of a path, of the bytes of a file or of another image, as its EXIF orientation says.

    Of an animation it is the first frame.

    16-bit levels are reduced to their higher 8 bits, as Pillow does it for colours.

    Raises:
        UsageError: the file does not exist, or is too large.
        DamagedError: the file is not an image of one of the formats, or is damaged.
    """
    import PIL.Image

    if is_image(cell):
        return _turn_upright(cell)
    path: Any = "image"
    if not isinstance(cell, bytes):
        path = Path(cell)
        if not os.path.isfile(path):
            raise UsageError(path, "the image does not exist", "correct the path, or put the file there")
    if (len(cell) if isinstance(cell, bytes) else path.stat().st_size) > MAX_FILE_BYTES:
        raise UsageError(path, f"the file is larger than {MAX_FILE_BYTES:,} bytes", "save the image smaller")
    try:
        source = io.BytesIO(cell) if isinstance(cell, bytes) else path
        # Pillow warns of what is refused here, and of metadata that is not used.
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PIL.Image.DecompressionBombError
            image.load()
            return _turn_upright(image)
    except PIL.Image.DecompressionBombError as error:
        raise UsageError(path, f"the image has more than {MAX_PIXELS:,} pixels", "save the image smaller") from error
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        reason = f"not {', '.join(FORMATS)}" if isinstance(error, PIL.UnidentifiedImageError) else error
        raise DamagedError(path, f"it cannot be read as an image ({reason})", "replace the file") from error


def is_image(cell: object) -> bool:
    """Whether a cell is a `PIL.Image.Image`; PIL is not imported to ask."""
    return hasattr(cell, "getexif") and hasattr(cell, "convert")


def to_png(image: Any) -> bytes:
    """The content of a PNG file that is read as the same image as a `PIL.Image.Image`."""
    upright = _turn_upright(image)
    if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        upright = to_rgb(upright)
    file = io.BytesIO()
    upright.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _turn_upright(image: Any) -> Any:
    """An image as its EXIF orientation says, with 8 bits a level."""
    import PIL.Image

    upright = image if (rotation := _read_rotation(image)) is None else image.transpose(rotation)
    if upright.mode.startswith("I;16"):
        return PIL.Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return upright


def to_rgb(image: Any) -> Any:
    """A `PIL.Image.Image` of any mode in red, green and blue; what is transparent lies on white.

    CMYK is converted by (255 - ink) (255 - black) / 255, without a colour profile.
    """
    import PIL.Image

    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _read_rotation(image: Any) -> Any:
    """The `PIL.Image.Transpose` that turns an image upright; None if it is upright."""
    from PIL.Image import Transpose

    rotations = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return rotations.get(image.getexif().get(ORIENTATION))
    except Exception:  # the parser raises anything; damaged notes on a camera do not damage the image
        return None
