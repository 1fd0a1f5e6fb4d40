"""The columns of an Arrow table, fitted and encoded by their distinct elements, and kept on disk beside it."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import values
from ..config import to_config
from ..readers import Reader
from ..readers.elements import ElementReader
from ..readers.matrix import MatrixReader
from ..readers.numbers import HUGE
from .arrow_cells import is_list, is_number
from .cache_use import mark
from .column_store import ArrayWriter, ColumnStore, code_hash
from .distinct_column import DistinctColumn, hash_rows, write_distinct
from .encoded_column import EncodedColumn
from .rows import Rows
from .table_file import FOLDER

# B rows, U distinct elements

Array = NDArray[Any]
Ints = NDArray[np.int64]

ELEMENTS_IN_BATCH = 50_000
ROWS_WITH_PROGRESS = 500_000  # a column of fewer rows takes a few seconds


class EncodedTable:
    """The columns of a table that can be encoded without a Python object for each cell.

    These are columns of an `ElementReader`, and of numbers for a `MatrixReader`.

    What is computed depends on the content of the table, on the settings and the vocabulary of the reader, and on its
    code, and is used again as long as these stay. Columns of other types and readers are read cell by cell.

    Args:
        rows: the table.
        folder: of the caches; a table that does not come from a file has a temporary one.
    """

    def __init__(self, rows: Rows, folder: Path) -> None:
        self.rows, self.folder = rows, folder

    @cached_property
    def store(self) -> ColumnStore:
        """The arrays of this table; those of its earlier content are removed."""
        folder, digest, name = self.folder, self.rows.digest, Path(self.rows.name).name
        if digest is None:
            folder = Path(tempfile.mkdtemp(prefix="jointembed-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        store = ColumnStore(folder / "columns" / f"{name}-{digest}")
        if digest and self.rows.root and folder == self.rows.root / FOLDER:
            for old in store.folder.parent.glob(f"{glob.escape(name)}-{'[0-9a-f]' * len(digest)}"):
                if old != store.folder:
                    shutil.rmtree(old, ignore_errors=True)
                    mark(old).unlink(missing_ok=True)
        return store

    def supports(self, column: str, reader: Reader) -> bool:
        """Whether a column, or the columns that a reader names, can be fitted and encoded for it."""
        if reader.reads_matrix():
            return all(self.rows.has_numbers(name) for name in reader.columns or [column])
        if reader.columns or not reader.reads_elements() or not self.has_keys(column):
            return False
        type = self.rows.field(column).type
        # A list of numbers is a single element unless the reader says otherwise.
        return cast(ElementReader, reader).splits_numbers or not (is_list(type) and is_number(type.value_type))

    def has_keys(self, column: str) -> bool:
        """Whether `keys` can give the keys of a column."""
        return self.rows.has_elements(column)

    def keys(self, column: str) -> EncodedColumn:
        """The keys of a column; see `Ragged.keys_only`."""
        return EncodedColumn(self._distinct(column).entry, None)

    def keys_at(self, column: str, rows: Ints, whole: bool) -> tuple[Ints, Ints]:
        """The place of the row and the key of each element of a column in some rows; see `TableData.keys_at`."""
        distinct = self._distinct(column)
        counts, codes, row_keys = distinct.gather(rows)
        type = self.rows.field(column).type
        if whole or (is_list(type) and is_number(type.value_type)):
            places = np.flatnonzero(counts)
            return places, row_keys[places]
        return np.repeat(np.arange(len(rows)), counts), distinct.keys[codes]

    def counts(self, column: str, weights: Ints) -> tuple[Any, Ints]:
        """The distinct elements of a column, an Arrow array (U,), and how often each occurs; see `DistinctColumn`."""
        distinct = self._distinct(column)
        return distinct.elements(), distinct.counts(weights)

    def matrix(self, columns: Sequence[str]) -> tuple[Array, Array]:
        """Columns as numbers (B, C), unusable ones as NaN, and whether all cells of a row are missing (B,)."""
        numbers = np.stack([self.rows.numbers(column)[0] for column in columns], axis=1)
        missing = np.logical_and.reduce(np.isnan(numbers), axis=1)
        numbers[~(np.abs(numbers) < HUGE)] = np.nan  # see `to_float`
        return numbers, missing

    def encode(self, column: str, reader: Reader) -> EncodedColumn:
        """A column, or the columns that a reader names, as `reader.encode` gives it."""
        if reader.reads_matrix():
            return self._encode_matrix(column, cast(MatrixReader, reader))
        return self._encode_elements(column, cast(ElementReader, reader))

    def _encode_matrix(self, column: str, reader: MatrixReader) -> EncodedColumn:
        names = reader.columns or (column,)
        key = {
            "matrix": [self.distinct_key(name) for name in names],
            "reader": _describe(reader),
            "state": _hash(json.dumps(reader.state()).encode()),
        }

        def compute(writer: ArrayWriter) -> Mapping[str, Any]:
            numbers, missing = self.matrix(names)
            numbers, missing = np.vstack([numbers, np.full(len(names), np.nan)]), np.append(missing, True)
            row_keys = self._row_keys(reader.columns) if reader.columns else self._scalar_keys(column)
            present = ~missing & reader.has_piece(numbers)
            writer.append("row_keys", row_keys)
            writer.append("present", present)
            pieces, sizes = reader.encode_matrix(numbers)
            writer.append("values", pieces if sizes is None else pieces.astype(np.int32))
            if sizes is not None:
                writer.append("offsets", np.append(0, np.cumsum(sizes)))
            return {}

        entry = self.store.get(key, compute)
        return EncodedColumn(entry, entry)

    def _scalar_keys(self, column: str) -> Ints:
        """The keys of scalar cells, and of a missing cell after them (B + 1,)."""
        return self._distinct(column).gather(np.arange(len(self.rows) + 1))[2]

    def _row_keys(self, columns: Sequence[str]) -> Ints:
        """The keys of rows as dicts of these columns without missing cells (B + 1,); see `values.key`."""
        names = sorted(set(columns))
        keys = np.stack([self._scalar_keys(name) for name in names], axis=1)
        counts = np.stack([self._distinct(name).codes >= 0 for name in names], axis=1)
        row_keys = -1 - np.arange(len(keys))
        pairs = np.empty((*keys.shape, 2), np.int64)
        pairs[:, :, 0], pairs[:, :, 1] = values.keys(names), keys
        for pattern in np.unique(counts, axis=0):
            if pattern.any():
                rows = np.flatnonzero((counts == pattern).all(1))
                row_keys[rows] = hash_rows(b"d", pairs[rows][:, pattern])
        return row_keys

    def _encode_elements(self, column: str, reader: ElementReader) -> EncodedColumn:
        distinct = self._distinct(column)
        key = {
            "tokens of": self.distinct_key(column),
            "reader": _describe(reader),
            "state": _hash(json.dumps(reader.state()).encode()),
        }

        def compute(writer: ArrayWriter) -> Mapping[str, Any]:
            import pyarrow as pa

            elements, used = distinct.elements(), distinct.entry.array("used")
            starts = range(0, len(elements), ELEMENTS_IN_BATCH)
            total = 0
            for start in _track(starts, f"Encoding {column}", len(elements)):
                flags = used[start : start + ELEMENTS_IN_BATCH]
                part = elements.slice(start, len(flags)).filter(pa.array(flags)).to_pylist()
                ids, sizes = reader.tokens(part)
                tokens = np.array(ids, np.int32)
                if sizes is None:
                    ids_of_all = np.full(len(flags), reader.size, np.int32)
                    ids_of_all[flags] = tokens
                    writer.append("values", ids_of_all)
                    continue
                lengths = np.zeros(len(flags), np.int64)
                lengths[flags] = sizes
                if not start:
                    writer.append("offsets", np.zeros(1, np.int64))
                writer.append("values", tokens)
                writer.append("offsets", total + np.cumsum(lengths))
                total += len(tokens)
            return {}

        return EncodedColumn(distinct.entry, self.store.get(key, compute))

    def distinct_key(self, column: str) -> dict[str, Any]:
        """What decides the distinct elements of a column."""
        return {"column": column, "rows": self.rows.column_digest(column), "code": code_hash(DistinctColumn)}

    def _distinct(self, column: str) -> DistinctColumn:

        def compute(writer: ArrayWriter) -> Mapping[str, Any]:
            batches = _track(self.rows.batches(column), f"Reading {column}", len(self.rows), True)
            return write_distinct(batches, writer)

        return DistinctColumn(self.store.get(self.distinct_key(column), compute))


def fit_elements(reader: ElementReader, columns: Sequence[tuple[EncodedTable, str, Ints]]) -> None:
    """Fit a reader on columns of tables, or restore what it learned from them before.

    Args:
        reader: the reader.
        columns: for each column its table, its name, and how often each row counts (B,).
    """
    key = {
        "fit on": [
            [table.store.folder.name, table.distinct_key(column), _hash(weights.tobytes())]
            for table, column, weights in columns
        ],
        "reader": _describe(reader),
    }

    def compute(writer: ArrayWriter) -> Mapping[str, Any]:
        counted = [table.counts(column, weights) for table, column, weights in columns]
        reader.fit_counts(
            itertools.chain.from_iterable(_iterate(elements, counts) for elements, counts in counted),
            itertools.chain.from_iterable(counts[counts > 0].tolist() for _, counts in counted),
        )
        writer.append_text("state", json.dumps(reader.state()))
        return {}

    reader.restore(json.loads(columns[0][0].store.get(key, compute).text("state")))


def fit_matrix(reader: MatrixReader, columns: Sequence[tuple[EncodedTable, str, Ints]]) -> None:
    """Fit a reader on columns of numbers; see `fit_elements`.

    Args:
        reader: the reader.
        columns: for each column its table, its name, and the numbers of the training rows (N,) in their order.
    """
    parts = []
    for table, column, rows in columns:
        numbers, missing = table.matrix(reader.columns or [column])
        rows = rows[rows < len(numbers)]
        parts.append(numbers[rows[~missing[rows]]])
    reader.fit_matrix(np.concatenate(parts))


def _iterate(elements: Any, counts: Ints) -> Iterator[Any]:
    """The elements (U,) that occur, as Python objects."""
    import pyarrow as pa

    for start in range(0, len(elements), ELEMENTS_IN_BATCH):
        flags = pa.array(counts[start : start + ELEMENTS_IN_BATCH] > 0)
        yield from elements.slice(start, len(flags)).filter(flags).to_pylist()


def _describe(reader: Reader) -> list[Any]:
    """What decides the result of a reader besides its state."""
    return [to_config(reader), code_hash(type(reader))]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _track(parts: Iterable[Any], title: str, rows: int, sizes: bool = False) -> Iterator[Any]:
    """The parts of a table of many rows with a progress bar, which counts them, or with `sizes` their rows."""
    if rows < ROWS_WITH_PROGRESS:
        yield from parts
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=rows)
        for part in parts:
            yield part
            progress.advance(task, len(part) if sizes else ELEMENTS_IN_BATCH)
