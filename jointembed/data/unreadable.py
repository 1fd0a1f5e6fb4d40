"""Files of a table that cannot be read: their cells count as missing, and the reasons are printed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .. import values
from ..errors import SkippedError, UserError, escape_control
from ..readers import Reader
from .array_cache import ArrayCache
from .join import IndirectColumn, encode_column, find_source, reader_cells
from .rows import Rows

if TYPE_CHECKING:  # see `join`
    from ..ragged import Ragged
    from ..space.space import Space

MAX_REASONS = 5
Result = TypeVar("Result")


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
        if not _drop_unreadable(rows, column, reader):
            raise
        return encode_column(rows, column, reader, reader.encode)


def skip_unreadable(
    rows: Rows, space: Space, columns: Collection[str], compute: Callable[[], Result], strict: bool = False
) -> Result:
    """What `compute` returns; if a file of the table cannot be read, again without all such files, which are reported.

    Args:
        rows: the table; the cells of such files are missing in it afterwards.
        space: whose readers read the files.
        columns: those that are read; others than the space's are left alone.
        compute: reads cells of these columns.
        strict: do not compute again.

    Raises:
        SkippedError: files cannot be read, and `strict` is set.
        UserError: no file of a column can be read, or something else is wrong.
    """
    try:
        return compute()
    except UserError as error:
        parts = dict.fromkeys(part for column in columns for part in space.fusions.get(column, [column]))
        readers = {part: space.reader(part) for part in parts if part in space.columns}
        readers = {part: reader for part, reader in readers.items() if reader.reads_files}
        paths = {str(element) for part, reader in readers.items() for element in list_elements(rows, part, reader)}
        if not paths & {error.subject, error.subject.rpartition(": ")[2]}:
            raise
        count = sum(_drop_unreadable(rows, part, reader) for part, reader in readers.items())
        if not count:
            raise
        if strict:
            fix = "replace or remove them, or leave --strict out"
            raise SkippedError(rows.name, f"{count:,} files cannot be read", fix) from error
        return compute()


def _drop_unreadable(rows: Rows, column: str, reader: Reader) -> int:
    """Take the cells of the files of a column that cannot be read for missing; their number."""
    failures: dict[str, UserError] = {}
    for element in list_elements(rows, column, reader):
        try:
            reader.preprocess(element)
        except UserError as error:
            if not isinstance(element, str | Path):
                raise
            failures[str(element)] = error
    _drop_files(rows, column, reader, failures)
    return len(failures)


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
    if "torch" in sys.modules:  # without it, no other process takes part
        from ..objectives import distributed

        if distributed.rank():
            return
    lines = [f"warning: {rows.name}: {len(failures):,} of {files:,} files of {column} cannot be read, and are skipped:"]
    for problem, count in Counter(error.problem for error in failures.values()).most_common(MAX_REASONS):
        first = next(path for path, error in failures.items() if error.problem == problem)
        lines.append(f"  {first}{f' and {count - 1:,} more' if count > 1 else ''}: {problem}")
    print("\n".join(map(escape_control, lines)), file=sys.stderr)
