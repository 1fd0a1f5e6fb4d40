"""Files of a table that cannot be read: their cells count as missing, and the reasons are printed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import values
from ..errors import UserError, escape_control
from ..objectives import distributed
from ..ragged import Ragged
from ..readers import Reader
from .array_cache import ArrayCache
from .join import IndirectColumn, encode_column, find_source, reader_cells
from .rows import Rows

MAX_REASONS = 5


def fill_readable(cache: ArrayCache, rows: Rows, column: str, reader: Reader, title: str) -> None:
    """Fill the cache of a column of files, and take the cells of those that cannot be read for missing.

    Raises:
        UserError: no file of the column can be read.
    """
    failures: dict[str, UserError] = {}
    cache.fill(list_elements(rows, column, reader), title, failures)
    _drop_files(rows, column, reader, failures)


def encode_readable(rows: Rows, column: str, reader: Reader) -> Ragged | IndirectColumn:
    """Encode a column of files without a cache, and take the cells of those that cannot be read for missing.

    Raises:
        UserError: no file of the column can be read.
    """
    try:
        return encode_column(rows, column, reader, reader.encode)
    except UserError:
        failures: dict[str, UserError] = {}
        for element in list_elements(rows, column, reader):
            try:
                reader.preprocess(element)
            except UserError as error:
                if not isinstance(element, str | Path):
                    raise
                failures[str(element)] = error
        if not failures:
            raise
        _drop_files(rows, column, reader, failures)
        return encode_column(rows, column, reader, reader.encode)


def list_elements(rows: Rows, column: str, reader: Reader) -> list[Any]:
    """The elements of all cells of a column; if it is of joined items, of those."""
    cells = reader_cells(find_source(rows, reader.columns or [column])[0], column, reader)
    return [element for cell in cells if not values.missing(cell) for element in reader.elements(cell)]


def _drop_files(rows: Rows, column: str, reader: Reader, failures: Mapping[str, UserError]) -> None:
    if not failures:
        return
    files = len(set(map(str, list_elements(rows, column, reader))))
    if len(failures) == files:
        raise next(iter(failures.values()))
    find_source(rows, [column])[0].drop_files(column, failures)
    if distributed.rank():
        return
    lines = [f"warning: {rows.name}: {len(failures):,} of {files:,} files of {column} cannot be read, and are skipped:"]
    for problem, count in Counter(error.problem for error in failures.values()).most_common(MAX_REASONS):
        first = next(path for path, error in failures.items() if error.problem == problem)
        lines.append(f"  {first}{f' and {count - 1:,} more' if count > 1 else ''}: {problem}")
    print("\n".join(map(escape_control, lines)), file=sys.stderr)
