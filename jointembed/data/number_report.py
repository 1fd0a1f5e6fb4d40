"""What is wrong with the numbers of a table: counted and reported, column by column, when it is read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..readers import Reader
from ..readers.numbers import HUGE
from .rows import Rows

Numbers = NDArray[np.float64]

MAX_STD_TO_SPREAD = 100  # above it the numbers of a column are nearly equal once they are standardised


def report_columns(rows: Rows, readers: Iterable[tuple[Reader, Sequence[str]]]) -> None:
    """Report the columns that are read as numbers; see `report_numbers`."""
    standardized: dict[str, bool] = {}
    for reader, columns in readers:
        if reader.reads_numbers:
            for column in reader.columns or columns:
                standardized[column] = standardized.get(column, False) or reader.scales_numbers
    for column, is_standardized in standardized.items():
        if rows.has_numbers(column):
            numbers, absent = rows.numbers(column)
            nan = int((np.isnan(numbers) & ~absent).sum())
        else:
            numbers = to_numbers(cells := rows.cells(column))
            nan = count_nan(cells, numbers)
        report_numbers(rows.name, column, numbers, nan, is_standardized)


def to_numbers(cells: Sequence[Any]) -> Numbers:
    """Cells as numbers (N,); NaN for those that are not numbers, such as missing ones and text."""
    try:
        return np.asarray(cells, np.float64)
    except (TypeError, ValueError):
        return np.array([_to_number(cell) for cell in cells], np.float64)


def _to_number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return np.nan


def count_nan(cells: Sequence[Any], numbers: Numbers) -> int:
    """How many cells are NaN themselves, of N cells and the same as numbers (N,)."""
    return sum(isinstance(cells[row], float | np.floating) for row in np.flatnonzero(np.isnan(numbers)).tolist())


def count_unusable(numbers: Numbers, nan: int) -> dict[str, int]:
    """How many cells are NaN, infinite or huge; empty if none are.

    Args:
        numbers: (N,) the cells as numbers.
        nan: how many cells are NaN, and not absent.
    """
    infinite = int(np.isinf(numbers).sum())
    huge = int((np.abs(numbers) >= HUGE).sum()) - infinite
    counts = {"NaN": nan, "infinite": infinite, f"{HUGE:g} or more": huge}
    return {name: count for name, count in counts.items() if count}


def describe_outlier(numbers: Numbers) -> str | None:
    """A sentence about the number that leaves no scale to the others, once they are standardised; None without one."""
    usable = numbers[np.abs(numbers) < HUGE]
    if not len(usable):
        return None
    median = float(np.median(usable))
    distances = np.abs(usable - median)
    if not distances.any():
        return None
    spread = float(np.median(distances[distances > 0]))
    if usable.std() <= MAX_STD_TO_SPREAD * spread:
        return None
    farthest = usable[distances.argmax()]
    return (
        f"{farthest:g} is so far from the others, about {median:g} ± {spread:g}, that these differ little by `Numbers`"
    )


def report_numbers(table: str, column: str, numbers: Numbers, nan: int, standardized: bool) -> None:
    """Print a line for a column with cells that are NaN, infinite or huge, and one for an outlier.

    Args:
        table: its name.
        column: its name.
        numbers: (N,) all of its cells as numbers.
        nan: how many of its cells are NaN, and not absent.
        standardized: whether the column is standardised, so that an outlier matters.
    """
    counts = count_unusable(numbers, nan)
    if counts:
        described = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"warning: {table}: {column}: cells that are read as missing: {described}", file=sys.stderr)
    if standardized and (outlier := describe_outlier(numbers)):
        fix = "Fix: correct it, or read the column with PiecewiseLinear or Quantiles"
        print(f"warning: {table}: {column}: {outlier}. {fix}", file=sys.stderr)
