"""Readers of numbers that are fitted and encoded by a matrix, with a row for each cell."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from .reader import Array, Reader

# N cells, C numbers in each

Numbers = NDArray[np.float64]


class MatrixReader(Reader):
    """A reader of C numbers a cell, of columns of numbers that are read without an object for each cell.

    Missing and unusable numbers are NaN. A subclass that changes how cells are read (`fit`, `elements`, `keys`,
    `preprocess`, `encode`) but not the counterpart here is read cell by cell.
    """

    @abstractmethod
    def fit_matrix(self, numbers: Numbers) -> None:
        """Learn from the numbers (N, C) of the training cells that are not missing."""

    @abstractmethod
    def encode_matrix(self, numbers: Numbers) -> tuple[Array, Array | None]:
        """The pieces of cells (N, C): (N, ...); or all their tokens (V,), and how many each has (N,)."""

    def has_piece(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Whether each of the cells (N, C), which are not missing, has a piece (N,)."""
        return np.ones(len(numbers), bool)

    def reads_matrix(self) -> bool:
        """Whether `fit_matrix` and `encode_matrix` give what `fit` and `encode` give; see `MatrixReader`."""
        bases = type(self).__mro__
        place = {name: number for number, base in reversed([*enumerate(bases)]) for name in vars(base)}
        names = ("elements", "keys", "preprocess", "encode", "token_ids", "numbers", "cells")
        pieces = all(place["encode_matrix"] <= place[name] for name in names if name in place)
        return pieces and place["fit_matrix"] <= place["fit"]
