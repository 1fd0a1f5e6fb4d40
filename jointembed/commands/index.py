"""`jointembed index`: a table's column as an index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import Usage, closest


def index(
    model: str, table: str, index: str, column: str | None = None, split: str = "all", trust: list[str] | None = None
) -> None:
    """Embed a column of a table and write it into an index: one SQLite file, and a matrix beside it.

    Args:
        model: a checkpoint, or the folder of a run.
        table: a .jsonl, .csv or .parquet file, or a folder that holds rows.*; rows carry an id.
        index: the file to write; rows that it holds already are replaced.
        column: which column of the model to embed; the first that the table has if not given.
        split: rows of this split only; all rows if not given.
        trust: packages whose encoders and readers the model may import.
    """
    from rich.progress import track

    from ..find.index import Index
    from ..learn.rows import Rows
    from ..learn.space import JointEmbedding

    rows = Rows.open(table)
    space = JointEmbedding.load(model, trust or ())
    column = column or first(space, rows)
    listed = present(space, rows, column, split)
    if Path(index).exists():
        opened = Index.open(index)
        opened.check(space.fingerprint)
    else:
        opened = Index.create(index, space.dim, space.metric, str(Path(model).resolve()), space.fingerprint, space.note)
    if "trained on synthetic songs" in space.note and not _composed(rows):
        print("warning: this model was trained on synthetic songs; expect little of it on real music", file=sys.stderr)
    block = 256
    with opened:
        for start in track(range(0, len(listed), block), f"Indexing {column}", disable=not sys.stderr.isatty()):
            part = listed[start : start + block]
            opened.add([row for row, _ in part], space.embed(column, [cell for _, cell in part]), column)
        print(f"{index}: {len(listed)} rows by {column}, {space.dim} dimensions, {space.metric}")


def first(space: Any, rows: Any) -> str:
    """The first column of the model that the table has."""
    found = [name for name in space.columns if name in rows.columns]
    if not found:
        raise Usage(
            rows.name, f"it has none of the model's columns {', '.join(space.columns)}", "use a table that has one"
        )
    return str(found[0])


def present(space: Any, rows: Any, column: str, split: str) -> list[tuple[dict[str, Any], Any]]:
    """Rows with an id, each beside its cell of the column; those without such a cell are left out.

    Raises:
        Usage: the column is unknown, or no row has it.
    """
    from ..cells import missing
    from ..learn.embedding import cell_of

    fused = column in space.fused
    reader = None if fused else space.reader(column)
    reads = () if reader is None else reader.columns
    needed = space.fused[column] if fused else reads or [column]
    for name in needed:
        if name not in rows.columns and not fused:
            raise Usage(
                name, f"the table has no such column (it has {', '.join(rows.columns)})", closest(name, rows.columns)
            )
    if "id" not in rows.columns:
        raise Usage(rows.name, "its rows have no column id", "add one, with a different value in each row")
    plain, found = rows.dicts(), rows.dicts(None, paths(space))
    kept = []
    for row, located in zip(plain, found, strict=True):
        cell = located if fused else cell_of(located, column, reads)
        empty = all(missing(located.get(part)) for part in needed) if fused else missing(cell)
        if not empty and split in ("all", row.get("split")):
            path = {"_path": row[column]} if column in paths(space) and isinstance(row[column], str) else {}
            kept.append(({**row, **path, "id": str(row["id"])}, cell))
    if not kept:
        raise Usage(rows.name, f"no row has a cell in {column}", "choose another --column or --split")
    return kept


def paths(space: Any) -> set[str]:
    """The columns of a model whose cells are paths."""
    return {column for reader, columns in space.readers().values() if reader.files for column in columns}


def _composed(rows: Any) -> bool:
    """Whether a table is of songs that the demo composed."""
    return rows.root is not None and (rows.root / "listen.flac").exists()
