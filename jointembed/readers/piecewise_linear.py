"""Piecewise linear encoding of numbers (Gorishniy et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from .. import values
from ..arguments import Count, Distinct
from .matrix import MatrixReader
from .quantiles import BinnedColumns
from .reader import Array

if TYPE_CHECKING:
    from torch import Tensor

    from .front_end import FrontEnd


class PiecewiseLinear(BinnedColumns, MatrixReader):
    """Numbers as their position in each bin: 1 in the bins below the number, 0 in those above, a share in its own.

    After this encoding (Gorishniy et al. 2022, "On Embeddings for Numerical Features"), one linear layer can learn any
    function that is linear within each bin. Bins hold equally many training rows. Numbers outside the range of the
    training rows are clipped to it; a missing number is 0 in all bins and 1 in an extra place.

    Args:
        columns: the columns of a row to read; without them it reads its own cell.
        bins: the largest number of bins for each column.

    >>> reader = PiecewiseLinear(bins=2)
    >>> reader.fit([0, 2, 4, 6, 8])
    >>> reader.preprocess(5).tolist(), reader.preprocess(None).tolist()
    ([1.0, 0.25, 0.0], [0.0, 0.0, 1.0])
    """

    def __init__(self, columns: Annotated[list[str], Distinct()] | None = None, bins: Count = 16) -> None:
        super().__init__(columns, bins)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values in a piece."""
        return (self.size,)

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the edges of the bins from the training cells; a column without a number has none."""
        rows = [self.numbers(cell) for cell in cells if not values.missing(cell)]
        self.fit_matrix(np.array(rows, float).reshape(len(rows), len(self.columns) or 1))

    def fit_matrix(self, numbers: Array) -> None:
        """Learn the edges of the bins from the numbers (N, C) of the training cells."""
        edges = []
        for column in numbers.T:
            finite = column[np.isfinite(column)]
            quantiles = np.linspace(0, 1, self.bins + 1)
            edges.append(np.unique(np.quantile(finite, quantiles)).tolist() if len(finite) else [])
        self.restore({"edges": edges})

    def restore(self, state: dict[str, Any]) -> None:
        """Set the edges of the bins."""
        super().restore(state)
        self.size = sum(max(1, len(edges)) for edges in self.edges)

    def preprocess(self, cell: Any) -> Array:
        """The position of each number in its bins (size,), from 0 to 1."""
        pieces, _ = self.encode_matrix(np.array([self.numbers(cell)], float))
        return np.asarray(pieces[0])

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: numbers in the units of the table."""
        import torch

        from .front_end import Columns

        edges = [torch.tensor(column, dtype=torch.float64) for column in self.edges]

        def encode(numbers: Tensor) -> Tensor:
            parts = []
            for column, own in zip(torch.split(numbers, 1, 1), edges, strict=True):
                missing = ~(column.abs() < torch.inf)
                shares = (torch.where(missing, 0.0, column) - own[:-1]) / own.diff()
                parts += [torch.where(missing, 0.0, shares.clamp(0, 1)), missing.double()]
            return torch.cat(parts, 1)

        return Columns(len(self.edges), encode)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: the numbers (1, C) in float64, NaN where they are missing."""
        return {"numbers": np.asarray(self.numbers(cell), np.float64)[None]}

    def encode_matrix(self, numbers: Array) -> tuple[Array, None]:
        """The position of each number in its bins (N, size), from 0 to 1."""
        parts: list[Array] = []
        for column, column_edges in zip(numbers.T, self.edges, strict=True):
            edges = np.asarray(column_edges, float)
            missing = ~np.isfinite(column)
            # A column whose numbers are all missing has no edges, and one of equal numbers has no bins.
            shares = (column[:, None] - edges[:-1]) / np.diff(edges)
            shares[missing] = 0
            parts += [np.clip(shares, 0, 1), missing[:, None].astype(float)]
        return np.concatenate(parts, axis=1).astype(np.float32), None
