"""The rows of a table that have a cell of a model's column, each with this cell."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean
from ..index.backends.encoding import RESERVED_COLUMNS
from ..values import key, missing, row_cell


def first_column(space: Any, rows: Any) -> str:
    """The first column of the model that a table has.

    Raises:
        UsageError: it has none of them.
    """
    columns = [name for name in space.columns if name in rows.columns]
    if not columns:
        wrong = f"it has none of the model's columns {', '.join(space.columns)}"
        raise UsageError(rows.name, wrong, "use a table that has one")
    return str(columns[0])


def rows_with_cell(
    space: Any, rows: Any, column: str, split: str, unique_ids: bool = False
) -> list[tuple[dict[str, Any], Any]]:
    """The rows of a split that have a cell in a column of the model, each with this cell.

    Raises:
        UsageError: the column is unknown, the rows have no ids, two have the same one and `unique_ids` is set, or no
            row has such a cell.
    """
    fused = column in space.fusions
    reads = () if fused else space.reader(column).columns
    needed = space.fusions[column] if fused else reads or [column]
    for name in needed:
        if name not in rows.columns and not fused:
            wrong = f"the table has no such column (it has {', '.join(rows.columns)})"
            raise UsageError(name, wrong, did_you_mean(name, rows.columns))
    if "id" not in rows.columns:
        raise UsageError(rows.name, "its rows have no column id", "add one, with a different value in each row")
    for name in set(RESERVED_COLUMNS).intersection(rows.columns):
        raise UsageError(name, "an index has a column of this name for itself", "rename the column of the table")
    inputs = [name for part in needed for name in (space.reader(part).columns if fused else ()) or [part]]
    files = path_columns(space)
    pairs = []
    numbers: dict[str, int] = {}  # of the rows, by their ids
    for number, (row, located) in enumerate(zip(rows.dicts(), rows.dicts(None, files), strict=True), 1):
        cell = located if fused else row_cell(located, column, reads)
        empty = all(missing(located.get(part)) for part in needed) if fused else missing(cell)
        if not empty and split in ("all", row.get("split")):
            if missing(row.get("id")) or isinstance(row["id"], list | dict):
                wrong = f"its id must be text or a number, got {row.get('id')!a}"
                raise UsageError(f"{rows.name}, row {number}", wrong, "give every row a different id")
            if unique_ids and (first := numbers.setdefault(str(row["id"]), number)) != number:
                wrong = f"its id {str(row['id'])!a} is that of row {first}"
                raise UsageError(f"{rows.name}, row {number}", wrong, "give every row a different id")
            path = {"_file": row[column]} if column in files and isinstance(row[column], str) else {}
            digest = _digest({name: located.get(name) for name in inputs}, files)
            pairs.append(({**row, **path, "_digest": digest, "id": str(row["id"])}, cell))
    if not pairs:
        splits = dict.fromkeys(map(str, filter(None, rows.cells("split")))) if "split" in rows.columns else {}
        if split not in ("all", *splits):
            raise UsageError(split, "the table has no row of this split", did_you_mean(split, [*splits, "all"]))
        raise UsageError(rows.name, f"no row has a cell in {column}", "choose another --column or --split")
    return pairs


@contextmanager
def naming_row(table: Any, space: Any, column: str, pairs: Sequence[tuple[Mapping[str, Any], Any]]) -> Iterator[None]:
    """Name the table, the row and the column before the error of a cell that the reader of the column refuses.

    Args:
        table: its name.
        space: of the column.
        column: whose cells are embedded within the block.
        pairs: the rows, each with its cell.
    """
    try:
        yield
    except UsageError as error:
        for row, cell in pairs:
            try:
                space.embed(column, [cell])
            except UsageError as refusal:
                subject = f"{table}, column {column}, id {row['id']}"
                raise type(refusal)(subject, refusal.problem, refusal.fix) from error
        raise


def training_cells(rows: Any, column: str, group: str | None = None) -> list[Any]:
    """The cells of a column in the training rows, with which some metrics are compared.

    Raises:
        UsageError: the table has no such column, or no such column of groups.
    """
    for name in [column, group] if group else [column]:
        if name not in rows.columns:
            raise UsageError(name, "the table has no such column", did_you_mean(name, rows.columns))
    splits = rows.cells("split") if "split" in rows.columns else ["train"] * len(rows)
    cells = zip(rows.cells(column), splits, strict=True)
    return [cell for cell, split in cells if split == "train" and not missing(cell)]


def path_columns(space: Any) -> set[str]:
    """The columns of a model whose cells are paths."""
    return {column for reader, columns in space.readers() if reader.reads_files for column in columns}


def _digest(cells: dict[str, Any], files: set[str]) -> str:
    """A hash of the cells that a vector is made from; of files, of their size and time, so that none is read."""
    digest = hashlib.blake2b(digest_size=16)
    for name, cell in cells.items():
        digest.update(f"{name} {key(cell) if not missing(cell) else None};".encode())
        for path in (cell if isinstance(cell, list | tuple) else [cell]) if name in files else ():
            if isinstance(path, str | Path) and os.path.isfile(path):
                stat = Path(path).stat()
                digest.update(f"{stat.st_size} {stat.st_mtime_ns};".encode())
    return digest.hexdigest()
