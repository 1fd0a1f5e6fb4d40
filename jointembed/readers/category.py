"""Ids and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import values
from ..arguments import Count
from ..errors import UsageError
from .elements import ElementReader
from .examples import make_ids
from .reader import Array, Preprocess, stack_tokens

if TYPE_CHECKING:
    from ..ragged import Ragged


class Category(ElementReader):
    """Ids and labels, each with a vector of its own. A cell is text or a number, or a list of them.

    Args:
        min_count: ids that occur fewer times than this in the training rows are unknown.

    >>> reader = Category()
    >>> reader.fit(["jazz", "waltz", "jazz", None])
    >>> reader.vocabulary(), reader.encode(["waltz", "polka", None]).values.tolist()
    (['jazz', 'waltz'], [1, 2])
    """

    splits_numbers = tokens_are_pieces = True

    def __init__(self, min_count: Count = 1) -> None:
        self.min_count = min_count
        self.restore({"ids": [], "counts": []})

    def elements(self, cell: Any) -> list[Any]:
        """The ids of a cell: each item of a list that is not missing, numbers included."""
        return values.items(cell)

    @staticmethod
    def name(element: Any) -> str:
        """An id as text. Ids are compared as text, and 3.0 equals 3.

        Raises:
            UsageError: the element is neither text nor a number.
        """
        if isinstance(element, str):
            return element
        if isinstance(element, float | np.floating) and float(element).is_integer():
            return str(int(element))
        if isinstance(element, bool | int | float | np.integer | np.floating):
            return str(element)
        wrong = f"an id must be text or a number, got {type(element).__name__}"
        raise UsageError("id", wrong, "give text or a number, or a list of them")

    def _names(self, elements: Iterable[Any]) -> list[str]:
        # A call for each of a million ids would take longer than all the rest.
        return [
            element if (kind := type(element)) is str else str(element) if kind is int else self.name(element)
            for element in elements
        ]

    def fit_counts(self, elements: Iterable[Any], counts: Iterable[int]) -> None:
        """Learn the ids of the training cells and how often each occurs."""
        total: Counter[str] = Counter()
        for name, count in zip(self._names(elements), counts, strict=True):
            total[name] += count
        ids = sorted(name for name, count in total.items() if count >= self.min_count)
        self.restore({"ids": ids, "counts": [total[name] for name in ids]})

    def state(self) -> dict[str, Any]:
        """The ids and how often each occurred."""
        return {"ids": self._ids, "counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the ids and their counts."""
        self._ids, self.counts = list(state["ids"]), list(state["counts"])
        self.size = len(self._ids)
        self.__dict__.pop("_number", None)

    @cached_property
    def _number(self) -> dict[str, int]:
        """The number of each id, made when a cell is read: a large table that is encoded already starts without."""
        return {name: number for number, name in enumerate(self._ids)}

    def vocabulary(self) -> list[str]:
        """The ids of the training rows, sorted."""
        return self._ids

    def parse(self, query: str) -> Any:
        """The id that a query is, or the ids of a JSON list."""
        try:
            return values.parse_cell(query)
        except UsageError:  # an id may begin with [ or {
            return query

    def example_cells(self) -> list[Any]:
        """See `Reader.example_cells`: ids, a list of them, and an unknown id."""
        return make_ids(self._ids)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: the ids of a list in one row, or each as a piece."""
        ids = np.array(self.tokens(self.elements(cell))[0], np.int64)
        return stack_tokens(list(ids[:, None]), in_pieces) if in_pieces else stack_tokens([ids])

    def unknown(self, cell: Any) -> list[str]:
        """The ids of a cell that did not occur in the training rows."""
        names = [self.name(element) for element in self.elements(cell)]
        return [name for name in names if name not in self._number]

    def token_ids(self, element: Any) -> Sequence[int]:
        """The number of one id, or `size` if it is unknown."""
        return (self._number.get(self.name(element), self.size),)

    def tokens(self, elements: Sequence[Any]) -> tuple[list[int], None]:
        """The numbers of ids; see `token_ids`."""
        return [self._number.get(name, self.size) for name in self._names(elements)], None

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        preprocess: Preprocess | None = None,
    ) -> Ragged:
        """A column of cells as a `Ragged` with one id per piece: values (P,)."""
        from ..ragged import Ragged

        x = super().encode(cells, rng, preprocess)
        return Ragged(x.values, x.rows, x.row_keys, piece_keys=x.piece_keys)
