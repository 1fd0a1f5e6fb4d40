"""Ids and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import values as table_cells
from ..errors import UsageError
from ..ragged import Ragged
from .reader import Load, Lookup


class Category(Lookup):
    """Ids and labels: text or numbers, each of which gets a vector of its own. A cell may be a list of them.

    Args:
        min_count: ids that the training rows hold fewer times than this are unknown.

    >>> reader = Category()
    >>> reader.fit(["jazz", "waltz", "jazz", None])
    >>> reader.known, reader.encode(["waltz", "polka", None]).values.tolist()
    (['jazz', 'waltz'], [1, 2])
    """

    def __init__(self, min_count: int = 1) -> None:
        self.min_count = min_count
        self.known: list[str] = []
        self.counts: list[int] = []
        self._number: dict[str, int] = {}

    def elements(self, cell: Any) -> list[Any]:
        """The ids of a cell: each item of a list, also of numbers."""
        if isinstance(cell, np.ndarray):
            cell = cell.tolist()
        return list(cell) if isinstance(cell, list | tuple) else [cell]

    @staticmethod
    def name(element: Any) -> str:
        """An id as text: ids are compared as they are written, and 3.0 is 3.

        Raises:
            UsageError: the element is neither text nor a number.
        """
        if isinstance(element, str):
            return element
        if isinstance(element, float | np.floating) and float(element).is_integer():
            return str(int(element))
        if isinstance(element, bool | int | float | np.integer | np.floating):
            return str(element)
        raise UsageError("id", f"{type(element).__name__} is no id", "give text or a number, or a list of them")

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the ids of the training cells and how often each occurs."""
        counts = Counter(
            self.name(element) for cell in cells if not table_cells.missing(cell) for element in self.elements(cell)
        )
        kept = sorted(name for name, count in counts.items() if count >= self.min_count)
        self.restore({"known": kept, "counts": [counts[name] for name in kept]})

    def state(self) -> dict[str, Any]:
        """The known ids and how often each occurred."""
        return {"known": self.known, "counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.known, self.counts = list(state["known"]), list(state["counts"])
        self._number = {name: number for number, name in enumerate(self.known)}
        self.size = len(self.known)

    def __contains__(self, name: str) -> bool:
        return name in self._number

    def numbers(self, element: Any) -> Sequence[int]:
        """The number of one id, or `size` if it is unknown."""
        return (self._number.get(self.name(element), self.size),)

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        load: Load | None = None,
    ) -> Ragged:
        """A column of cells -> its Ragged of ids, one a piece: values (P,)."""
        x = super().encode(cells, rng, load)
        return Ragged(x.values, x.rows, x.row_keys, piece_keys=x.piece_keys)
