"""A table's column as an index: what is new or has changed is embedded and stored."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from ..analyze.cluster import carry_over
from ..errors import UsageError, did_you_mean
from ..index.index import Index
from ..ingest import exclusive_lock
from ..values import key, missing
from .index_encoder import Model
from .vocabulary import learn

BLOCK = 256  # rows between two commits


def fill(
    model: Model,
    table: str,
    path: str,
    column: str | None,
    split: str,
    windows: int | None = None,
    name: str | None = None,
) -> str:
    """Bring the index of a table up to date, or make it, and say what was done.

    Args:
        model: what embeds.
        table: a .jsonl, .csv or .parquet file, or a folder that holds rows.*.
        path: the index.
        column: which column of the model to embed; the first that the table has if not given.
        split: rows of this split only, or `all`.
        windows: of a long sound, at most so many windows.
        name: what the index calls the column; as the model does if not given.
    """
    from rich.progress import track

    from ..data.table import open_as_trained

    rows = open_as_trained(table, model.file, add_split=split != "all")
    space = model.space
    column = column or first(space, rows)
    name = name or column
    listed = present(space, rows, column, split)
    with exclusive_lock(path):
        if Path(path).exists():
            index = Index.open(path)
            model.join(index, name, column, windows)
        else:
            model.windows = windows
            index = model.create(path, table=str(rows.root.absolute()) if rows.root else "")
            model.join(index, name, column, windows)
        with index:
            listed = list(zip(carry_over(index, [row for row, _ in listed]), [cell for _, cell in listed], strict=True))
            same = index.unchanged([row for row, _ in listed], name)
            absent = dict.fromkeys(index.columns)  # a column that has left the table leaves the index too
            index.update([{**absent, **row} for (row, _), known in zip(listed, same, strict=True) if known])
            fresh = [pair for pair, known in zip(listed, same, strict=True) if not known]
            quiet = not sys.stderr.isatty()
            for start in track(range(0, len(fresh), BLOCK), f"Indexing {column}", disable=quiet):
                part = fresh[start : start + BLOCK]
                index.add([row for row, _ in part], model.embed(column, [cell for _, cell in part]), name)
            learn(model, index, name)
    old = f", {len(listed) - len(fresh)} of them unchanged" if len(fresh) < len(listed) else ""
    return f"{path}: {len(listed)} rows by {name}{old}, {space.dim} dimensions, {space.metric}"


def first(space: Any, rows: Any) -> str:
    """The first column of the model that the table has."""
    found = [name for name in space.columns if name in rows.columns]
    if not found:
        raise UsageError(
            rows.name, f"it has none of the model's columns {', '.join(space.columns)}", "use a table that has one"
        )
    return str(found[0])


def present(space: Any, rows: Any, column: str, split: str) -> list[tuple[dict[str, Any], Any]]:
    """Rows with an id, each beside its cell of the column; those without such a cell are left out.

    Raises:
        UsageError: the column is unknown, or no row has it.
    """
    from ..space.embed import row_cell

    fused = column in space.fusions
    reader = None if fused else space.reader(column)
    reads = () if reader is None else reader.columns
    needed = space.fusions[column] if fused else reads or [column]
    for name in needed:
        if name not in rows.columns and not fused:
            raise UsageError(
                name,
                f"the table has no such column (it has {', '.join(rows.columns)})",
                did_you_mean(name, rows.columns),
            )
    if "id" not in rows.columns:
        raise UsageError(rows.name, "its rows have no column id", "add one, with a different value in each row")
    read = [name for part in needed for name in (space.reader(part).columns if fused else ()) or [part]]
    plain, found = rows.dicts(), rows.dicts(None, paths(space))
    kept = []
    for row, located in zip(plain, found, strict=True):
        cell = located if fused else row_cell(located, column, reads)
        empty = all(missing(located.get(part)) for part in needed) if fused else missing(cell)
        if not empty and split in ("all", row.get("split")):
            path = {"_path": row[column]} if column in paths(space) and isinstance(row[column], str) else {}
            digest = {"_cell": _digest(space, {name: located.get(name) for name in read})}
            kept.append(({**row, **path, **digest, "id": str(row["id"])}, cell))
    if not kept:
        raise UsageError(rows.name, f"no row has a cell in {column}", "choose another --column or --split")
    return kept


def trained(rows: Any, column: str, unit: str | None = None) -> list[Any]:
    """The cells of a column in the rows that were trained on, which some figures are compared with.

    Raises:
        UsageError: the table has no such column, or none of its units.
    """
    for name in [column, unit] if unit else [column]:
        if name not in rows.columns:
            raise UsageError(name, "the table has no such column", did_you_mean(name, rows.columns))
    splits = rows.cells("split") if "split" in rows.columns else ["train"] * len(rows)
    cells = zip(rows.cells(column), splits, strict=True)
    return [cell for cell, split in cells if split == "train" and not missing(cell)]


def paths(space: Any) -> set[str]:
    """The columns of a model whose cells are paths."""
    return {column for reader, columns in space.readers() if reader.reads_files for column in columns}


def _digest(space: Any, cells: dict[str, Any]) -> str:
    """A hash of the cells that a vector is made from; of files, of their size and time, so that none is read."""
    digest = hashlib.blake2b(digest_size=16)
    files = paths(space)
    for name, cell in cells.items():
        digest.update(f"{name} {key(cell) if not missing(cell) else None};".encode())
        for one in (cell if isinstance(cell, list | tuple) else [cell]) if name in files else ():
            if isinstance(one, str | Path) and Path(one).is_file():
                about = Path(one).stat()
                digest.update(f"{about.st_size} {about.st_mtime_ns};".encode())
    return digest.hexdigest()
