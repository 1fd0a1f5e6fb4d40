"""Piano rolls: the pitches that sound at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import values
from ..errors import UsageError
from .reader import Array, TokenReader

if TYPE_CHECKING:
    from .front_end import FrontEnd


class PianoRoll(TokenReader):
    """A piano roll. A cell is a list of frames in their order, and a frame is a list of the pitches that sound in it.

    A frame is a piece, and its pitches are the tokens of the piece, in ascending order and without repetition. A
    frame may be empty; a roll without any pitch is a missing cell. Missing frames and pitches are left out.

    Args:
        low: the lowest pitch, as a MIDI note number; 21 is the lowest of a piano.
        high: the highest pitch.

    >>> PianoRoll().encode([[[60, 64, 67], [], [69]]]).values.tolist()
    [39, 43, 46, 48]
    """

    def __init__(self, low: int = 21, high: int = 108) -> None:
        if low > high:
            raise UsageError("low", f"low must not be above high, got {low} and {high}", "give the lower pitch first")
        self.low, self.high = low, high
        self.size = high - low + 1

    def elements(self, cell: Any) -> list[Any]:
        """The frames of a cell, empty ones included."""
        frames = cell.tolist() if isinstance(cell, np.ndarray) else cell
        frames = values.present(frames) if isinstance(frames, list | tuple) else frames
        if not isinstance(frames, list | tuple) or not all(
            isinstance(frame, list | tuple | np.ndarray) for frame in frames
        ):
            raise UsageError("roll", "the cell is not a list of frames", "write it like [[60, 64, 67], [], [69]]")
        return list(frames)

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: two rolls with a silent frame."""
        low, high = self.low, self.high
        return [[[low], [], [low, high]], [[high], [(low + high) // 2, high]]]

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: the pitches of each frame."""
        return super().front_end().in_pieces()

    def tensors(self, cell: Any, in_pieces: bool = True) -> dict[str, Array]:
        """See `Reader.tensors`: one row, whose pieces are the frames."""
        return super().tensors(cell, in_pieces=True)

    def token_ids(self, element: Any) -> Sequence[int]:
        """The pitches of a frame, counted from `low`.

        Raises:
            UsageError: a pitch is not a whole number, or is out of range.
        """
        element = values.present(element)
        ids = {int(pitch) - self.low if isinstance(pitch, int | np.integer) else -1 for pitch in element}
        if any(not 0 <= id < self.size for id in ids):
            wrong = f"pitches must be whole numbers from {self.low} to {self.high}, got {list(element)}"
            raise UsageError("roll", wrong, "correct the frame, or give `low` and `high` of the reader")
        return sorted(ids)
