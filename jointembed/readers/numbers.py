"""Numbers, standardised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from .. import values
from ..arguments import Distinct
from ..errors import UsageError
from .matrix import MatrixReader
from .reader import Array, Standardized

if TYPE_CHECKING:
    from torch import Tensor

    from .front_end import FrontEnd

HUGE = 1e30  # numbers of this size or more are faults; the square of one is infinite


MAX_DEVIATIONS = 1e6  # a number of N training rows is at most sqrt(N) standard deviations from their mean


def to_float(value: Any, name: str) -> float:
    """A cell as a number; NaN where it is missing, infinite or of 1e30 and more.

    Raises:
        UsageError: the cell is not a number.
    """
    try:
        number = math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        fix = "correct the cell, or read the column with BagOfWords or Category"
        raise UsageError(name, f"{value!r} is not a number", fix) from error
    return number if abs(number) < HUGE else math.nan


class Numbers(Standardized, MatrixReader):
    """Numbers, standardised by the mean and the standard deviation of the training rows. A missing number is the mean.

    Numbers that are infinite, 1e30 or more, or a million standard deviations from the mean are read as missing.

    Args:
        columns: the columns of a row to read; without them it reads its own cell, a number or a list of numbers.
    """

    reads_numbers = scales_numbers = True

    def __init__(self, columns: Annotated[list[str], Distinct()] | None = None) -> None:
        self.columns = tuple(columns or ())
        self.size = max(1, len(self.columns))
        self.mean, self.std = [0.0] * self.size, [1.0] * self.size

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values in a piece."""
        return (self.size,)

    def elements(self, cell: Any) -> list[Any]:
        """The cell itself: all of its numbers are one element. An unusable number has no element."""
        return [cell] if self.columns or np.isfinite(self._to_numbers(cell)).any() else []

    def _to_numbers(self, cell: Any) -> Array:
        cells = [cell.get(column) for column in self.columns] if isinstance(cell, dict) else cell
        if isinstance(cell, list | tuple | np.ndarray):
            cells = values.present(cell) or math.nan
        cells = np.atleast_1d(np.array(cells, dtype=object)).ravel()
        if len(cells) != self.size:
            raise UsageError("number", f"expected {self.size} numbers, got {len(cells)}", f"give {self.size}")
        names = self.columns or ("number",)
        return np.array([to_float(value, name) for value, name in zip(cells, names, strict=True)])

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: numbers around the means."""
        rows = [
            [mean + share * std for mean, std in zip(self.mean, self.std, strict=True)] for share in (0.0, 1.5, -0.75)
        ]
        return [dict(zip(self.columns, row, strict=True)) if self.columns else row for row in rows]

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the mean and the standard deviation of the training cells."""
        rows = [self._to_numbers(cell) for cell in cells if not values.missing(cell)]
        if rows:
            self.fit_matrix(np.stack(rows))

    def fit_matrix(self, numbers: Array) -> None:
        """Learn the mean and the standard deviation of the training cells (N, size)."""
        if not len(numbers):
            return
        finite = np.isfinite(numbers)
        count = np.maximum(finite.sum(0), 1)
        mean = np.where(finite, numbers, 0).sum(0) / count
        std = np.sqrt(np.where(finite, (numbers - mean) ** 2, 0).sum(0) / count)
        self.restore({"mean": mean.tolist(), "std": np.where(std > 0, std, 1).tolist()})

    def preprocess(self, cell: Any) -> Array:
        """The standardised numbers (size,); 0 where a number is missing."""
        return self.encode_matrix(self._to_numbers(cell))[0]

    def encode_matrix(self, numbers: Array) -> tuple[Array, None]:
        """The standardised numbers of cells (N, size); 0 where a number is missing."""
        standardised = (numbers - self.mean) / self.std
        return np.where(np.abs(standardised) < MAX_DEVIATIONS, standardised, 0).astype(np.float32), None

    def has_piece(self, numbers: Array) -> NDArray[np.bool_]:
        """Whether a cell of this reader alone is usable; a row of several columns always has a piece."""
        return np.ones(len(numbers), bool) if self.columns else np.isfinite(numbers[:, 0])

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: numbers in the units of the table."""
        import torch

        from .front_end import Columns

        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (self.mean, self.std))

        def standardise(numbers: Tensor) -> Tensor:
            standardised = (numbers - mean) / std
            return torch.where(standardised.abs() < MAX_DEVIATIONS, standardised, 0.0)

        return Columns(self.size, standardise)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: the numbers (1, C) in float64, NaN where they are missing."""
        return {"numbers": np.asarray(self._to_numbers(cell), np.float64)[None]}

    def inverse_transform(self, standardised: Array) -> Array:
        """Standardised numbers (N, size) in the units of the table."""
        return np.asarray(np.asarray(standardised, np.float64) * self.std + self.mean)
