"""What every reader is, and what those have in common that look things up in what they know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import values as table_cells
from ..config import Configurable, to_config
from ..ragged import Ragged

Array = NDArray[Any]
Load = Callable[["Reader", Any], Array]


def spread(count: int, most: int | None) -> list[int]:
    """The numbers of at most `most` of `count` windows: the middle ones of as many equal stretches."""
    if most is None or count <= most:
        return list(range(count))
    return [(2 * number + 1) * count // (2 * most) for number in range(most)]


class Reader(Configurable, ABC):
    """Turns a cell into an array, an array into pieces, and a column into a `Ragged`.

    A reader of one's own needs `load` alone. `fit` learns from the training cells what the reader must know (words,
    ids, means); `state` and `restore` carry that in the checkpoint as plain data.
    """

    columns: tuple[str, ...] = ()  # the columns that it reads from a row; empty: just the one it is given
    front: nn.Module | None = None  # a network without parameters that `load` ends with
    files: ClassVar[bool] = False  # a text cell is a path, relative to the folder of the table
    parts: ClassVar[bool] = False  # the pieces of a cell are parts of one thing, like the windows of a song
    slow: ClassVar[bool] = False  # `load` is worth keeping on the disk, and `augment` changes what it gives
    size: int = 0  # how many things it knows; the unknown one has the number `size`

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn from the training cells; cells may be missing."""

    def state(self) -> dict[str, Any]:
        """What `fit` learned, as plain data."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def recipe(self) -> dict[str, Any]:
        """What decides `load`, as plain data: arrays on the disk are kept apart by it."""
        described: dict[str, Any] = to_config(self)
        return described

    @abstractmethod
    def load(self, cell: Any) -> Array:
        """One thing of a cell -> an array, always the same: the only step that is kept on the disk."""

    def augment(self, array: Array, rng: np.random.Generator) -> Array:
        """Change a loaded array at random; in training only."""
        return array

    def pieces(self, array: Array) -> list[Array]:
        """Cut a loaded array into pieces, each of which gets a vector."""
        return [array]

    def windows(self, cell: Any, most: int | None = None) -> list[Array]:
        """The pieces of one thing of a cell, at most so many of them, spread evenly over it; never changed at random.

        They are the bits that `pieces(load(cell))` gives, whichever of them are asked for.
        """
        cut = self.pieces(self.load(cell))
        return [cut[number] for number in spread(len(cut), most)]

    def elements(self, cell: Any) -> list[Any]:
        """The things of a cell that are loaded one by one: the items of a list, or the cell itself."""
        return table_cells.explode(cell)

    def keys(self, cells: Sequence[Any]) -> Array:
        """A key a cell (B,): equal cells have equal ones, and a missing cell has one of its own."""
        return np.fromiter(
            (-1 - row if table_cells.missing(cell) else table_cells.key(cell) for row, cell in enumerate(cells)),
            np.int64,
            len(cells),
        )

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        load: Load | None = None,
    ) -> Ragged:
        """A column of cells -> its Ragged.

        Args:
            cells: B cells, some of which may be missing.
            rng: the source of chance for `augment`; None: nothing is changed.
            load: what loads an element instead of `load`, such as a store of loaded arrays.
        """
        values: list[Array] = []
        rows: list[int] = []
        marks: list[int] = []
        several = False
        for row, cell in enumerate(cells):
            elements = [] if table_cells.missing(cell) else self.elements(cell)
            several |= len(elements) > 1
            for element in elements:
                array = load(self, element) if load else self.load(element)
                cut = self.pieces(array if rng is None else self.augment(array, rng))
                values += cut
                rows += [row] * len(cut)
                marks += [] if self.parts else [table_cells.key(element)] * len(cut)
        keys = self.keys(cells)
        stacked = np.stack(values) if values else np.zeros((0, *self.shape), np.float32)
        return Ragged(
            torch.from_numpy(np.ascontiguousarray(stacked)),
            torch.tensor(rows, dtype=torch.int64),
            torch.from_numpy(keys),
            piece_keys=torch.tensor(marks, dtype=torch.int64) if several and not self.parts else None,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one piece, which a column without any piece still needs."""
        return ()


class Lookup(Reader):
    """A reader of things that are looked up in what it knows; it encodes a whole column at once."""

    @abstractmethod
    def numbers(self, element: Any) -> Sequence[int]:
        """The numbers of the things inside one element."""

    def load(self, cell: Any) -> Array:
        """The numbers of the things inside one element (V,)."""
        return np.asarray(self.numbers(cell), np.int64)

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        load: Load | None = None,
    ) -> Ragged:
        """A column of cells -> its Ragged, without a tensor a cell; see `Reader.encode`."""
        keys = self.keys(cells)
        counts: list[int] = []
        marks: list[int] = []
        sizes: list[int] = []
        values: list[int] = []
        known: dict[Any, tuple[int, Sequence[int]]] = {}
        for cell in cells:
            elements = [] if table_cells.missing(cell) else self.elements(cell)
            counts.append(len(elements))
            for element in elements:
                kept = known.get(element) if isinstance(element, str | int) else None
                if kept is None:
                    kept = table_cells.key(element), self.numbers(element)
                    if isinstance(element, str | int):
                        known[element] = kept
                marks.append(kept[0])
                sizes.append(len(kept[1]))
                values.extend(kept[1])
        return Ragged(
            torch.tensor(values, dtype=torch.int64),
            torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64)),
            torch.from_numpy(keys),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(sizes, dtype=torch.int64).cumsum(0)]),
            piece_keys=torch.tensor(marks, dtype=torch.int64) if max(counts, default=0) > 1 else None,
        )
