"""Piano rolls: 88 keys by sixteenths, as grey bitmaps in memory and as PNG files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import files
from ..errors import DamagedError
from .synth import DRUMS, Note


def roll(
    notes: Iterable[Note], steps: int = 128, step_seconds: float = 0.125, low: int = 21, high: int = 108
) -> NDArray[np.uint8]:
    """The pitched notes as a picture (high - low + 1, steps): low pitches at the bottom, velocity as grey.

    Args:
        notes: drums among them, and pitches outside `low` to `high`, are left out.
        steps: columns; what comes later is left out.
        step_seconds: length of a column: a sixteenth lasts 15 / tempo.
        low: MIDI pitch of the bottom row.
        high: MIDI pitch of the top row.

    Example:
        >>> picture = roll([Note(0.0, 0.5, 60, 1.0, "piano")], steps=8)
        >>> picture[108 - 60].tolist()
        [255, 255, 255, 255, 0, 0, 0, 0]
    """
    picture = np.zeros((high - low + 1, steps), np.uint8)
    for note in notes:
        if note.instrument in DRUMS or not low <= note.pitch <= high:
            continue
        first = round(note.start / step_seconds)
        last = max(first + 1, round((note.start + note.seconds) / step_seconds))
        grey = max(1, min(255, round(255 * note.velocity)))
        row = picture[high - note.pitch]
        row[first:last] = np.maximum(row[first:last], grey)
    return picture


def write(path: Path | str, picture: NDArray[np.uint8]) -> None:
    """Write a roll as an 8-bit grey PNG, whole or not at all."""

    def save(file: IO[bytes]) -> None:
        Image.fromarray(picture).save(file, "PNG")

    files.write(path, save)


def read(path: Path | str) -> NDArray[np.uint8]:
    """Read such a PNG: the same array that was written.

    Raises:
        DamagedError: the file is no picture.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DamagedError(path, "this is not a readable picture", "write it again") from error
