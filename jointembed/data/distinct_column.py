"""A column of an Arrow table as its distinct elements, without a Python object for each cell."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import values
from ..ragged import ranges
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
        self.codes = entry.array("codes")  # int32: (P,) of each element, or (B + 1,) of each scalar cell, -1 if missing
        self.keys = entry.array("keys")  # (U,) the key of each distinct element
        self.in_lists = bool(entry.about["in_lists"])
        self.multiple = bool(entry.about["multiple"])  # a cell has several elements
        if self.in_lists:
            self.starts = entry.array("starts")  # (B + 2,) where each cell begins, and a missing cell after the last
            self.row_keys = entry.array("row_keys")  # (B + 1,) the key of each cell, and of the missing cell

    def __len__(self) -> int:
        return len(self.row_keys if self.in_lists else self.codes) - 1

    def gather(self, rows: Ints) -> tuple[Ints, Array, Ints]:
        """The number of elements in each of the cells `rows` (n,), the codes of all these, and the keys of the cells.

        Cell B is a missing cell.
        """
        if not self.in_lists:
            codes = self.codes[rows]
            present = codes >= 0
            return present.astype(np.int64), codes[present], np.where(present, self.keys[codes], -1 - rows)
        first = self.starts[rows]
        counts = self.starts[rows + 1] - first
        places = ranges(torch.from_numpy(first), torch.from_numpy(counts))
        return counts, self.codes[places.numpy()], self.row_keys[rows]

    def elements(self) -> Any:
        """The distinct elements, an Arrow array (U,)."""
        import pyarrow as pa

        with pa.ipc.open_stream(self.entry.array(ELEMENTS).data) as reader:
            return reader.read_all().column(0).combine_chunks()

    def counts(self, weights: Ints) -> Ints:
        """How often each distinct element occurs (U,), where the cell at row b occurs `weights[b]` times (B,)."""
        total = np.zeros(len(self.keys), np.int64)
        starts = self.entry.read("starts", 0, len(self) + 1) if self.in_lists else np.arange(len(self) + 1)
        first = 0
        while first < len(self):
            last = int(np.searchsorted(starts, starts[first] + ELEMENTS_IN_BLOCK, "right")) - 1
            last = min(max(last, first + 1), first + ELEMENTS_IN_BLOCK, len(self))
            # The file is read, not mapped, so that its pages do not count as memory of the process.
            codes = self.entry.read("codes", starts[first], starts[last])
            repeats = np.repeat(weights[first:last], np.diff(starts[first : last + 1]))
            occurs = (repeats > 0) & (codes >= 0)
            if repeats.max(initial=0) <= 1:
                total += np.bincount(codes[occurs], minlength=len(total))
            else:  # exact up to 2**53
                total += np.bincount(codes[occurs], repeats[occurs], len(total)).astype(np.int64)
            first = last
        return total


def write_distinct(batches: Iterable[Any], writer: ArrayWriter) -> Mapping[str, Any]:
    """Write the arrays of a `DistinctColumn`.

    Args:
        batches: the Arrow arrays of the column, one after another; see `has_elements`.
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
        cells_writer = (_ListsWriter if is_list(type) else _ScalarsWriter)(elements, writer)
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


class _ScalarsWriter:
    """Writes the codes of scalar cells, batch by batch."""

    def __init__(self, elements: Any, writer: ArrayWriter) -> None:
        self.writer = writer
        self.missing, keys = _describe(elements)
        writer.append("keys", keys)
        writer.append("used", ~self.missing)

    def append(self, codes: Array, counts: Array | None) -> None:
        """Append the cells of some elements (B,)."""
        self.writer.append("codes", np.where(self.missing[codes], np.int32(-1), codes))

    def close(self) -> Mapping[str, Any]:
        """Add a missing cell at the end."""
        self.writer.append("codes", np.array([-1], np.int32))
        return {"in_lists": False, "multiple": False}


class _ListsWriter:
    """Writes the codes, the starts and the keys of lists without their missing elements, batch by batch."""

    def __init__(self, elements: Any, writer: ArrayWriter) -> None:
        self.writer, self.numeric = writer, is_number(elements.type)
        self.missing, self.keys = _describe(elements)
        if self.numeric:
            self.numbers = elements.fill_null(0).to_numpy(
                zero_copy_only=False
            )  # a null would turn integers into floats
        self.used = np.zeros(len(elements), bool)
        self.rows, self.pieces, self.multiple = 0, 0, False
        writer.append("keys", self.keys)
        writer.append("starts", np.zeros(1, np.int64))

    def append(self, codes: Array, counts: Array | None) -> None:
        """Append lists, by the codes of their elements (P,) and the number in each (B,)."""
        assert counts is not None
        sizes = counts.astype(np.int64)
        if self.missing.any():
            present = ~self.missing[codes]
            sizes, codes = _count(present, np.cumsum(sizes)), codes[present]
        ends, filled = np.cumsum(sizes), sizes > 0
        row_keys = np.where(filled, 0, -1 - np.arange(self.rows, self.rows + len(sizes)))
        single = sizes == 1
        row_keys[single] = self.keys[codes[ends[single] - 1]]
        for size in np.unique(sizes[sizes > 1]).tolist():
            places = np.flatnonzero(sizes == size)
            matrix = codes[(ends[places] - size)[:, None] + np.arange(size)]
            row_keys[places] = self._list_keys(matrix)
        self.used[codes] = True
        self.multiple |= bool(sizes.max(initial=0) > 1)
        self.writer.append("codes", codes)
        self.writer.append("starts", self.pieces + ends)
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
        return {"in_lists": True, "multiple": self.multiple}


def _count(flags: Array, ends: Ints) -> Ints:
    """The flags (P,) that are set in each of the cells (B,) that end there."""
    total = np.concatenate([[0], np.cumsum(flags)])
    return np.diff(total[ends], prepend=0)


def _describe(elements: Any) -> tuple[Array, Ints]:
    """Whether each element is missing, and its key, (U,) each."""
    missing, keys = np.zeros(len(elements), bool), np.zeros(len(elements), np.int64)
    for first in range(0, len(elements), ELEMENTS_IN_BLOCK):
        part = elements.slice(first, ELEMENTS_IN_BLOCK).to_pylist()
        # An element is a text, a number, a truth or a date, so these are the missing ones; see `values.missing`.
        missing[first : first + len(part)] = [
            element is None or element == "" or element != element for element in part
        ]
        keys[first : first + len(part)] = values.keys(part)
    return missing, keys


def hash_rows(prefix: bytes, rows: Array) -> Ints:
    """The 64-bit BLAKE2b keys (N,) of the bytes of each row of an array (N, W), after a prefix."""
    content = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    width = len(prefix) + content.shape[1]
    padded = np.empty((len(rows), width), np.uint8)
    padded[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    padded[:, len(prefix) :] = content
    view = padded.reshape(-1).data
    return values.hash_all(view[at : at + width] for at in range(0, width * len(rows), width))
