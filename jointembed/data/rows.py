"""The rows of a table, in memory-mapped Arrow: read from jsonl, csv or parquet, or given as they are."""

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

from .. import files
from .. import values as table_cells
from ..errors import DamagedError, UsageError, did_you_mean
from ..recipe_tools import hash_fraction

KINDS = (".parquet", ".jsonl", ".csv")


class Rows:
    """The rows of a table by number and column.

    Args:
        table: a pyarrow Table, or columns as a dict of lists where cells are arrays.
        root: the folder that paths in cells are relative to; None for tables that were never a file.
        name: what messages call it.
    """

    def __init__(self, table: Any, root: Path | None = None, name: str = "table") -> None:
        self._table, self.root, self.name = table, root, name
        self.columns = list(table) if isinstance(table, dict) else list(table.column_names)
        self._length = len(next(iter(table.values()), ())) if isinstance(table, dict) else table.num_rows
        if not self._length:
            raise UsageError(name, "the table has no rows", "give one with rows")
        self._cells: dict[tuple[str, bool], list[Any]] = {}

    def __len__(self) -> int:
        return self._length

    @classmethod
    def open(cls, table: Any) -> Rows:
        """Rows of a file, of a folder that holds `rows.*`, of a DataFrame or of a list of dicts.

        Raises:
            UsageError: it is none of these, is not there, or is empty.
            DamagedError: the file is broken.
        """
        if isinstance(table, Rows):
            return table
        if isinstance(table, str | Path):
            return cls._file(Path(table).expanduser())
        if hasattr(table, "to_dict") and hasattr(table, "columns"):
            return cls({str(name): _plain(table[name]) for name in table.columns})
        if isinstance(table, list) and all(isinstance(row, dict) for row in table):
            names = list(dict.fromkeys(name for row in table for name in row))
            return cls({name: [row.get(name) for row in table] for name in names})
        raise UsageError("table", f"{type(table).__name__} is no table", "give a path, a DataFrame or a list of dicts")

    @classmethod
    def _file(cls, path: Path) -> Rows:
        if path.is_dir():
            found = [path / f"rows{kind}" for kind in KINDS if (path / f"rows{kind}").is_file()]
            if not found:
                raise UsageError(
                    path, "the folder holds no rows.jsonl, rows.csv or rows.parquet", "run the recipe's prepare.py"
                )
            path = found[0]
        if not path.is_file():
            raise UsageError(path, "there is no such table", "correct the path, or run the recipe's prepare.py")
        if path.suffix not in KINDS:
            raise UsageError(
                path, f"{path.suffix or 'a file without ending'} is no table", "give .jsonl, .csv or .parquet"
            )
        import pyarrow

        try:
            if path.suffix == ".jsonl":
                return cls(_jsonl(path), path.parent, str(path))
            return cls(_mapped(path), path.parent, str(path))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DamagedError(path, f"the table cannot be read ({reason})", "write the file again") from error

    def divided(self, group: str, split: str = "split") -> Rows:
        """The rows with a column `split` of their own: 80 % train, 10 % dev, 10 % test, by a hash of `group`.

        So equal cells of `group` stand on one side, in every run and however the table grows. A row without such a
        cell goes by its id.

        Raises:
            UsageError: the table has no such column.
        """
        if group not in self.columns:
            wrong = f"the table has no such column to split by (it has {', '.join(self.columns)})"
            raise UsageError(group, wrong, did_you_mean(group, self.columns))
        ids = self.cells("id") if "id" in self.columns else range(len(self))
        cells = [id if table_cells.missing(cell) else cell for id, cell in zip(ids, self.cells(group), strict=True)]
        places = [hash_fraction(str(cell)) for cell in cells]
        splits = ["train" if place < 0.8 else "dev" if place < 0.9 else "test" for place in places]
        if isinstance(self._table, dict):
            return Rows({**self._table, split: splits}, self.root, self.name)
        return Rows(self._table.append_column(split, [splits]), self.root, self.name)

    def cells(self, column: str, paths: bool = False) -> list[Any]:
        """The cells of a column; lists of numbers as arrays, and with `paths` text as paths from the table's folder."""
        key = column, paths
        if key not in self._cells:
            plain = self._table[column] if isinstance(self._table, dict) else _values(self._table.column(column))
            self._cells[key] = [_located(cell, self.root) for cell in plain] if paths and self.root else list(plain)
        return self._cells[key]

    def dicts(self, numbers: NDArray[np.int64] | None = None, paths: Collection[str] = ()) -> list[dict[str, Any]]:
        """Rows as dicts, without their missing cells; the columns of `paths` as paths from the table's folder."""
        columns = {name: self.cells(name, name in paths) for name in self.columns}
        chosen = range(len(self)) if numbers is None else numbers.tolist()
        return [
            {name: cells[row] for name, cells in columns.items() if not table_cells.missing(cells[row])}
            for row in chosen
        ]


def _plain(series: Any) -> list[Any]:
    """The cells of a column of a DataFrame; what pandas calls missing, which compares with nothing, is None."""
    cells: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return cells


def _located(cell: Any, root: Path) -> Any:
    if isinstance(cell, str) and cell:
        return str(root / cell)
    if isinstance(cell, list):
        return [_located(one, root) for one in cell]
    return cell


def _values(column: Any) -> Sequence[Any]:
    """The cells of an Arrow column; those of lists of numbers as arrays that share its memory."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return list(column.to_pylist())
    if not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return list(column.to_pylist())
    cells: list[Any] = []
    for chunk in column.chunks:
        # The places behind a missing cell are null themselves, which would turn whole numbers into floats.
        whole = pa.types.is_integer(kind.value_type)
        values = (chunk.values.fill_null(0) if whole else chunk.values).to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(kind):
            bounds = (np.arange(len(chunk) + 1) + chunk.offset) * kind.list_size
        else:
            bounds = chunk.offsets.to_numpy()
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        cells += [values[a:b] if ok else None for a, b, ok in zip(bounds[:-1], bounds[1:], valid, strict=True)]
    return cells


def _jsonl(path: Path) -> dict[str, list[Any]]:
    rows = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DamagedError(f"{path}, line {number}", "it is no JSON", "correct the line") from error
            if not isinstance(row, dict):
                raise DamagedError(f"{path}, line {number}", "it is no row", 'write {"column": value, ...}')
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _mapped(path: Path) -> Any:
    """A csv or parquet file as memory-mapped Arrow, converted once and kept beside it where that can be written."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    stat = path.stat()
    version = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    kept = path.parent / ".jointembed" / f"{path.name}-{version}.arrow"
    if not kept.exists():
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        else:
            with open(path, newline="", encoding="utf-8-sig") as file:
                header = next(csv.reader(file), [])
            if len(set(header)) < len(header):
                raise UsageError(path, "a column name stands twice in the first line", "rename one of them")
            # Ids are text as they are written, and only an empty cell is missing: NA is a country.
            options = arrow_csv.ConvertOptions(
                column_types={"id": pa.string()}, null_values=[""], strings_can_be_null=True
            )
            table = arrow_csv.read_csv(path, convert_options=options)
        try:
            files.write(kept, lambda file: _write(file, table))
        except (OSError, UsageError):  # the folder may not be written
            return table
        for old in kept.parent.glob(f"{glob.escape(path.name)}-*.arrow"):
            if old != kept:
                old.unlink(missing_ok=True)
    with pa.memory_map(str(kept)) as source:
        return pa.ipc.open_file(source).read_all()


def _write(file: Any, table: Any) -> None:
    import pyarrow as pa

    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
