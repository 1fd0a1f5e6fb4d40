"""The rows of a table: of a file, of a table of another library, or of dicts."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import values
from ..errors import UsageError, did_you_mean
from ..files import expand_user, make_dir, text_to_path
from ..recipe_tools import hash_fraction
from .arrow_cells import (
    field_kind,
    has_contents,
    has_elements,
    is_list,
    is_number,
    split_cells,
    to_objects,
)  # fmt: skip
from .cache_folder import CONTENTS, cache_folder
from .contents import ContentFolder
from .sources.arrow import is_dataset, is_splits, read_arrow, read_dataset
from .sources.dicts import is_iterable_of_rows, write_rows
from .sources.webdataset import find_shards, open_shards
from .table_file import TEXT_SUFFIXES, ParquetTable, open_table

SUFFIXES = (".parquet", ".jsonl", *TEXT_SUFFIXES)


def is_table(table: Any) -> bool:
    """Whether an object in memory has named columns: a DataFrame, an Arrow table, a dict of columns."""
    # Asked of the class: a lazy table would compute its columns.
    return isinstance(table, Mapping) or any(
        hasattr(type(table), name) for name in ("columns", "column_names", "schema")
    )


def is_text_file(table: Any) -> bool:
    """Whether a table is a .csv or .tsv file, or a folder of one."""
    if not isinstance(table, str | Path):
        return False
    path = expand_user(table)
    return next(iter(_tables_in(path)), path).suffix.lower() in TEXT_SUFFIXES


def _tables_in(folder: Path) -> list[Path]:
    return [folder / f"rows{suffix}" for suffix in SUFFIXES if (folder / f"rows{suffix}").is_file()]


class Rows:
    """The rows of a table, by row number and column.

    Args:
        table: a `ParquetTable`, a pyarrow Table, or a dict of columns as lists.
        root: the folder that paths in cells are relative to; None for a table that does not come from a file.
        name: the name of the table in messages.
        contents: the files that cells name, if they are removed with the table.
    """

    def __init__(
        self, table: Any, root: Path | None = None, name: str = "table", contents: ContentFolder | None = None
    ) -> None:
        self._table, self.root, self.name, self._contents = table, root, name, contents
        self.columns = list(table) if isinstance(table, dict) else list(table.column_names)
        self._length = len(next(iter(table.values()), ())) if isinstance(table, dict) else table.num_rows
        if not self._length or not self.columns:
            raise UsageError(name, "the table has no rows", "give a table with at least one row")
        self._cells: dict[tuple[str, bool], list[Any]] = {}
        self._labels: dict[str, tuple[list[str], NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return self._length

    @classmethod
    def open(cls, table: Any, types: Mapping[str, str] | None = None, encoding: str | None = None) -> Rows:
        """The rows of a file, of a folder with `rows.*`, of a table of another library, or of dicts.

        Args:
            table: a path, also of WebDataset shards; a DataFrame; what gives Arrow, as polars, DuckDB and `datasets`
                do; a dict of lists; or what yields dicts.
            types: the types of columns of a .csv file, text, integer, number or boolean, where a guess is wrong.
            encoding: of a .csv file that is not in Unicode, such as cp1250; see `csv_dialect.detect_encoding`.

        Raises:
            UsageError: the table is of another type, does not exist, or is empty; or a cell is not of a given type.
            DamagedError: the file cannot be parsed.
        """
        if isinstance(table, Rows):
            return table
        if encoding is not None and not is_text_file(table):
            raise UsageError("encoding", "it applies only to .csv files", "leave it out")
        if isinstance(table, str | Path):
            return cls._read(expand_user(table), types or {}, encoding)
        if hasattr(table, "iloc"):  # pandas
            return cls._from_columns({str(name): _series_to_list(table[name]) for name in table.columns})
        if is_dataset(table) or is_splits(table):
            contents = ContentFolder()
            return cls(read_dataset(table, contents), contents=contents)
        if isinstance(table, list) and all(isinstance(row, dict) for row in table):
            names = list(dict.fromkeys(name for row in table for name in row))
            return cls._from_columns({name: [row.get(name) for row in table] for name in names})
        if isinstance(table, Mapping):
            return cls._from_columns({str(name): list(cells) for name, cells in table.items()})
        if (arrow := read_arrow(table)) is not None:
            return cls(arrow)
        if is_iterable_of_rows(table):
            contents = ContentFolder()
            return cls(write_rows(table, contents), contents=contents)
        wrong = f"expected a table, got {type(table).__name__}"
        raise UsageError("table", wrong, "give a path, a DataFrame, an Arrow table, a dict of lists, or rows as dicts")

    @classmethod
    def _from_columns(cls, table: dict[str, list[Any]]) -> Rows:
        """The rows of columns as lists, whose sounds and images become files, as in every table."""
        lengths = {name: len(cells) for name, cells in table.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UsageError("table", f"its columns have different lengths: {counts}", "give a cell for each row")
        contents = None
        for name, cells in table.items():
            if ContentFolder.is_needed(cells):
                contents = contents or ContentFolder()
                table[name] = contents.replace_all(cells)
        return cls({name: _plain_list(cells) for name, cells in table.items()}, contents=contents)

    @classmethod
    def _read(cls, path: Path, types: Mapping[str, str], encoding: str | None) -> Rows:
        if path.is_dir():
            tables = _tables_in(path)
            if not tables and (shards := find_shards(path)):
                return cls(*open_shards(shards))
            if not tables:
                wrong = "the folder has no rows.jsonl, rows.csv or rows.parquet, and no .tar"
                raise UsageError(path, wrong, "run the recipe's prepare.py")
            path = tables[0]
        if shards := find_shards(path):
            return cls(*open_shards(shards))
        if not path.is_file():
            raise UsageError(path, "the table does not exist", "correct the path, or run the recipe's prepare.py")
        if path.suffix.lower() not in SUFFIXES:
            wrong = (
                f"expected a .jsonl, .csv, .tsv, .parquet or .tar file, got {path.suffix or 'a file without a suffix'}"
            )
            raise UsageError(path, wrong, "convert it to one of these")
        return cls(open_table(path, types, encoding), path.parent, str(path))

    @property
    def digest(self) -> str | None:
        """A hash of the content of the file; None for a table that does not come from a file."""
        return self._table.digest if isinstance(self._table, ParquetTable) else None

    def column_digest(self, column: str) -> str | None:
        """A hash that decides, with the name of a column, its cells; None for a table that is not from a file."""
        return self._table.column_digest(column) if isinstance(self._table, ParquetTable) else None

    def with_split(self, group: str, split: str = "split") -> Rows:
        """The rows with a new column `split`: 80 % train, 10 % dev, 10 % test, by a hash of the cell in `group`.

        Rows with equal cells in `group` are in the same split, in every run and as the table grows. A row without a
        cell in `group` is split by its id.

        Raises:
            UsageError: the table has no such column.
        """
        if group not in self.columns:
            wrong = f"the table has no such column to split by (it has {', '.join(self.columns)})"
            raise UsageError(group, wrong, did_you_mean(group, self.columns))
        fractions, missing = self._fractions(group)
        if missing.any():
            by_id = self._fractions("id")[0] if "id" in self.columns else _to_fractions(range(len(self)))
            fractions = np.where(missing, by_id, fractions)
        numbers = np.searchsorted([0.8, 0.9], fractions, "right")
        if isinstance(self._table, dict):
            splits = np.array(["train", "dev", "test"])[numbers].tolist()
            return Rows({**self._table, split: splits}, self.root, self.name, self._contents)
        import pyarrow as pa

        column = pa.DictionaryArray.from_arrays(numbers.astype(np.int8), ["train", "dev", "test"])
        return Rows(self._table.append_column(split, [column]), self.root, self.name, self._contents)

    def _fractions(self, column: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """A number in [0, 1) for each cell, by a hash of its text, and whether the cell is missing, (N,) each."""
        parts = []
        for cells, numbers in self.distinct_batches(column):
            missing = np.array([values.missing(cell) for cell in cells], bool)
            parts.append((_to_fractions(cells)[numbers], missing[numbers]))
        return np.concatenate([fractions for fractions, _ in parts]), np.concatenate([missing for _, missing in parts])

    def labels(self, column: str) -> tuple[list[str], NDArray[np.int64]]:
        """The distinct cells of a column as text, sorted, and the number of the cell of each row (N,)."""
        if column not in self._labels:
            number: dict[str, int] = {}
            parts = []
            for cells, numbers in self.distinct_batches(column):
                local = [number.setdefault(str(cell), len(number)) for cell in cells]
                parts.append(np.array(local, np.int64)[numbers])
            names = sorted(number)
            rank = np.empty(len(names), np.int64)
            rank[[number[name] for name in names]] = np.arange(len(names))
            self._labels[column] = names, rank[np.concatenate(parts)]
        return self._labels[column]

    def distinct_batches(self, column: str) -> Iterator[tuple[list[Any], NDArray[np.int64]]]:
        """The distinct cells of each batch of a column, and the number of each row's among them.

        A column of lists or of mixed cells is one batch of all of its cells.
        """
        if not self.has_elements(column) or is_list(self.field(column).type):
            cells = self.cells(column)
            yield cells, np.arange(len(cells))
            return
        for batch in self.batches(column):
            encoded = split_cells(batch)[0].dictionary_encode(null_encoding="encode")
            yield encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)

    def has_elements(self, column: str) -> bool:
        """Whether `batches` of a column can be split into elements; see `arrow_cells.has_elements`."""
        return not isinstance(self._table, dict) and has_elements(self.field(column))

    def has_numbers(self, column: str) -> bool:
        """Whether `numbers` can read a column: its cells are numbers or booleans, and not lists of them."""
        if not self.has_elements(column):
            return False
        type = self.field(column).type
        return is_number(type) or str(type) == "bool"

    def numbers(self, column: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The cells of a column as numbers (N,), NaN for an absent one, and whether each is absent (N,)."""
        numbers, absent = [], []
        for batch in self.batches(column):
            absent.append(batch.is_null().to_numpy(zero_copy_only=False))
            filled = batch.fill_null(False if str(batch.type) == "bool" else 0)
            numbers.append(filled.to_numpy(zero_copy_only=False).astype(np.float64))
            numbers[-1][absent[-1]] = np.nan
        return np.concatenate(numbers), np.concatenate(absent)

    def field(self, column: str) -> Any:
        """The Arrow field of a column of an Arrow table."""
        return self._table.schema.field(column)

    def batches(self, column: str) -> Iterator[Any]:
        """The Arrow arrays of a column of an Arrow table, one after another."""
        table = self._table
        return table.batches(column) if isinstance(table, ParquetTable) else iter(table.column(column).chunks)

    def cells(self, column: str, paths: bool = False) -> list[Any]:
        """The cells of a column; lists of numbers as arrays, and with `paths` text as paths in the table's folder.

        Raises:
            UsageError: the table has no such column.
        """
        key = column, paths
        if key not in self._cells:
            if column not in self.columns:
                wrong = f"the table has no such column (it has {', '.join(self.columns)})"
                raise UsageError(column, wrong, did_you_mean(column, self.columns))
            if isinstance(self._table, dict):
                cells = self._table[column]
            elif has_contents(self.field(column).type):
                contents = self._open_contents()
                cells = [cell for batch in self.batches(column) for cell in contents.replace_all(batch.to_pylist())]
            else:
                cells = to_objects(self._table.column(column), field_kind(self.field(column)))
            root = self.root if paths else None
            self._cells[key] = [_add_root(cell, root) for cell in cells] if root else list(cells)
        return self._cells[key]

    def _open_contents(self) -> ContentFolder:
        """The folder of files that stand in the cells: in the cache beside the table, or a temporary one."""
        if self._contents is None:
            folder = None
            if self.root is not None and self.digest is not None:
                folder = cache_folder(self.root) / CONTENTS / f"{Path(self.name).name}-{self.digest[:16]}"
                make_dir(folder)
            self._contents = ContentFolder(folder)
        return self._contents

    def drop_files(self, column: str, paths: Collection[str]) -> None:
        """Take the cells of some files for missing; a list of files is left with the others."""
        cells = self.cells(column, True)
        for row, cell in enumerate(cells):
            if isinstance(cell, list):
                cells[row] = [item for item in cell if str(item) not in paths] or None
            elif isinstance(cell, str | Path) and str(cell) in paths:
                cells[row] = None

    def cells_at(self, column: str, numbers: NDArray[np.int64]) -> list[Any]:
        """The cells of a column in the rows of some numbers, without those of all others."""
        if not self.has_elements(column):
            cells = self.cells(column)
            return [cells[number] for number in numbers.tolist()]
        import pyarrow as pa

        first, parts, order = 0, [], np.argsort(numbers, kind="stable")
        for batch in self.batches(column):
            bounds = np.searchsorted(numbers[order], [first, first + len(batch)])
            parts.append(batch.take(pa.array(numbers[order[bounds[0] : bounds[1]]] - first)))
            first += len(batch)
        cells = list(to_objects(pa.chunked_array(parts), field_kind(self.field(column))))
        return [cells[place] for place in np.argsort(order).tolist()]

    def dicts(
        self,
        numbers: NDArray[np.int64] | None = None,
        paths: Collection[str] = (),
        columns: Collection[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Rows as dicts without missing cells.

        Args:
            numbers: of the rows; all if not given.
            paths: columns whose cells are paths in the table's folder.
            columns: those that are wanted; all if not given.
        """
        rows: list[dict[str, Any]] = [{} for _ in range(len(self) if numbers is None else len(numbers))]
        for name in self.columns if columns is None else columns:
            if numbers is not None and name not in paths:
                cells = self.cells_at(name, numbers)
            else:
                cells = self.cells(name, name in paths)
                cells = cells if numbers is None else [cells[number] for number in numbers.tolist()]
            for row, cell in zip(rows, cells, strict=True):
                if not values.missing(cell):
                    row[name] = cell
        return rows


def _plain_list(cells: list[Any]) -> list[Any]:
    simple = {type(None), str, int, float, bool, np.ndarray}
    return cells if set(map(type, cells)) <= simple else list(map(values.to_plain, cells))


def _series_to_list(series: Any) -> list[Any]:
    """The cells of a column of a DataFrame, with None for missing values."""
    cells: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return cells


def _add_root(cell: Any, root: Path) -> Any:
    if isinstance(cell, str) and cell:
        path = str(root / cell)
        # A table may have composed characters (NFC) where the system has stored others.
        return path if cell.isascii() or os.path.lexists(path) else text_to_path(cell, str(root))
    if isinstance(cell, list):
        return [_add_root(item, root) for item in cell]
    return cell


def _to_fractions(cells: Iterable[Any]) -> NDArray[np.float64]:
    return np.array([hash_fraction(str(cell)) for cell in cells], np.float64)
