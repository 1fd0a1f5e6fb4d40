"""Columns of a second table, looked up by a key: read and encoded once an item, however many rows name it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import values as table_cells
from ..errors import UsageError, did_you_mean
from ..ragged import Ragged, take
from ..readers import Category, Reader
from .rows import Rows

# N rows, I items

Places = NDArray[np.int64]


class Joined(Rows):
    """Rows that also have the columns of other tables: those of the item that their key names.

    Keys are compared as ids are, as they are written: 3.0 is 3. A row whose key the other table lacks has none of its
    columns.

    Args:
        rows: the table.
        join: columns of the table, and for each the other table (see `Rows.open`), which has that column too. A path
            is relative to the folder of the table.

    Raises:
        UsageError: a table or a column is not there, both have a further column, or a key stands twice.
    """

    def __init__(self, rows: Rows, join: Mapping[str, Any]) -> None:
        super().__init__(rows._table, rows.root, rows.name)
        self.join = dict(join)
        self._items: dict[str, tuple[Rows, Places]] = {}
        for key, table in join.items():
            items = _opened(key, table, rows.root)
            for one in (rows, items):
                if key not in one.columns:
                    wrong = f"{one.name} has no such column (it has {', '.join(one.columns)})"
                    raise UsageError(f"data.join.{key}", wrong, did_you_mean(key, one.columns))
            added = [column for column in items.columns if column != key]
            for column in added:
                if column in self.columns:
                    wrong = f"the table and {items.name} both have a column {column}"
                    raise UsageError(f"data.join.{key}", wrong, f"rename {column} in one of them, or leave it out")
            self.columns += added
            self._items |= dict.fromkeys(added, (items, _places(key, self, items)))

    def cells(self, column: str, paths: bool = False) -> list[Any]:
        """The cells of a column, those of items by reference; see `Rows.cells`."""
        if column not in self._items:
            return super().cells(column, paths)
        items, places = self._items[column]
        return _spread(items.cells(column, paths), places)

    def divided(self, group: str, split: str = "split") -> Rows:
        """The rows with a column `split` of their own; `group` may be a column of the items. See `Rows.divided`."""
        return Joined(super().divided(group, split), self.join)

    def source(self, columns: Collection[str]) -> tuple[Rows, Places | None]:
        """The items that hold all of these columns and the item of each row (N,), I for none; else the rows, None."""
        held = [self._items.get(column) for column in columns]
        first = held[0]
        if first is not None and all(one is not None and one[0] is first[0] for one in held):
            return first
        return self, None


class Looked:
    """An encoded column of items as a column of rows: a batch of it is gathered through the item of each row.

    Args:
        items: the encoded column of I items, and of one missing cell after them.
        places: (N,) the item of each row, I for none.
    """

    def __init__(self, items: Ragged, places: Places) -> None:
        self.items, self.places = items, torch.from_numpy(places)

    def __getitem__(self, index: Tensor) -> Ragged:
        """The rows of `index` (n,), in that order, as if the cells had been copied to them."""
        places = take(self.places, index)
        x = self.items[places]
        # Rows of one item share the key of its cell; but a missing cell equals no other, so its key is the row's own.
        x.row_keys = torch.where(x.row_keys == -1 - places, -1 - index, x.row_keys)
        return x


def taken(rows: Rows, column: str, reader: Reader) -> list[Any]:
    """The cells that a reader takes for a column; those of items by reference."""
    items, places = _source(rows, column, reader)
    if places is not None:
        return _spread(taken(items, column, reader), places)
    if not reader.columns:
        return rows.cells(column, reader.reads_files)
    parts = [rows.cells(name) for name in reader.columns]
    made = (
        {name: cell for name, cell in zip(reader.columns, row, strict=True) if not table_cells.missing(cell)}
        for row in zip(*parts, strict=True)
    )
    return [cell or None for cell in made]


def encoded(rows: Rows, column: str, reader: Reader, encode: Callable[[list[Any]], Ragged]) -> Ragged | Looked:
    """What `encode` makes of the cells of a column, of those of items once an item."""
    items, places = _source(rows, column, reader)
    if places is None:
        return encode(taken(rows, column, reader))
    return Looked(encode([*taken(items, column, reader), None]), places)


def remembered(rows: Rows, join: Mapping[str, str]) -> Rows:
    """The rows joined as they were for the training of a model, where they have the keys; never with themselves."""
    kept = {
        key: table
        for key, table in join.items()
        if key in rows.columns and _beside(table, rows.root).absolute() != Path(rows.name).absolute()
    }
    return Joined(rows, kept) if kept else rows


def _source(rows: Rows, column: str, reader: Reader) -> tuple[Rows, Places | None]:
    return rows.source(reader.columns or [column]) if isinstance(rows, Joined) else (rows, None)


def _spread(cells: list[Any], places: Places) -> list[Any]:
    """The cell of each row's item (N,), None where it has none."""
    whole = [*cells, None]
    return [whole[place] for place in places.tolist()]


def _beside(table: str | Path, root: Path | None) -> Path:
    return (root or Path()) / Path(table).expanduser()


def _opened(key: str, table: Any, root: Path | None) -> Rows:
    if not isinstance(table, str | Path):
        return Rows.open(table)
    path = _beside(table, root)
    if not path.exists():
        raise UsageError(f"data.join.{key}", f"there is no table {path}", "write it there, or correct the path")
    return Rows.open(path)


def _places(key: str, rows: Rows, items: Rows) -> Places:
    """The item of each row, (N,): in a file that is mapped, so that it takes none of the process's own memory."""
    known: dict[str, int] = {}
    for place, name in enumerate(_names(key, items)):
        first = place if name is None else known.setdefault(name, place)
        if first != place:
            wrong = f"{items.name} has {name} in rows {first + 1} and {place + 1}"
            raise UsageError(f"data.join.{key}", wrong, "keep one row for each key")
    none = len(items)
    places = np.fromiter((none if one is None else known.get(one, none) for one in _names(key, rows)), np.int64)
    if places.min() == none:
        wrong = f"{items.name} holds none of the keys of {rows.name}"
        raise UsageError(f"data.join.{key}", wrong, "join the table whose keys these are")
    with tempfile.TemporaryFile() as file:
        places.tofile(file)
        return np.memmap(file, np.int64, "c")  # copied where written to, which torch insists on and nobody does


def _names(key: str, rows: Rows) -> Iterator[str | None]:
    for number, cell in enumerate(rows.cells(key), 1):
        if isinstance(cell, list | tuple | dict | np.ndarray):
            raise UsageError(
                f"data.join.{key}", f"row {number} of {rows.name} holds several", "join by a column of one id"
            )
        yield None if table_cells.missing(cell) else Category.name(cell)
