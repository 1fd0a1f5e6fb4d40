"""Numbers in quantile bins, and hashed combinations of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any

import numpy as np

from .. import values
from ..arguments import Count, Distinct
from ..errors import UsageError
from .matrix import MatrixReader
from .numbers import to_float
from .reader import Array, Reader, TokenReader


def quantile_edges(numbers: Sequence[float] | Array, bins: int) -> list[float]:
    """The edges between bins that hold equally many of the numbers; fewer bins where many numbers are equal."""
    present = np.array(numbers, float)
    present = present[~np.isnan(present)]
    if not len(present):
        return []
    return np.unique(np.quantile(present, np.arange(1, bins) / bins)).tolist()  # type: ignore[no-any-return]


class BinnedColumns(Reader):
    """A reader that puts the numbers of several columns, or of its own cell, into bins learned from the rows."""

    reads_numbers = True

    def __init__(self, columns: list[str] | None, bins: int) -> None:
        self.columns, self.bins = tuple(columns or ()), bins
        self.edges: list[Any] = []

    def elements(self, cell: Any) -> list[Any]:
        """The cell itself: its columns are one element."""
        return [cell]

    def cells(self, cell: Any) -> list[Any]:
        """The cells of the columns.

        Raises:
            UsageError: it reads several columns, and the cell is not a row.
        """
        if isinstance(cell, dict) and self.columns:
            return [cell.get(column) for column in self.columns]
        if len(self.columns) > 1:
            wrong = f"the cell must be a row with these columns, got {cell!r}"
            raise UsageError(", ".join(self.columns), wrong, f'give a dict, or JSON like {{"{self.columns[0]}": ...}}')
        return [cell]

    def numbers(self, cell: Any) -> list[float]:
        """The numbers of the columns; NaN where a number is missing."""
        return [
            to_float(value, name) for value, name in zip(self.cells(cell), self.columns or ("number",), strict=True)
        ]

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: numbers at the edges of the bins and beyond; text where numbers have no bins."""
        rows: list[list[Any]] = [
            ["a" if edges is None else edges[place] + place if edges else 0.0 for edges in self.edges]
            for place in (0, -1)
        ]
        return [dict(zip(self.columns, row, strict=True)) if self.columns else row[0] for row in rows if row]

    def state(self) -> dict[str, Any]:
        """The edges of the bins of each column."""
        return {"edges": self.edges}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the edges of the bins."""
        self.edges = list(state["edges"])


class Quantiles(BinnedColumns, TokenReader, MatrixReader):
    """Numbers as bins that hold equally many training rows, each bin a token with a vector of its own.

    A price can then rise and fall again with the year a house was built, which a single weight cannot express. The
    edges are learned from the training rows; a missing number is in no bin.

    Args:
        columns: the columns of a row to read; without them it reads its own cell.
        bins: the largest number of bins for each column.

    >>> reader = Quantiles(bins=2)
    >>> reader.fit([1, 2, 3, 4])
    >>> reader.edges, reader.encode([0, 9, None]).values.tolist()
    ([[2.5]], [0, 1])
    """

    def __init__(self, columns: Annotated[list[str], Distinct()] | None = None, bins: Count = 20) -> None:
        super().__init__(columns, bins)

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the edges of the bins from the training cells."""
        rows = [self.numbers(cell) for cell in cells if not values.missing(cell)]
        self.fit_matrix(np.array(rows, float).reshape(len(rows), len(self.columns) or 1))

    def fit_matrix(self, numbers: Array) -> None:
        """Learn the edges of the bins from the numbers (N, C) of the training cells."""
        self.restore({"edges": [quantile_edges(column, self.bins) for column in numbers.T]})

    def restore(self, state: dict[str, Any]) -> None:
        """Set the edges of the bins."""
        super().restore(state)
        self.size = sum(len(edges) + 1 for edges in self.edges)

    def token_ids(self, element: Any) -> Sequence[int]:
        """The bin of each number that is present."""
        ids: list[int] = self.encode_matrix(np.array([self.numbers(element)], float))[0].tolist()
        return ids

    def encode_matrix(self, numbers: Array) -> tuple[Array, Array]:
        """The bins of the numbers (N, C) that are present; the unknown token for a cell without any."""
        ids = np.zeros(numbers.shape, np.int64)
        first = 0
        for at, edges in enumerate(self.edges):
            ids[:, at] = first + np.searchsorted(edges, numbers[:, at])
            first += len(edges) + 1
        present = ~np.isnan(numbers)
        empty = ~present.any(1)
        ids[empty, 0], present[empty, 0] = self.size, True
        return ids[present], present.sum(1)


class HashedCross(BinnedColumns, TokenReader):
    """Combinations of columns, hashed: latitude and longitude together are the squares of a map.

    Numeric columns are binned first, as in `Quantiles`. Each combination is hashed into one of `buckets` tokens, so
    that the full product of the columns is never stored; two combinations may share a token.

    Args:
        columns: two or more columns.
        bins: the largest number of bins for each numeric column.
        buckets: the number of tokens.

    >>> reader = HashedCross(["street", "size"], bins=2, buckets=100)
    >>> reader.fit([{"street": "a", "size": 1}, {"street": "b", "size": 3}])
    >>> a, b, c = (reader.token_ids({"street": "a", "size": size}) for size in (0, 1, 9))
    >>> a == b, a == c
    (True, False)
    """

    def __init__(self, columns: Annotated[list[str], Distinct()], bins: Count = 20, buckets: Count = 1000) -> None:
        super().__init__(columns, bins)
        if len(self.columns) < 2:
            wrong = f"expected two columns or more, got {list(self.columns)}"
            raise UsageError("HashedCross", wrong, "give two columns or more")
        self.buckets = self.size = buckets
        self.edges = [None] * len(self.columns)

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn from the training cells which columns are numeric, and the edges of their bins."""
        rows = [self.cells(cell) for cell in cells if not values.missing(cell)]
        edges: list[list[float] | None] = []
        for at in range(len(self.columns)):
            present = [row[at] for row in rows if not values.missing(row[at])]
            try:
                edges.append(quantile_edges([to_float(float(value), "") for value in present], self.bins))
            except (TypeError, ValueError):
                edges.append(None)
        self.restore({"edges": edges})

    def token_ids(self, element: Any) -> Sequence[int]:
        """The bucket of the combination, or `size` if any part is missing."""
        parts = []
        for value, edges, name in zip(self.cells(element), self.edges, self.columns, strict=True):
            if values.missing(value):
                return [self.size]
            if edges is not None:
                value = to_float(value, name)
                if math.isnan(value):
                    return [self.size]
                value = np.searchsorted(edges, value)
            parts.append(str(value))
        digest = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return [int.from_bytes(digest, "little") % self.buckets]
