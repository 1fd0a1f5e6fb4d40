"""Opens image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DamagedError, UsageError

FORMATS = ["PNG", "BMP", "WEBP", "JPEG"]


def open_image(path: Path) -> Any:
    """The `PIL.Image.Image` of a file, rotated as its EXIF orientation says.

    Raises:
        UsageError: the file does not exist.
        DamagedError: the file is not an image of one of the formats, or is damaged.
    """
    import PIL.Image
    import PIL.ImageOps

    if not path.is_file():
        raise UsageError(path, "the image does not exist", "correct the path, or put the file there")
    try:
        with PIL.Image.open(path, formats=FORMATS) as image:
            image.load()
            return PIL.ImageOps.exif_transpose(image)
    except (ValueError, OSError, EOFError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise DamagedError(path, f"it cannot be read as an image ({error})", "replace the file") from error
