"""The results of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hit:
    """A row that a search found.

    Args:
        id: its id.
        score: the higher, the nearer: the cosine, the product, or minus the squared Euclidean distance.
        row: its cells, `id` among them.
        duplicates: ids of its near-duplicates, if these were searched for as one.
    """

    id: str
    score: float
    row: dict[str, Any]
    duplicates: tuple[str, ...] = ()


def describe_text_search(reason: str, hits: Sequence[Hit]) -> str:
    """Why words were looked for in the columns, and whether they are there."""
    return f"{reason}; {'these items contain the words' if hits else 'no item contains the words'}"
