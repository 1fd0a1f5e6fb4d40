"""Piano rolls: 88 keys by sixteenths, as grey images."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import files
from .synth import DRUMS, Note

STEPS = 128
LOWEST, HIGHEST = 21, 108  # MIDI pitches of a piano


def piano_roll(notes: Iterable[Note], step_seconds: float = 0.125) -> NDArray[np.uint8]:
    """The pitched notes as an image (88, 128): low pitches at the bottom, velocity as grey.

    Args:
        notes: drums, and notes outside the keyboard or after the last step, are left out.
        step_seconds: the length of a step; a sixteenth lasts 15 / tempo.

    Example:
        >>> image = piano_roll([Note(0.0, 0.5, 60, 1.0, "piano")])
        >>> image[108 - 60, :6].tolist()
        [255, 255, 255, 255, 0, 0]
    """
    image = np.zeros((HIGHEST - LOWEST + 1, STEPS), np.uint8)
    for note in notes:
        if note.instrument not in DRUMS and LOWEST <= note.pitch <= HIGHEST:
            first = round(note.start / step_seconds)
            last = max(first + 1, round((note.start + note.seconds) / step_seconds))
            row = image[HIGHEST - note.pitch]
            row[first:last] = np.maximum(row[first:last], max(1, min(255, round(255 * note.velocity))))
    return image


def write(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a piano roll as a grey PNG, completely or not at all."""
    files.write(path, partial(Image.fromarray(image).save, format="PNG"))


def read(path: Path | str) -> NDArray[np.uint8]:
    """Read a piano roll: the array that was written."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))
