"""The items of an index that something is made of: their ids, their vectors, and what their cells say.

Letters: N items, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .backends.connection import mend
from .backends.rows import fetch
from .index import Index
from .where import parse, unmet

LONGEST = 500  # characters of a text that are kept, so that a hundred thousand rows fit in memory
HUGE = 1e100  # numbers from here on, whose squares may be no floats, are left out
_BLOCK = 4_096


@dataclass(frozen=True)
class Items:
    """Items in the order of the index.

    Args:
        ids: N ids.
        vectors: (N, D) float32, as the index has them.
        rows: N rows; see `described`.
        total: how many there were to choose from.
    """

    ids: list[str]
    vectors: npt.NDArray[np.float32]
    rows: list[dict[str, Any]]
    total: int


def items(index: Index, field: str | None = None, where: str | None = None, most: int | None = None) -> Items:
    """The items that have a vector in a field, the first one indexed by default, and meet a condition.

    Args:
        index: the index.
        field: of the vectors.
        where: see `where.py`.
        most: of more than so many a seeded random choice.

    Raises:
        UsageError: there is no such field or condition, or nothing meets it.
    """
    with index.reading():
        ids, vectors = index.vectors(field)
        pool = index.positions(where, field)
        places = np.arange(len(ids)) if pool is None else pool
        total = len(places)
        if not total:
            empty = UsageError(index.path, "this index is empty", f"fill it with: {mend(index.path)}")
            raise empty if where is None else unmet(where)
        if most is not None and total > most:
            places = np.sort(np.random.default_rng(0).choice(places, most, replace=False))
        if len(places) < len(ids):
            ids, vectors = [ids[place] for place in places.tolist()], vectors[places]
        return Items(ids, vectors, [described(row) for row in read(index, ids)], total)


def require(index: Index, where: str | None) -> None:
    """Raise UsageError unless some row meets a condition, if there is one."""
    if where is not None:
        with index.reading() as db:
            clause, values = parse(where, index.columns).sql()
            if not db.execute(f"SELECT 1 FROM rows WHERE {clause} LIMIT 1", values).fetchall():
                raise unmet(where)


def read(index: Index, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of ids in their order, each with its `id` and all of its cells."""
    with index.reading() as db:
        numbers: dict[str, int] = dict(db.execute("SELECT id, number FROM rows"))
        for at in range(0, len(ids), _BLOCK):
            yield from fetch(db, [numbers[id] for id in ids[at : at + _BLOCK]])


def described(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row, but its id, that are numbers, truth values, texts (their beginnings) or lists of texts."""
    kept = {name: _short(cell) for name, cell in row.items() if name != "id"}
    return {name: cell for name, cell in kept.items() if cell is not None and cell != []}


def _short(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell[:LONGEST]
    if isinstance(cell, list):
        return [one[:LONGEST] for one in cell[:100]] if all(isinstance(one, str) for one in cell) else None
    return cell if isinstance(cell, bool | int | float) and abs(cell) < HUGE else None
