"""A file with a table, as Parquet: others are converted once, into a folder beside them."""

from __future__ import annotations

import contextlib
import copy
import functools
import glob
import hashlib
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .. import files
from ..errors import DamagedError, UsageError, from_oserror
from .arrow_cells import JSON_CELLS, KIND, PLAIN_LISTS, plain_cells, plain_type
from .csv_columns import convert_column
from .csv_dialect import Dialect, check_encoding, detect, read_mark

BYTES_IN_BATCH = 1 << 24
BYTES_IN_BLOCK = 1 << 24  # of a .csv file; no row may be longer
TEXT_SUFFIXES = (".csv", ".tsv")
MAX_CELLS_IN_BATCH = 1 << 16
MAX_NESTING = 64  # levels of lists and dicts in a row; Python's own limit is a few hundred
LINE_BY_LINE = "write one row a line, without brackets and commas around them, or convert it: jq -c '.[]' FILE"
ROWS_OF_JSON = 20_000  # that are converted at a time

CONVERSION = 3  # raised when a file is converted differently

FOLDER = ".jointembed"


class ParquetTable:
    """The columns of a Parquet file, read when they are needed.

    Args:
        source: the path, or an open file.
        name: of the table in messages.
        digest: a hash of the content.

    Raises:
        DamagedError: the file cannot be read; every method raises it too.
    """

    def __init__(self, source: Path | IO[bytes], name: str, digest: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self.name, self.digest = name, digest
        with blame_table(name):
            self._file = parquet.ParquetFile(source)
        fields = [field.with_type(plain_type(field.type)) for field in self._file.schema_arrow]
        self.schema, self.num_rows = pa.schema(fields), self._file.metadata.num_rows
        self._added: dict[str, list[Any]] = {}

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        names: list[str] = self.schema.names
        return names

    def append_column(self, name: str, chunks: list[Any]) -> ParquetTable:
        """The table with a further column, of Arrow arrays."""
        import pyarrow as pa

        table = copy.copy(self)
        table.schema = self.schema.append(pa.field(name, chunks[0].type))
        table._added = {**self._added, name: chunks}
        return table

    def column_digest(self, column: str) -> str:
        """A hash of the content of a column: that of the file, unless the column was appended."""
        if column not in self._added:
            return self.digest
        cells = json.dumps([chunk.to_pylist() for chunk in self._added[column]])
        return hashlib.sha256(cells.encode()).hexdigest()[:32]

    def batches(self, column: str) -> Iterator[Any]:
        """The Arrow arrays of a column, one after another, of a few megabytes each."""
        if column in self._added:
            yield from self._added[column]
            return
        with blame_table(self.name):
            place, groups = self.column_names.index(column), self._file.metadata
            sizes = [
                groups.row_group(group).column(leaf).total_uncompressed_size
                for group in range(groups.num_row_groups)
                for leaf in range(groups.num_columns)
                if groups.row_group(group).column(leaf).path_in_schema.split(".")[0] == self.column_names[place]
            ]
            rows = int(BYTES_IN_BATCH / (sum(sizes) / max(1, self.num_rows) + 4))
            batch_size = min(max(rows, 256), MAX_CELLS_IN_BATCH)
            for batch in self._file.iter_batches(batch_size, columns=[column], use_threads=False):
                yield plain_cells(batch.column(batch.schema.names.index(column)))

    def column(self, name: str) -> Any:
        """A column, a ChunkedArray."""
        import pyarrow as pa

        return pa.chunked_array(list(self.batches(name)), self.schema.field(name).type)


def open_table(path: Path, types: Mapping[str, str] | None = None, encoding: str | None = None) -> ParquetTable:
    """The table in a .parquet, .csv, .tsv or .jsonl file.

    Args:
        path: the file.
        types: of columns of a .csv file, which are guessed otherwise; see `csv_columns.Type`.
        encoding: of a .csv file that is not in Unicode; see `csv_dialect.detect_encoding`.

    Raises:
        UsageError: two columns have the same name, a cell is not of the type that is given, or there is no such
            encoding.
        DamagedError: the file cannot be read.
    """
    check_encoding(encoding)
    with blame_table(path):
        digest = content_digest(path)
        converters: dict[str, Callable[[Path, IO[bytes]], None]] = {
            **dict.fromkeys(TEXT_SUFFIXES, functools.partial(_convert_csv, types=types or {}, encoding=encoding)),
            ".jsonl": _convert_jsonl,
        }
        convert = converters.get(path.suffix.lower())
        if convert is not None:
            encodings = [encoding] if encoding and path.suffix.lower() in TEXT_SUFFIXES else []
            settings = json.dumps([digest, CONVERSION, types or {}, *encodings], sort_keys=True)
            digest = hashlib.sha256(settings.encode()).hexdigest()[:32]
        table = ParquetTable(path if convert is None else _convert(path, digest, convert), str(path), digest)
    check_names(path, table.column_names)
    return table


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise UsageError if two columns have the same name."""
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise UsageError(path, f"two columns have the same name, {twice}", "rename one of them")


@contextlib.contextmanager
def blame_table(path: Path | str) -> Iterator[None]:
    """Raise DamagedError for a table that Arrow cannot read."""
    import pyarrow

    try:
        yield
    except PermissionError as error:
        if failure := from_oserror(error):
            raise failure from error
        raise
    except UnicodeError as error:
        raise DamagedError(path, "its text is not UTF-8", "save it as UTF-8") from error
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(path, f"the table cannot be read ({reason})", "write the file again") from error


def content_digest(path: Path) -> str:
    """A hash of the content of a file, which is read again only if its size or one of its times has changed."""
    memo = path.parent / FOLDER / f"{path.name}.json"
    version = _version(path)
    try:
        record = json.loads(memo.read_text())
        if record["version"] == version:
            return str(record["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is no record, or it is damaged
    digest = files.sha256(path)[:32]
    # A record of a file that has just been written could hide a change within the same tick of the clock.
    if _version(path) == version and time.time_ns() - version[2] > 2_000_000_000:
        with contextlib.suppress(OSError, UsageError):  # the folder is read-only
            files.write(memo, json.dumps({"version": version, "digest": digest}))
    return digest


def _version(path: Path) -> list[int]:
    """What changes with the content of a file: unlike the time of its content, that of its inode cannot be set."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _convert(path: Path, digest: str, convert: Callable[[Path, IO[bytes]], None]) -> Path | IO[bytes]:
    """A file converted to Parquet, once for its content; in memory if nothing can be written beside it."""
    cache = path.parent / FOLDER / f"{path.name}-{digest[:16]}.parquet"
    if cache.exists():
        return cache
    try:
        files.write(cache, lambda file: convert(path, file))
    except (OSError, UsageError):  # the folder is read-only
        file = io.BytesIO()
        convert(path, file)
        return file
    for old in cache.parent.glob(f"{glob.escape(path.name)}-*.parquet"):
        if old != cache:
            old.unlink(missing_ok=True)
    return cache


def _convert_csv(path: Path, file: IO[bytes], types: Mapping[str, str], encoding: str | None) -> None:
    import pyarrow as pa
    from pyarrow import compute, parquet

    dialect = detect(path, encoding)
    table = _read_csv(path, dialect)
    # Spreadsheets write the empty columns beside, and the empty rows below, what is filled in.
    places = [at for at, name in enumerate(dialect.header) if name or table.column(at).null_count < len(table)]
    names = [dialect.header[at] for at in places]
    check_names(path, names)
    types = {"id": "text", **types}  # ids stay as they are written
    columns = [
        convert_column(table.column(at), types.get(name), path, name) for at, name in zip(places, names, strict=True)
    ]
    table = pa.Table.from_arrays(columns, names)
    if len(columns) > 1:
        filled = functools.reduce(compute.or_, map(compute.is_valid, columns))
        rows = np.flatnonzero(filled)
        table = table.slice(0, rows[-1] + 1 if len(rows) else 0)
    parquet.write_table(table, file)


def _read_csv(path: Path, dialect: Dialect, use_threads: bool = True) -> Any:
    """The cells of a .csv file as text, null where they are empty."""
    import pyarrow as pa
    from pyarrow import csv

    encoding = "utf8" if dialect.encoding.startswith("utf-8") else dialect.encoding  # Arrow skips the mark of UTF-8
    try:
        return csv.read_csv(
            path,
            csv.ReadOptions(
                use_threads=use_threads, block_size=BYTES_IN_BLOCK, skip_rows=dialect.skip_lines, encoding=encoding
            ),
            csv.ParseOptions(
                delimiter=dialect.delimiter, quote_char=dialect.is_quoted and '"', newlines_in_values=dialect.is_quoted
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(dialect.header, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if use_threads:
            return _read_csv(path, dialect, use_threads=False)  # only then its message has the number of the row
        reason = " ".join(str(error).removeprefix("CSV parse error: ").split())[:200]
        fix = "correct it; a cell with the delimiter or a line break stands in double quotes"
        raise DamagedError(path, f"a row cannot be read ({reason})", fix) from error


def _convert_jsonl(path: Path, file: IO[bytes]) -> None:
    """Convert rows in two passes, because the last row may have a column, or a type of cell, that no other has.

    Cells of one type become an Arrow column; a column of mixed or nested cells is stored as the text of JSON.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kinds: dict[str, str] = {}
    for rows in _read_jsonl(path):
        for name in dict.fromkeys(name for row in rows for name in row):
            if name not in kinds and not _is_unicode(name):
                raise UsageError(f"{path}, column {name!a}", "half a character is in its name", "rename the column")
            kinds[name] = functools.reduce(_common_kind, {_kind(row.get(name)) for row in rows}, kinds.get(name, ""))
    types = {
        "": pa.null(), "text": pa.string(), "integer": pa.int64(), "float": pa.float64(), "truth": pa.bool_(),
        "list": pa.list_(pa.null()), "list of text": pa.list_(pa.string()), "list of integer": pa.list_(pa.int64()),
        "list of float": pa.list_(pa.float64()), "json": pa.string(),
    }  # fmt: skip
    marks = {"json": JSON_CELLS, "list of integer": PLAIN_LISTS, "list of float": PLAIN_LISTS}
    schema = pa.schema(
        [pa.field(name, types[kind], metadata={KIND: marks.get(kind, b"")}) for name, kind in kinds.items()]
    )
    with parquet.ParquetWriter(file, schema) as writer:
        for rows in _read_jsonl(path) if kinds else ():
            columns = []
            for name, kind in kinds.items():
                cells = [row.get(name) for row in rows]
                if kind == "json":
                    cells = [None if cell is None else json.dumps(cell) for cell in cells]
                columns.append(pa.array(cells, types[kind]))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _read_jsonl(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a .jsonl file, some thousands at a time."""
    rows: list[dict[str, Any]] = []
    with open(path, encoding=read_mark(path) or "utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_to_dict)
                is_deep = line.count("[") + line.count("{") > MAX_NESTING and _is_deep(row)
            except _DoubledKeyError as error:
                wrong = f"the key {error.args[0]!a} is there twice"
                raise DamagedError(f"{path}, line {number}", wrong, "leave one of the two out") from None
            except ValueError as error:
                if number == 1 and line.lstrip().startswith("["):
                    raise DamagedError(path, "it is one JSON array", LINE_BY_LINE) from error
                raise DamagedError(f"{path}, line {number}", "it is not JSON", "correct the line") from error
            except RecursionError:
                is_deep = True
            if is_deep:
                wrong = f"a cell is nested more than {MAX_NESTING} levels deep"
                raise DamagedError(f"{path}, line {number}", wrong, "flatten it, or write it as text")
            if number == 1 and isinstance(row, list):
                raise DamagedError(path, "it is one JSON array", LINE_BY_LINE)
            if not isinstance(row, dict):
                raise DamagedError(f"{path}, line {number}", "it is not a row", 'write {"column": value, ...}')
            rows.append(row)
            if len(rows) == ROWS_OF_JSON:
                yield rows
                rows = []
    if rows:
        yield rows


class _DoubledKeyError(ValueError):
    """An object has a key twice, and a reader of JSON would keep the last one."""


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _DoubledKeyError(next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at])))
    return row


def _is_deep(value: Any) -> bool:
    """Whether lists and dicts are nested more than `MAX_NESTING` levels deep."""
    level, depth = [value], 0
    while level and depth <= MAX_NESTING:
        nested = [part for part in level if isinstance(part, list | dict)]
        level = [inner for part in nested for inner in (part.values() if isinstance(part, dict) else part)]
        depth += bool(nested)
    return depth > MAX_NESTING


def _kind(cell: Any) -> str:
    """The kind of column that holds a cell of JSON as it is."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return "text" if cell.isascii() or _is_unicode(cell) else "json"
    if isinstance(cell, bool):
        return "truth"
    if isinstance(cell, int):
        return "integer" if -(2**63) <= cell < 2**63 else "json"
    if isinstance(cell, float):
        return "float"
    if isinstance(cell, list):
        kinds = set(map(_kind, cell)) - {""}
        if not kinds or kinds == {"text"}:
            return "list of text" if kinds else "list"
        if (
            len(kinds) == 1
            and kinds <= {"integer", "float"}
            and all(number is None or math.isfinite(number) for number in cell)
        ):
            return f"list of {kinds.pop()}"
    return "json"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _common_kind(first: str, second: str) -> str:
    """The kind of column that holds the cells of two kinds."""
    narrow, wide = sorted((first, second), key=len)
    return wide if narrow == wide or not narrow or (narrow == "list" and wide.startswith("list of")) else "json"
