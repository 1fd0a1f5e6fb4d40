"""The results of a search."""

from __future__ import annotations

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
