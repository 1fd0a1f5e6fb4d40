"""Numbers in buckets, and crosses of several columns: what is near in a table may be far in its meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from .. import values as table_cells
from ..errors import UsageError
from .reader import Lookup


def parsed(value: Any, name: str) -> float:
    try:
        return math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            name, f"{value!r} is no number", "correct the cell, or read the column as BagOfWords or Category"
        ) from error


def _edges(values: Sequence[float], bins: int) -> list[float]:
    """The borders between buckets that hold equally many of the values, fewer where many values are the same."""
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return []
    return np.unique(np.quantile(known, np.arange(1, bins) / bins)).tolist()  # type: ignore[no-any-return]


class _Columns(Lookup):
    """A lookup in several columns of a row, or in the one cell that it is given."""

    def __init__(self, columns: list[str] | None) -> None:
        self.columns = tuple(columns or ())

    def elements(self, cell: Any) -> list[Any]:
        """One thing a cell."""
        return [cell]

    def _values(self, cell: Any) -> list[Any]:
        return [cell.get(column) for column in self.columns] if isinstance(cell, dict) else [cell]


class Quantiles(_Columns):
    """Numbers as buckets that hold equally many training rows each, every bucket a thing with a vector of its own.

    So a price may rise and fall again with the year a house was built, which one weight for the year cannot say. The
    borders are learned from the training rows; a number that is missing is in no bucket.

    Args:
        columns: the columns that it reads from a row; without any, it reads the one cell that it is given.
        bins: buckets a column, at most.

    >>> reader = Quantiles(bins=2)
    >>> reader.fit([1, 2, 3, 4])
    >>> reader.edges, reader.encode([0, 9, None]).values.tolist()
    ([[2.5]], [0, 1])
    """

    def __init__(self, columns: list[str] | None = None, bins: int = 20) -> None:
        super().__init__(columns)
        self.bins = bins
        self.edges: list[list[float]] = []

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the borders from the training cells."""
        names = self.columns or ("number",)
        rows = [self._values(cell) for cell in cells if not table_cells.missing(cell)]
        found = [[parsed(row[at], name) for row in rows] for at, name in enumerate(names)]
        self.restore({"edges": [_edges(values, self.bins) for values in found]})

    def state(self) -> dict[str, Any]:
        """The borders of each column."""
        return {"edges": self.edges}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.edges = [list(edges) for edges in state["edges"]]
        self.size = sum(len(edges) + 1 for edges in self.edges)

    def numbers(self, element: Any) -> Sequence[int]:
        """The number of the bucket of each column that is there."""
        found, first = [], 0
        for value, edges, name in zip(self._values(element), self.edges, self.columns or ("number",), strict=True):
            number = parsed(value, name)
            if not math.isnan(number):
                found.append(first + int(np.searchsorted(edges, number)))
            first += len(edges) + 1
        return found or [self.size]


class HashedCross(_Columns):
    """Combinations of columns, hashed: latitude and longitude as the squares of a map.

    Columns of numbers are put into buckets first, as `Quantiles` does. The combination is hashed into a fixed number of
    places, so that the whole product never needs to be there; two combinations may share a place.

    Args:
        columns: two or more.
        bins: buckets a column of numbers, at most.
        buckets: places.

    >>> reader = HashedCross(["street", "size"], bins=2, buckets=100)
    >>> reader.fit([{"street": "a", "size": 1}, {"street": "b", "size": 3}])
    >>> a, b, c = (reader.numbers({"street": "a", "size": size}) for size in (0, 1, 9))
    >>> a == b, a == c
    (True, False)
    """

    def __init__(self, columns: list[str], bins: int = 20, buckets: int = 1000) -> None:
        super().__init__(columns)
        if len(self.columns) < 2:
            raise UsageError("HashedCross", f"{list(self.columns)} cannot be combined", "give two columns or more")
        self.bins, self.buckets, self.size = bins, buckets, buckets
        self.edges: list[list[float] | None] = [None] * len(self.columns)

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn from the training cells which columns are numbers, and their borders."""
        rows = [self._values(cell) for cell in cells if not table_cells.missing(cell)]
        self.edges = []
        for at in range(len(self.columns)):
            given = [row[at] for row in rows if not table_cells.missing(row[at])]
            try:
                self.edges.append(_edges([float(value) for value in given], self.bins))
            except (TypeError, ValueError):
                self.edges.append(None)

    def state(self) -> dict[str, Any]:
        """The borders of each column of numbers; None for the others."""
        return {"edges": self.edges}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.edges = list(state["edges"])

    def numbers(self, element: Any) -> Sequence[int]:
        """The place of the combination; the unknown one if a part is missing."""
        parts = []
        for value, edges, name in zip(self._values(element), self.edges, self.columns, strict=True):
            if table_cells.missing(value):
                return [self.size]
            parts.append(str(value if edges is None else np.searchsorted(edges, parsed(value, name))))
        digest = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return [int.from_bytes(digest, "little") % self.buckets]
