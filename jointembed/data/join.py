"""Columns of a second table, looked up by a key: read and encoded once an item, however many rows refer to it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import values
from ..errors import UsageError, did_you_mean
from ..files import expand_user
from ..readers import Category, Reader
from ..readers.reader import check_ragged
from .rows import Rows, is_text_file

if TYPE_CHECKING:  # an index of a table needs no torch where its model is in ONNX
    from torch import Tensor

    from ..ragged import Ragged
    from .encoded_column import EncodedColumn

# N rows, I items

ItemNumbers = NDArray[np.int64]


class JoinedRows(Rows):
    """Rows that also have the columns of other tables, looked up by a key.

    Keys are compared as text, as ids are: 3.0 equals 3. A row whose key is not in the other table lacks its columns.
    The `id` of an item is not that of the row, and is left out.

    Args:
        rows: the table.
        join: for each key column of the table, the other table (see `Rows.open`), which has that column too. A path is
            relative to the folder of the table.
        types: the types of columns of .csv files; see `Rows.open`.
        encoding: of .csv files that are not in Unicode.

    Attributes:
        unmatched: a sentence for each key that some rows have and the other table has not.

    Raises:
        UsageError: a table or a column is missing, both tables have a further column, or a key is not unique.
    """

    def __init__(
        self,
        rows: Rows,
        join: Mapping[str, Any],
        types: Mapping[str, str] | None = None,
        encoding: str | None = None,
    ) -> None:
        super().__init__(rows._table, rows.root, rows.name, rows._contents)
        self.join, self.types, self.encoding = dict(join), dict(types or {}), encoding
        self.unmatched: list[str] = []
        self._items: dict[str, tuple[Rows, ItemNumbers]] = {}
        for key, table in join.items():
            items = _open_items(key, table, rows.root, self.types, encoding)
            for side in (rows, items):
                if key not in side.columns:
                    wrong = f"{side.name} has no such column (it has {', '.join(side.columns)})"
                    raise UsageError(f"data.join.{key}", wrong, did_you_mean(key, side.columns))
            added = [column for column in items.columns if column not in (key, "id")]
            for column in added:
                if column in self.columns:
                    wrong = f"the table and {items.name} both have a column {column}"
                    raise UsageError(f"data.join.{key}", wrong, f"rename {column} in one of them, or leave it out")
            self.columns += added
            numbers, keys_without_item = _look_up_items(key, self, items)
            self._items |= dict.fromkeys(added, (items, numbers))
            if count := sum(keys_without_item.values()):
                example = next(iter(keys_without_item))
                self.unmatched.append(
                    f"{count:,} of {len(self):,} rows of {self.name} have a {key} that {items.name} lacks, such as"
                    f" {example!r} ({len(keys_without_item):,} different ones)"
                )

    def cells(self, column: str, paths: bool = False) -> list[Any]:
        """The cells of a column; those of items are shared references. See `Rows.cells`."""
        if column not in self._items:
            return super().cells(column, paths)
        items, numbers = self._items[column]
        return _repeat_cells(items.cells(column, paths), numbers)

    def has_elements(self, column: str) -> bool:
        """Whether a column of the table itself can be split into elements; see `Rows.has_elements`."""
        return column not in self._items and super().has_elements(column)

    def with_split(self, group: str, split: str = "split") -> Rows:
        """The rows with a column `split`; `group` may be a column of the items. See `Rows.with_split`."""
        return JoinedRows(super().with_split(group, split), self.join, self.types, self.encoding)

    def source(self, columns: Collection[str]) -> tuple[Rows, ItemNumbers | None]:
        """The items with all of these columns, and the item of each row (N,), I for no item; else the rows and None."""
        sources = [self._items.get(column) for column in columns]
        first = sources[0]
        if first is not None and all(source is not None and source[0] is first[0] for source in sources):
            return first
        return self, None


class IndirectColumn:
    """An encoded column of items as a column of rows: a batch is gathered through the item of each row.

    Args:
        items: the encoded column of I items, followed by a missing cell.
        numbers: (N,) the item of each row, I for no item.
    """

    def __init__(self, items: Ragged | EncodedColumn, numbers: ItemNumbers) -> None:
        import torch

        self.items, self.numbers = items, torch.from_numpy(numbers)

    def __getitem__(self, index: Tensor) -> Ragged:
        """The rows of `index` (n,), in that order, as if their cells had been copied into the table."""
        import torch

        from ..ragged import take

        numbers = take(self.numbers, index)
        x = self.items[numbers]
        # Rows of one item share the key of its cell, but the key of a missing cell must be unique to its row.
        x.row_keys = torch.where(x.row_keys == -1 - numbers, -1 - index, x.row_keys)
        return x


def reader_cells(rows: Rows, column: str, reader: Reader) -> list[Any]:
    """The cells of a column as its reader takes them; those of items are shared references."""
    items, numbers = _find_source(rows, column, reader)
    if numbers is not None:
        return _repeat_cells(reader_cells(items, column, reader), numbers)
    if not reader.columns:
        return rows.cells(column, reader.reads_files)
    columns = [rows.cells(name) for name in reader.columns]
    dicts = (
        {name: cell for name, cell in zip(reader.columns, row, strict=True) if not values.missing(cell)}
        for row in zip(*columns, strict=True)
    )
    return [cell or None for cell in dicts]


def find_source(rows: Rows, columns: Collection[str]) -> tuple[Rows, ItemNumbers | None]:
    """The table with all of these columns, and the row in it of each row (N,); None where these are the same."""
    return rows.source(columns) if isinstance(rows, JoinedRows) else (rows, None)


def encode_column(
    rows: Rows, column: str, reader: Reader, encode: Callable[[list[Any]], Ragged]
) -> Ragged | IndirectColumn:
    """Encode the cells of a column with `encode`, those of items once an item."""
    items, numbers = _find_source(rows, column, reader)
    if numbers is None:
        return check_ragged(reader, encode(reader_cells(rows, column, reader)))
    return IndirectColumn(check_ragged(reader, encode([*reader_cells(items, column, reader), None])), numbers)


def _find_source(rows: Rows, column: str, reader: Reader) -> tuple[Rows, ItemNumbers | None]:
    return find_source(rows, reader.columns or [column])


def _repeat_cells(cells: list[Any], numbers: ItemNumbers) -> list[Any]:
    """The cell of each row's item (N,); None for a row without an item."""
    padded = [*cells, None]
    return [padded[number] for number in numbers.tolist()]


def resolve(table: str | Path, root: Path | None) -> Path:
    """The path of a joined table, which is relative to the folder of the table that it is joined to."""
    return (root or Path()) / expand_user(table)


def _open_items(key: str, table: Any, root: Path | None, types: Mapping[str, str], encoding: str | None) -> Rows:
    if not isinstance(table, str | Path):
        return Rows.open(table)
    path = resolve(table, root)
    if not path.exists():
        raise UsageError(f"data.join.{key}", f"the table {path} does not exist", "write it there, or correct the path")
    return Rows.open(path, types, encoding if is_text_file(path) else None)


def _look_up_items(key: str, rows: Rows, items: Rows) -> tuple[ItemNumbers, Counter[str]]:
    """The item of each row (N,), and how many rows have each key that has no item.

    The numbers are memory-mapped from a temporary file, so that they need no memory of the process.
    """
    number_of: dict[str, int] = {}
    number = 0
    for names, numbers in _read_keys(key, items):
        for name in [names[place] for place in numbers.tolist()]:
            first = number if name is None else number_of.setdefault(name, number)
            if first != number:
                wrong = f"{items.name} has {name} in rows {first + 1} and {number + 1}"
                raise UsageError(f"data.join.{key}", wrong, "keep one row for each key")
            number += 1
    absent, smallest = len(items), len(items)
    unmatched: Counter[str] = Counter()
    with tempfile.TemporaryFile() as file:
        for names, numbers in _read_keys(key, rows):
            places = [absent if name is None else number_of.get(name, absent) for name in names]
            smallest = min(smallest, *places)
            counts = np.bincount(numbers, minlength=len(names)).tolist()
            for name, place, count in zip(names, places, counts, strict=True):
                if name is not None and place == absent:
                    unmatched[name] += count
            np.array(places, np.int64)[numbers].tofile(file)
        if smallest == absent:
            wrong = f"{items.name} has none of the keys of {rows.name}"
            raise UsageError(f"data.join.{key}", wrong, "join the table that has these keys")
        file.flush()
        # Copy on write, because torch refuses read-only arrays; nothing writes to it.
        return np.memmap(file, np.int64, "c"), unmatched


def _read_keys(key: str, rows: Rows) -> Iterator[tuple[list[str | None], ItemNumbers]]:
    """The distinct keys of each batch of rows, None for a missing one, and the number of each row's among them."""
    for cells, numbers in rows.distinct_batches(key):
        names: list[str | None] = []
        for place, cell in enumerate(cells, 1):
            if isinstance(cell, list | tuple | dict | np.ndarray):
                wrong = f"row {place} of {rows.name} has several values in this column"
                raise UsageError(f"data.join.{key}", wrong, "join by a column with one id in each cell")
            names.append(None if values.missing(cell) else Category.name(cell))
        yield names, numbers
