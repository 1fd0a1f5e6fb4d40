"""The items of an index that an analysis works on: their ids, their vectors, and what their metadata say.

Letters: N items, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..display import displayable_cells
from ..errors import UsageError
from .backends.connection import rebuild_command
from .index import Index
from .where import no_match

_BLOCK_ROWS = 4_096


@dataclass(frozen=True)
class SelectedItems:
    """Items in row order.

    Args:
        ids: N ids.
        vectors: (N, D) float32, as the index has them.
        rows: N rows; see `displayable_cells`.
        available: the number of items that were selected from.
    """

    ids: list[str]
    vectors: npt.NDArray[np.float32]
    rows: list[dict[str, Any]]
    available: int


def select(index: Index, field: str | None = None, where: str | None = None, limit: int | None = None) -> SelectedItems:
    """The items that have a vector in a field, the first one if None, and meet a condition.

    Args:
        index: the index.
        field: the vector field.
        where: see `where.py`.
        limit: of more items, a seeded random sample is taken.

    Raises:
        UsageError: there is no such field, or no item meets the condition.
    """
    with index.reading() as snapshot:
        ids, vectors = index.vectors(field)
        allowed = snapshot.allowed(where, field)
        positions = np.arange(len(ids)) if allowed is None else allowed
        available = len(positions)
        if not available:
            fix = f"fill it with: {rebuild_command(index.path)}"
            raise UsageError(index.path, "this index is empty", fix) if where is None else no_match(where)
        if limit is not None and available > limit:
            positions = np.sort(np.random.default_rng(0).choice(positions, limit, replace=False))
        if len(positions) < len(ids):
            ids, vectors = [ids[position] for position in positions.tolist()], vectors[positions]
        return SelectedItems(ids, vectors, [displayable_cells(row) for row in iter_rows(index, ids)], available)


def require_match(index: Index, where: str | None) -> None:
    """Raise UsageError if no row meets a condition."""
    if where is not None:
        with index.reading() as snapshot:
            if not len(snapshot.matching_keys(where)):
                raise no_match(where)


def iter_rows(index: Index, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of some ids in their order, with all of their cells."""
    with index.reading() as snapshot:
        keys = [snapshot.key(id) for id in ids]
        for start in range(0, len(keys), _BLOCK_ROWS):
            yield from snapshot.rows(keys[start : start + _BLOCK_ROWS])
