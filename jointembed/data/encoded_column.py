"""An encoded column that is memory-mapped, from which batches are gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ragged import Ragged, ranges, repeat_index
from .column_store import Entry
from .distinct_column import DistinctColumn

# B cells, P pieces in all of them, U distinct elements, V items inside these

Array = NDArray[Any]


class MatrixColumn:
    """A column of B cells, each with one piece of its own or with none.

    Args:
        entry: the arrays `present` and `row_keys`, (B + 1,) each; the last cell is missing.
    """

    multiple = False

    def __init__(self, entry: Entry) -> None:
        self.present, self.row_keys = entry.array("present"), entry.array("row_keys")
        self.keys = self.row_keys

    def __len__(self) -> int:
        return len(self.row_keys) - 1

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
        """The number of pieces of each of the cells `rows` (n,), their numbers, and the keys of the cells."""
        present = self.present[rows]
        return present.astype(np.int64), rows[present], self.row_keys[rows]


class EncodedColumn:
    """A column of B cells whose pieces are among U distinct elements, each encoded once.

    Args:
        cells: the column by its distinct elements, or with an element for each cell (U = B + 1).
        encoding: the arrays `values` (V, ...), and `offsets` (U + 1,) where an element has several values; None if only
            the keys of the cells are needed.
    """

    def __init__(self, cells: Entry, encoding: Entry | None) -> None:
        self._cells, self._encoding = cells, encoding
        self._map()

    def _map(self) -> None:
        is_matrix = "present" in self._cells
        self._column: MatrixColumn | DistinctColumn = (MatrixColumn if is_matrix else DistinctColumn)(self._cells)
        self._values = None if self._encoding is None else self._encoding.array("values")
        has_offsets = self._encoding is not None and "offsets" in self._encoding
        self._offsets = self._encoding.array("offsets") if self._encoding and has_offsets else None

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Tensor) -> Ragged:
        """The rows of `index` (n,), in that order; row B is a missing cell."""
        counts, codes, row_keys = self._column.gather(index.numpy())
        keys = torch.from_numpy(row_keys)
        if self._values is None:
            return Ragged.keys_only(keys)
        offsets = None
        items = codes
        if self._offsets is not None:
            begins = torch.from_numpy(self._offsets[codes])
            sizes = torch.from_numpy(self._offsets[codes + 1]) - begins
            offsets = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
            items = ranges(begins, sizes).numpy()
        values = self._values[items]
        return Ragged(
            torch.from_numpy(values.astype(np.int64) if values.dtype == np.int32 else values),
            repeat_index(torch.from_numpy(counts)),
            keys,
            offsets,
            piece_keys=torch.from_numpy(self._column.keys[codes]) if self._column.multiple else None,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"_cells": self._cells, "_encoding": self._encoding}  # another process maps the same files

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()
