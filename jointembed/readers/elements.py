"""Readers that treat equal elements alike, so that a column is fitted and encoded by its distinct elements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from .. import values
from .reader import TokenReader


class ElementReader(TokenReader):
    """A token reader that learns from the counts of elements, and gives equal elements equal tokens.

    A column of an Arrow table is then read without an object for each cell: its distinct elements are fitted and
    encoded once. A subclass that changes how cells are read (`fit`, `elements`, `keys`, `encode`) but not the
    counterpart here is read cell by cell. The `state` must be the same after a conversion to JSON and back.
    """

    splits_numbers: ClassVar[bool] = False  # each number of a list is an element, and not the list of them

    @abstractmethod
    def fit_counts(self, elements: Iterable[Any], counts: Iterable[int]) -> None:
        """Learn from elements of the training cells, in any order, and how often each occurs there."""

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn from the training cells, including missing ones."""
        elements = [element for cell in cells if not values.missing(cell) for element in self.elements(cell)]
        self.fit_counts(elements, [1] * len(elements))

    def tokens(self, elements: Sequence[Any]) -> tuple[list[int], list[int] | None]:
        """The tokens of all elements, and the number of each element's; None if each is one token without offsets."""
        ids = [self.token_ids(element) for element in elements]
        return [token for part in ids for token in part], [len(part) for part in ids]

    def reads_elements(self) -> bool:
        """Whether `fit_counts` and `tokens` give what `fit` and `encode` give; see `ElementReader`."""
        bases = type(self).__mro__
        place = {name: number for number, base in reversed([*enumerate(bases)]) for name in vars(base)}
        own = place["tokens"] == bases.index(ElementReader) or place["tokens"] <= place["token_ids"]
        cells = all(place["splits_numbers"] <= place[name] for name in ("elements", "keys", "encode"))
        return own and cells and place["fit_counts"] <= place["fit"]
