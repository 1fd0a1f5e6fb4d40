"""Piano rolls: what sounds, moment by moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from .reader import Lookup


class PianoRoll(Lookup):
    """A piano roll: a cell is a list of frames in their order, each a list of the pitches that sound in it, or [].

    A frame is a piece, its pitches are the things inside it, each once and in ascending order. A roll in which
    nothing ever sounds is a missing cell.

    Args:
        low: the lowest pitch; 21 is the lowest of a piano, as MIDI counts.
        high: the highest.

    >>> PianoRoll().encode([[[60, 64, 67], [], [69]]]).values.tolist()
    [39, 43, 46, 48]
    """

    def __init__(self, low: int = 21, high: int = 108) -> None:
        if low > high:
            raise UsageError("low", f"no pitch lies from {low} to {high}", "give the lowest, then the highest")
        self.low, self.high = low, high
        self.size = high - low + 1

    def elements(self, cell: Any) -> list[Any]:
        """The frames of a cell; one in which nothing sounds is a frame too."""
        frames = cell.tolist() if isinstance(cell, np.ndarray) else cell
        if not isinstance(frames, list | tuple) or not all(
            isinstance(one, list | tuple | np.ndarray) for one in frames
        ):
            raise UsageError("roll", "the cell is no list of frames", "write it like [[60, 64, 67], [], [69]]")
        return list(frames)

    def numbers(self, element: Any) -> Sequence[int]:
        """The pitches of a frame, counted from the lowest.

        Raises:
            UsageError: one is no whole number, or lies outside.
        """
        keys = {int(pitch) - self.low if isinstance(pitch, int | np.integer) else -1 for pitch in element}
        if any(not 0 <= key < self.size for key in keys):
            wrong = f"{list(element)} is no frame of pitches from {self.low} to {self.high}"
            raise UsageError("roll", wrong, "correct the frame, or give `low` and `high` of the reader")
        return sorted(keys)
