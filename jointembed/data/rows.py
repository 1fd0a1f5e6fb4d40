"""The rows of a table: read from jsonl, csv or parquet, from a DataFrame or from a list of dicts."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files, values
from ..errors import DamagedError, UsageError, did_you_mean
from ..recipe_tools import hash_fraction

SUFFIXES = (".parquet", ".jsonl", ".csv")


class Rows:
    """The rows of a table, by row number and column.

    Args:
        table: a pyarrow Table, or a dict of columns as lists.
        root: the folder that paths in cells are relative to; None for a table that does not come from a file.
        name: the name of the table in messages.
    """

    def __init__(self, table: Any, root: Path | None = None, name: str = "table") -> None:
        self._table, self.root, self.name = table, root, name
        self.columns = list(table) if isinstance(table, dict) else list(table.column_names)
        self._length = len(next(iter(table.values()), ())) if isinstance(table, dict) else table.num_rows
        if not self._length:
            raise UsageError(name, "the table has no rows", "give a table with at least one row")
        self._cells: dict[tuple[str, bool], list[Any]] = {}

    def __len__(self) -> int:
        return self._length

    @classmethod
    def open(cls, table: Any) -> Rows:
        """The rows of a file, of a folder with `rows.*`, of a DataFrame or of a list of dicts.

        Raises:
            UsageError: the table is of another type, does not exist, or is empty.
            DamagedError: the file cannot be parsed.
        """
        if isinstance(table, Rows):
            return table
        if isinstance(table, str | Path):
            return cls._read(Path(table).expanduser())
        if hasattr(table, "to_dict") and hasattr(table, "columns"):
            return cls({str(name): _series_to_list(table[name]) for name in table.columns})
        if isinstance(table, list) and all(isinstance(row, dict) for row in table):
            names = list(dict.fromkeys(name for row in table for name in row))
            return cls({name: [row.get(name) for row in table] for name in names})
        wrong = f"expected a path, a DataFrame or a list of dicts, got {type(table).__name__}"
        raise UsageError("table", wrong, "give one of these")

    @classmethod
    def _read(cls, path: Path) -> Rows:
        if path.is_dir():
            tables = [path / f"rows{suffix}" for suffix in SUFFIXES if (path / f"rows{suffix}").is_file()]
            if not tables:
                wrong = "the folder has no rows.jsonl, rows.csv or rows.parquet"
                raise UsageError(path, wrong, "run the recipe's prepare.py")
            path = tables[0]
        if not path.is_file():
            raise UsageError(path, "the table does not exist", "correct the path, or run the recipe's prepare.py")
        if path.suffix not in SUFFIXES:
            wrong = f"expected a .jsonl, .csv or .parquet file, got {path.suffix or 'a file without a suffix'}"
            raise UsageError(path, wrong, "convert it to one of these")
        import pyarrow

        try:
            if path.suffix == ".jsonl":
                return cls(_read_jsonl(path), path.parent, str(path))
            return cls(_map_table(path), path.parent, str(path))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DamagedError(path, f"the table cannot be read ({reason})", "write the file again") from error

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
        ids = self.cells("id") if "id" in self.columns else range(len(self))
        cells = [id if values.missing(cell) else cell for id, cell in zip(ids, self.cells(group), strict=True)]
        fractions = [hash_fraction(str(cell)) for cell in cells]
        splits = ["train" if fraction < 0.8 else "dev" if fraction < 0.9 else "test" for fraction in fractions]
        if isinstance(self._table, dict):
            return Rows({**self._table, split: splits}, self.root, self.name)
        return Rows(self._table.append_column(split, [splits]), self.root, self.name)

    def cells(self, column: str, paths: bool = False) -> list[Any]:
        """The cells of a column; lists of numbers as arrays, and with `paths` text as paths in the table's folder."""
        key = column, paths
        if key not in self._cells:
            cells = self._table[column] if isinstance(self._table, dict) else _arrow_cells(self._table.column(column))
            root = self.root if paths else None
            self._cells[key] = [_add_root(cell, root) for cell in cells] if root else list(cells)
        return self._cells[key]

    def dicts(self, numbers: NDArray[np.int64] | None = None, paths: Collection[str] = ()) -> list[dict[str, Any]]:
        """Rows as dicts without missing cells; the columns of `paths` as paths in the table's folder."""
        columns = {name: self.cells(name, name in paths) for name in self.columns}
        return [
            {name: cells[row] for name, cells in columns.items() if not values.missing(cells[row])}
            for row in (range(len(self)) if numbers is None else numbers.tolist())
        ]


def _series_to_list(series: Any) -> list[Any]:
    """The cells of a column of a DataFrame, with None for missing values."""
    cells: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return cells


def _add_root(cell: Any, root: Path) -> Any:
    if isinstance(cell, str) and cell:
        return str(root / cell)
    if isinstance(cell, list):
        return [_add_root(item, root) for item in cell]
    return cell


def _arrow_cells(column: Any) -> Sequence[Any]:
    """The cells of an Arrow column; lists of numbers as arrays that share its memory."""
    import pyarrow as pa

    type = column.type
    if not (pa.types.is_fixed_size_list(type) or pa.types.is_list(type) or pa.types.is_large_list(type)):
        return list(column.to_pylist())
    if not (pa.types.is_integer(type.value_type) or pa.types.is_floating(type.value_type)):
        return list(column.to_pylist())
    cells: list[Any] = []
    for chunk in column.chunks:
        # The values of a missing cell are null, which would turn integers into floats.
        integer = pa.types.is_integer(type.value_type)
        flat = (chunk.values.fill_null(0) if integer else chunk.values).to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(type):
            bounds = (np.arange(len(chunk) + 1) + chunk.offset) * type.list_size
        else:
            bounds = chunk.offsets.to_numpy()
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        cells += [flat[a:b] if ok else None for a, b, ok in zip(bounds[:-1], bounds[1:], valid, strict=True)]
    return cells


def _read_jsonl(path: Path) -> dict[str, list[Any]]:
    rows = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DamagedError(f"{path}, line {number}", "it is not JSON", "correct the line") from error
            if not isinstance(row, dict):
                raise DamagedError(f"{path}, line {number}", "it is not a row", 'write {"column": value, ...}')
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _map_table(path: Path) -> Any:
    """A csv or parquet file as memory-mapped Arrow, converted once and cached beside it if the folder is writable."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    stat = path.stat()
    version = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    cache = path.parent / ".jointembed" / f"{path.name}-{version}.arrow"
    if not cache.exists():
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        else:
            with open(path, newline="", encoding="utf-8-sig") as file:
                header = next(csv.reader(file), [])
            if len(set(header)) < len(header):
                raise UsageError(path, "two columns have the same name", "rename one of them in the first line")
            # Ids stay text as written, and only empty cells are missing: NA is a country code.
            options = arrow_csv.ConvertOptions(
                column_types={"id": pa.string()}, null_values=[""], strings_can_be_null=True
            )
            table = arrow_csv.read_csv(path, convert_options=options)
        try:
            files.write(cache, lambda file: _write_arrow(file, table))
        except (OSError, UsageError):  # the folder is read-only
            return table
        for old in cache.parent.glob(f"{glob.escape(path.name)}-*.arrow"):
            if old != cache:
                old.unlink(missing_ok=True)
    with pa.memory_map(str(cache)) as source:
        return pa.ipc.open_file(source).read_all()


def _write_arrow(file: Any, table: Any) -> None:
    import pyarrow as pa

    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
