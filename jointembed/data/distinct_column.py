"""A column of an Arrow table as its distinct elements, without a Python object for each cell."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import values
from .arrow_cells import is_list, is_number, split_cells
from .column_store import ArrayWriter, Entry

# B cells, P elements in all of them, U distinct elements

Array = NDArray[Any]
Ints = NDArray[np.int64]

ELEMENTS = "elements.arrow"
ELEMENTS_IN_BLOCK = 1 << 20


class DistinctColumn:
    """A column of B cells as numbers of its U distinct elements.

    Args:
        entry: what `write_distinct` wrote.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.starts = entry.array("starts")  # (B + 2,) where each cell begins, and a missing cell after the last
        self.codes = entry.array("codes")  # (P,) int32, the number of each element
        self.row_keys = entry.array("row_keys")  # (B + 1,) the key of each cell, and of the missing cell
        self.keys = entry.array("keys")  # (U,) the key of each distinct element
        self.multiple = bool(entry.about["multiple"])  # a cell has several elements

    def __len__(self) -> int:
        return len(self.row_keys) - 1

    def elements(self) -> Any:
        """The distinct elements, an Arrow array (U,)."""
        import pyarrow as pa

        with pa.ipc.open_stream(self.entry.array(ELEMENTS).data) as reader:
            return reader.read_all().column(0).combine_chunks()

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of cells with about a million elements each."""
        count, first = len(self), 0
        while first < count:
            limit = int(self.starts[first]) + ELEMENTS_IN_BLOCK
            last = int(np.searchsorted(self.starts[: count + 1], limit, "right")) - 1
            last = min(max(last, first + 1), first + ELEMENTS_IN_BLOCK, count)
            yield first, last
            first = last

    def counts(self, weights: Ints) -> Ints:
        """How often each distinct element occurs (U,), where the cell at row b occurs `weights[b]` times (B,)."""
        total = np.zeros(len(self.keys), np.int64)
        for first, last in self.blocks():
            starts = np.asarray(self.starts[first : last + 1])
            codes = self.codes[starts[0] : starts[-1]]
            repeats = np.repeat(weights[first:last], np.diff(starts))
            if repeats.max(initial=0) <= 1:
                total += np.bincount(codes[repeats > 0], minlength=len(total))
            else:
                total += np.bincount(codes, repeats, len(total)).astype(np.int64)  # exact up to 2**53
        return total


def write_distinct(batches: Iterable[Any], keeps_missing: bool, writer: ArrayWriter) -> Mapping[str, Any]:
    """Write the arrays of a `DistinctColumn`.

    Args:
        batches: the Arrow arrays of the column, one after another; see `has_elements`.
        keeps_missing: a missing element of a list that is not missing is an element too.
        writer: of the arrays.
    """
    import pyarrow as pa

    dictionaries: list[Any] = []
    shapes: list[tuple[int, Ints | None]] = []  # elements of each batch, and the number in each cell
    type = None
    with tempfile.TemporaryFile(dir=writer.folder) as local_codes:
        for cells in batches:
            elements, counts = split_cells(cells)
            encoded = elements.dictionary_encode(null_encoding="encode")
            type = cells.type if type is None else type
            dictionaries.append(encoded.dictionary)
            local_codes.write(encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32).data)
            shapes.append((len(elements), None if counts is None else counts.astype(np.int32)))
        merged = pa.concat_arrays(dictionaries).dictionary_encode(null_encoding="encode")
        numbers = merged.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        sizes = [len(dictionary) for dictionary in dictionaries]
        del dictionaries
        elements = merged.dictionary
        _write_elements(elements, writer)
        cells_writer = _CellsWriter(elements, type, keeps_missing, writer)
        local_codes.seek(0)
        for (count, counts), global_codes in zip(shapes, np.split(numbers, np.cumsum(sizes)[:-1]), strict=True):
            codes = global_codes[_read_codes(local_codes, count)]
            cells_writer.append(codes, counts)
    return cells_writer.close()


def _read_codes(file: IO[bytes], count: int) -> Array:
    return np.frombuffer(file.read(4 * count), np.int32)


def _write_elements(elements: Any, writer: ArrayWriter) -> None:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = pa.table({"element": elements})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    writer.append(ELEMENTS, np.frombuffer(sink.getvalue(), np.uint8))


class _CellsWriter:
    """Writes the codes, the starts and the keys of cells, batch by batch."""

    def __init__(self, elements: Any, type: Any, keeps_missing: bool, writer: ArrayWriter) -> None:
        self.writer, self.keeps_missing, self.in_list = writer, keeps_missing, is_list(type)
        self.numeric = self.in_list and is_number(elements.type)
        self.missing, self.keys = _describe(elements)
        if self.numeric:  # a list of numbers is an array, which is missing only if it is empty
            self.missing[:] = False
            self.numbers = elements.to_numpy(zero_copy_only=False)
        self.used = np.zeros(len(elements), bool)
        self.rows, self.pieces, self.multiple = 0, 0, False
        writer.append("keys", self.keys)
        writer.append("starts", np.zeros(1, np.int64))

    def append(self, codes: Array, counts: Array | None) -> None:
        """Append cells, by the numbers of their elements (P,) and, of lists, their sizes (B,)."""
        present = ~self.missing[codes]
        sizes = np.ones(len(codes), np.int64) if counts is None else counts.astype(np.int64)
        ends = np.cumsum(sizes)
        filled = present if counts is None else _count(present, ends) > 0
        row_keys = np.where(filled, 0, -1 - np.arange(self.rows, self.rows + len(sizes)))
        single = filled & (sizes == 1)
        row_keys[single] = self.keys[codes[ends[single] - 1]]
        for size in np.unique(sizes[filled & (sizes > 1)]).tolist():
            places = np.flatnonzero(filled & (sizes == size))
            matrix = codes[(ends[places] - size)[:, None] + np.arange(size)]
            row_keys[places] = self._list_keys(matrix)
        flags = np.repeat(filled, sizes)
        if not (self.keeps_missing or self.numeric):
            flags &= present
        lengths = flags.astype(np.int64) if counts is None else _count(flags, ends)
        codes = codes[flags]
        self.used[codes] = True
        self.multiple |= bool(lengths.max(initial=0) > 1)
        self.writer.append("codes", codes.astype(np.int32, copy=False))
        self.writer.append("starts", self.pieces + np.cumsum(lengths))
        self.writer.append("row_keys", row_keys)
        self.rows, self.pieces = self.rows + len(sizes), self.pieces + len(codes)

    def _list_keys(self, codes: Array) -> Ints:
        """The keys of lists of one size, codes (N, size); see `values.key`."""
        if not self.numeric:
            return hash_rows(b"l", self.keys[codes])
        cells = np.add(self.numbers[codes], 0.0, dtype="<f8")  # the sum turns -0.0, which equals 0.0, into it
        keys = hash_rows(b"a" + repr(codes.shape[1:]).encode(), cells)
        if self.numbers.dtype.kind in "iu":
            for row in np.flatnonzero(np.abs(cells).max(1) > values.MAX_EXACT_FLOAT).tolist():
                keys[row] = values.key(self.numbers[codes[row]])
        return keys

    def close(self) -> Mapping[str, Any]:
        """Add a missing cell at the end."""
        self.writer.append("starts", np.array([self.pieces]))
        self.writer.append("row_keys", np.array([-1 - self.rows]))
        self.writer.append("used", self.used)
        return {"multiple": self.multiple}


def _count(flags: Array, ends: Ints) -> Ints:
    """The flags (P,) that are set in each of the cells (B,) that end there."""
    total = np.concatenate([[0], np.cumsum(flags)])
    return np.diff(total[ends], prepend=0)


def _describe(elements: Any) -> tuple[Array, Ints]:
    """Whether each element is missing, and its key, (U,) each."""
    missing, keys = np.zeros(len(elements), bool), np.zeros(len(elements), np.int64)
    for first in range(0, len(elements), ELEMENTS_IN_BLOCK):
        part = elements[first : first + ELEMENTS_IN_BLOCK].to_pylist()
        missing[first : first + len(part)] = [values.missing(element) for element in part]
        keys[first : first + len(part)] = [values.key(element) for element in part]
    return missing, keys


def hash_rows(prefix: bytes, rows: Array) -> Ints:
    """The 64-bit BLAKE2b keys (N,) of the bytes of each row of an array (N, W), after a prefix."""
    content = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    width = len(prefix) + content.shape[1]
    padded = np.empty((len(rows), width), np.uint8)
    padded[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    padded[:, len(prefix) :] = content
    view = padded.reshape(-1).data
    digests = [blake2b(view[at : at + width], digest_size=8).digest() for at in range(0, width * len(rows), width)]
    return np.frombuffer(b"".join(digests), "<i8").astype(np.int64)
