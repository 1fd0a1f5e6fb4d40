"""The rows that decide which candidates are relevant for the queries of the `dev` rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..space.space import Space
from .table import TableData

# N rows

Numbers = NDArray[np.int64]

ROWS_IN_BLOCK = 1 << 17  # whose keys are compared at once


def retrieval_rows(
    data: TableData, space: Space, query: str, target: str, relevant: str | None, exclude: str | None, pool: str | None
) -> list[dict[str, Any]]:
    """The `dev` rows and those of the candidates; without labels, also the training rows that pair such cells.

    Whether a training row does is decided by the keys of its cells, so that no other one becomes a dict; where a column
    has none, all of them do. The table may also hold whole cells of a column that is made of others, as dicts.

    Args:
        data: the table.
        space: that has the columns of the queries and of the candidates.
        query: column of the queries.
        target: column of the candidates.
        relevant: column of the labels.
        exclude: column of items that are not candidates for a row.
        pool: split of the candidates; that of the queries if None.

    Returns:
        Rows with `split` and the columns that are named here, or that these are made of. The first has all of them, as
        None where its cell is missing.

    Raises:
        UsageError: the table or the space lacks a column.
    """
    parts = {column: space.input_columns(column) for column in (query, target)}
    columns = [*parts[query], *parts[target], *(name for name in (relevant, exclude) if name is not None)]
    data.check_columns(columns)
    composed = {column for column in parts if column in data.open().columns and parts[column] != [column]}
    columns += composed
    dev = data.numbers("dev")
    candidates = dev if pool is None else data.numbers(*(("train", "dev") if pool == "all" else (pool,)))
    numbers = np.union1d(dev, candidates)
    if relevant is None:
        train = np.setdiff1d(data.numbers("train"), numbers)
        for column, partners in ((query, dev), (target, candidates)):
            if column in composed:
                continue
            whole = column == exclude or column in space.pools or len(parts[column]) > 1
            train = train[_may_equal(data, parts[column], whole, train, partners)]
        numbers = np.union1d(numbers, train)
    rows = data.dicts_at(numbers, dict.fromkeys(columns))
    for row, split in zip(rows, data.splits(numbers), strict=True):
        row["split"] = split
    if rows:
        rows[0] = dict.fromkeys(columns) | rows[0]
    return rows


def _may_equal(
    data: TableData, columns: Collection[str], whole: bool, rows: Numbers, partners: Numbers
) -> NDArray[np.bool_]:
    """Whether each of the rows (N,) may have a cell, made of some columns, that one of the `partners` has too."""
    possible = np.ones(len(rows), bool)
    for column in columns:
        if (keyed := data.keys_at(column, partners, whole)) is None:
            continue
        keys_of_partners = np.unique(keyed[1])
        for first in range(0, len(rows), ROWS_IN_BLOCK):
            block = rows[first : first + ROWS_IN_BLOCK]
            places, keys = data.keys_at(column, block, whole) or keyed
            equal = np.full(len(block), len(columns) > 1)  # one part of several may be missing on both sides
            equal[places] = False
            equal[places[np.isin(keys, keys_of_partners)]] = True
            possible[first : first + ROWS_IN_BLOCK] &= equal
    return possible
