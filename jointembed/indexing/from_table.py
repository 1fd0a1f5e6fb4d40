"""Embed a table's column into an index: only rows that are new or have changed."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..analyze.cluster import carry_over
from ..errors import UsageError
from ..index.index import Index
from ..ingest import exclusive_lock
from .index_encoder import IndexEncoder
from .table_cells import first_column, naming_row, rows_with_cell
from .vocabulary import store_vocabulary

ROWS_IN_COMMIT = 256


def index_table(
    encoder: IndexEncoder,
    table: str,
    path: str,
    column: str | None = None,
    split: str = "all",
    max_windows: int | None = None,
    field: str | None = None,
    track: Callable[[Sequence[Any], str], Iterator[Any]] | None = None,
    strict: bool = False,
    encoding: str | None = None,
) -> str:
    """Create or update the index of a table.

    Args:
        encoder: the model.
        table: a .jsonl, .csv or .parquet file, or a folder with rows.*.
        path: the index.
        column: the model's column to embed; the first that the table has if not given.
        split: the rows of this split only, or `all`.
        max_windows: embed at most this many windows of a long sound.
        field: the field of the index; named like the column if not given.
        track: shows the progress through a sequence under a title.
        strict: do not leave the rows out whose files cannot be read.
        encoding: of a .csv file that is not in Unicode.

    Returns:
        A line that says what was done.

    Raises:
        SkippedError: files cannot be read, and `strict` is set.
    """
    from ..data.trained import open_as_trained
    from ..data.unreadable import skip_unreadable

    rows = open_as_trained(table, encoder.file, split != "all", encoding)
    space = encoder.space
    column = column or first_column(space, rows)
    embedded, field = column, field or column

    def update() -> str:
        pairs = rows_with_cell(space, rows, embedded, split, unique_ids=True)
        _report_infinities([row for row, _ in pairs])
        with exclusive_lock(path):
            if Path(path).exists():
                index = Index.open(path)
                if index.info.scan_field:
                    index.close()
                    raise UsageError(path, "this index was made from a folder", "write another index for the table")
            else:
                encoder.max_windows = max_windows
                index = encoder.create(path, table_root=str(rows.root.absolute()) if rows.root else "")
            encoder.prepare(index, field, embedded, max_windows)
            with index:
                new = _add_new(encoder, index, table, pairs, field, track)
        count = f", {len(pairs) - new} of them unchanged" if new < len(pairs) else ""
        return f"{path}: {len(pairs)} rows by {field}{count}, {space.dim} dimensions, {space.metric}"

    return skip_unreadable(rows, space, [embedded], update, strict)


def _report_infinities(rows: Sequence[dict[str, Any]]) -> None:
    """Say how many cells are infinite, which JSON and so the index cannot hold."""
    counts = Counter(name for row in rows for name, cell in row.items() if isinstance(cell, float) and math.isinf(cell))
    for name, count in counts.items():
        wrong = f"{count:,} cells are infinite, and an index cannot hold infinities: they count as missing"
        print(f"warning: {name}: {wrong}. Fix: write a number instead", file=sys.stderr)


def _add_new(
    encoder: IndexEncoder,
    index: Index,
    table: str,
    pairs: list[tuple[dict[str, Any], Any]],
    field: str,
    track: Callable[[Sequence[Any], str], Iterator[Any]] | None,
) -> int:
    """Embed those rows, each with its cell, that are new or have changed, and update the others; how many are new."""
    column = encoder.column
    pairs = list(zip(carry_over(index, [row for row, _ in pairs]), [cell for _, cell in pairs], strict=True))
    unchanged = index.unchanged([row for row, _ in pairs], field)
    absent = dict.fromkeys(index.columns)  # a column that has left the table leaves the index too
    index.update([{**absent, **row} for (row, _), same in zip(pairs, unchanged, strict=True) if same])
    new = [pair for pair, same in zip(pairs, unchanged, strict=True) if not same]
    starts = range(0, len(new), ROWS_IN_COMMIT)
    for start in track(starts, f"Indexing {column}") if track else starts:
        part = new[start : start + ROWS_IN_COMMIT]
        with naming_row(table, encoder.space, column, part):
            vectors = encoder.embed(column, [cell for _, cell in part])
        index.add([row for row, _ in part], vectors, field)
    store_vocabulary(encoder, index, field)
    return len(new)
