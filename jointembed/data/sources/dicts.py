"""Rows as dicts: a list in memory, or whatever yields them one after the other, which is written to disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...errors import UsageError
from ...values import to_plain
from ..contents import ContentFolder
from ..table_file import ParquetTable, open_table

ROWS = "rows.jsonl"


def is_iterable_of_rows(table: object) -> bool:
    """Whether an object may yield rows: a generator, an iterator, a dataset of torch; not a list or a text."""
    if isinstance(table, str | bytes | list | tuple | dict):
        return False
    return isinstance(table, Iterable) or all(hasattr(type(table), name) for name in ("__len__", "__getitem__"))


def write_rows(table: Any, contents: ContentFolder) -> ParquetTable:
    """The rows that an object yields, on disk, so that they need no memory; sounds and images become files.

    Args:
        table: yields dicts.
        contents: gets the rows and the files.

    Raises:
        UsageError: an item is not a dict with text as keys, or a cell is of another type than `Rows` takes.
    """
    path = contents.folder / ROWS
    with open(path, "w", encoding="utf-8") as file:
        for number, row in enumerate(_items(table)):
            if not isinstance(row, dict) or not all(isinstance(name, str) for name in row):
                wrong = f"item {number} is not a dict of columns but a {type(row).__name__}"
                raise UsageError("table", wrong, 'yield rows like {"id": "a", "text": "..."}')
            file.write(json.dumps({name: contents.replace(cell) for name, cell in row.items()}, default=_plain) + "\n")
    return open_table(path)


def _items(table: Any) -> Iterator[Any]:
    if isinstance(table, Iterable):
        yield from table
    else:
        yield from (table[number] for number in range(len(table)))


def _plain(cell: Any) -> Any:
    """What JSON has for a cell that it does not know."""
    plain = to_plain(cell)
    if isinstance(plain, np.ndarray | np.generic):
        return plain.tolist()
    if plain is cell:
        if hasattr(cell, "isoformat"):
            return cell.isoformat()
        wrong = f"a cell is a {type(cell).__name__}, which no column can hold"
        raise UsageError("table", wrong, "give text, numbers, lists, arrays, images or sounds")
    return plain
