"""Numbers, brought to one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import values as table_cells
from ..errors import UsageError
from .reader import Array, Reader


class Numbers(Reader):
    """Numbers, standardised by the mean and the deviation of the training rows; one that is missing counts as the mean.

    Args:
        columns: the columns that it reads from a row; without any, it reads the one cell that it is given.
    """

    def __init__(self, columns: list[str] | None = None) -> None:
        self.columns = tuple(columns or ())
        self.size = max(1, len(self.columns))
        self.centre = [0.0] * self.size
        self.deviation = [1.0] * self.size

    @property
    def shape(self) -> tuple[int, ...]:
        """How many numbers a piece has."""
        return (self.size,)

    def elements(self, cell: Any) -> list[Any]:
        """One thing a cell."""
        return [cell]

    def _raw(self, cell: Any) -> Array:
        cell = [cell.get(column) for column in self.columns] if isinstance(cell, dict) else cell
        given = np.atleast_1d(np.array(cell, dtype=object)).ravel()
        try:
            numbers = np.array([math.nan if one is None or one == "" else float(one) for one in given])
        except (TypeError, ValueError) as error:
            raise UsageError(
                "number", f"{cell!r} is no number", "correct the cell, or read the column as BagOfWords or Category"
            ) from error
        if len(numbers) != self.size:
            raise UsageError("number", f"expected {self.size} numbers, got {len(numbers)}", f"give {self.size}")
        return numbers

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the deviation of the training cells."""
        rows = [self._raw(cell) for cell in cells if not table_cells.missing(cell)]
        if not rows:
            return
        table = np.stack(rows)
        known = np.isfinite(table)
        count = np.maximum(known.sum(0), 1)
        centre = np.where(known, table, 0).sum(0) / count
        spread = np.sqrt(np.where(known, (table - centre) ** 2, 0).sum(0) / count)
        self.restore({"centre": centre.tolist(), "deviation": np.where(spread > 0, spread, 1).tolist()})

    def state(self) -> dict[str, Any]:
        """The mean and the deviation of each number."""
        return {"centre": self.centre, "deviation": self.deviation}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.centre, self.deviation = list(state["centre"]), list(state["deviation"])

    def load(self, cell: Any) -> Array:
        """The standardised numbers (size,), 0 where one is missing."""
        numbers = (self._raw(cell) - self.centre) / self.deviation
        return np.where(np.isfinite(numbers), numbers, 0).astype(np.float32)

    def original(self, standardised: Array) -> Array:
        """Standardised numbers (N, size) in the units of the table."""
        return np.asarray(standardised, np.float64) * self.deviation + self.centre
