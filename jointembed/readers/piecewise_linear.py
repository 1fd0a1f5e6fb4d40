"""Numbers as how far they have come through each of their buckets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import values as table_cells
from .quantiles import parsed
from .reader import Array, Reader


class PiecewiseLinear(Reader):
    """Numbers as how far each has come through each of its buckets: 1 in those below it, 0 in those above.

    This is the piecewise linear encoding of Gorishniy et al. 2022: one linear layer after it is any function of the
    number that is straight within a bucket. Buckets hold equally many training rows each. A number beyond the training
    rows counts as the nearest of theirs; of one that is missing all are 0, and a place of its own is 1.

    Args:
        columns: the columns that it reads from a row; without any, it reads the one cell that it is given.
        bins: buckets a column, at most.

    >>> reader = PiecewiseLinear(bins=2)
    >>> reader.fit([0, 2, 4, 6, 8])
    >>> reader.load(5).tolist(), reader.load(None).tolist()
    ([1.0, 0.25, 0.0], [0.0, 0.0, 1.0])
    """

    def __init__(self, columns: list[str] | None = None, bins: int = 16) -> None:
        self.columns = tuple(columns or ())
        self.bins = bins
        self.edges: list[list[float]] = []

    @property
    def shape(self) -> tuple[int, ...]:
        """How many numbers a piece has."""
        return (self.size,)

    def elements(self, cell: Any) -> list[Any]:
        """One thing a cell."""
        return [cell]

    def _values(self, cell: Any) -> list[float]:
        names = self.columns or ("number",)
        given = [cell.get(name) for name in names] if isinstance(cell, dict) else [cell]
        return [parsed(value, name) for value, name in zip(given, names, strict=True)]

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the buckets from the training cells; a column without a number has none."""
        rows = [self._values(cell) for cell in cells if not table_cells.missing(cell)]
        edges = []
        for column in np.array(rows, float).reshape(len(rows), len(self.columns) or 1).T:
            known = column[np.isfinite(column)]
            edges.append(np.unique(np.quantile(known, np.linspace(0, 1, self.bins + 1))).tolist() if len(known) else [])
        self.restore({"edges": edges})

    def state(self) -> dict[str, Any]:
        """The borders of the buckets of each column, from the least number to the greatest."""
        return {"edges": self.edges}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.edges = [list(edges) for edges in state["edges"]]
        self.size = sum(max(1, len(edges)) for edges in self.edges)

    def load(self, cell: Any) -> Array:
        """How far each number has come (size,), 0 to 1."""
        parts: list[Array] = []
        for value, borders in zip(self._values(cell), self.edges, strict=True):
            edges = np.asarray(borders)
            missing = not math.isfinite(value)
            shares = np.zeros(max(0, len(edges) - 1)) if missing else (value - edges[:-1]) / np.diff(edges)
            parts += [np.clip(shares, 0, 1), np.array([float(missing)])]
        return np.concatenate(parts).astype(np.float32)
