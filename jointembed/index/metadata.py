"""The metadata of one version by column, and which rows meet a condition.

Letters: R rows, K distinct cells of a column, E elements of these cells.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends.base import Backend, Keys
from .where import Comparison, Condition, check_types

Bools = npt.NDArray[np.bool_]

MAX_BYTES = 128 << 20
_OBJECT_BYTES = 100  # of a distinct cell, beside its text


class CellColumn:
    """A column of all rows.

    Args:
        cells: K distinct cells.
        codes: (R,) the position of each row's cell among them.
        size: bytes, about.
    """

    def __init__(self, cells: list[Any], codes: npt.NDArray[np.int32], size: int) -> None:
        self.cells, self.codes, self.size = cells, codes, size

    @classmethod
    def parse(cls, texts: Iterable[str]) -> CellColumn:
        """The column of cells that come as JSON lists."""
        distinct: dict[str, int] = {}
        codes = np.fromiter((distinct.setdefault(text, len(distinct)) for text in texts), np.int32)
        size = 8 * len(codes) + sum(_OBJECT_BYTES + 2 * len(text) for text in distinct)
        return cls([json.loads(text)[0] for text in distinct], codes, size)

    def values(self) -> list[Any]:
        """The cells (R,)."""
        return [self.cells[code] for code in self.codes.tolist()]

    def meets(self, test: Comparison) -> Bools:
        """Which rows (R,) have a cell, or an element of it, that passes a test."""
        if test.op == "exists":
            return np.array([cell is not None for cell in self.cells], bool)[self.codes]
        met = np.zeros(len(self.cells), bool)
        for value in test.values:
            if isinstance(value, bool):
                met[[owner for owner, element in self._elements if element is value]] = True
            elif isinstance(value, str):
                if test.op == "like":
                    matches = _like(value)
                    owners = [
                        owner for owner, element in self._elements if isinstance(element, str) and matches(element)
                    ]
                    met[owners] = True
                else:
                    texts, positions = self._texts
                    met[positions[_matching_range(texts, value.encode(), test.op)]] = True
            else:
                numbers, positions = self._numbers
                met[positions[_matching_range(numbers, value, test.op)]] = True
        return met[self.codes]

    @cached_property
    def types(self) -> set[type]:
        """The types of the elements, where `float` stands for any number."""
        return {
            float if type(element) is int else type(element) for _, element in self._elements if element is not None
        }

    @cached_property
    def _elements(self) -> list[tuple[int, Any]]:
        """(owner, element) of all cells; a cell that is not a list is its own element."""
        return [
            (owner, element)
            for owner, cell in enumerate(self.cells)
            for element in (cell if isinstance(cell, list) else [cell])
        ]

    @cached_property
    def _numbers(self) -> tuple[list[float], npt.NDArray[np.intp]]:
        """The numbers among the elements, ascending, and their owners."""
        return _sort_by_value((element, owner) for owner, element in self._elements if type(element) in (int, float))

    @cached_property
    def _texts(self) -> tuple[list[bytes], npt.NDArray[np.intp]]:
        """The texts among the elements as UTF-8, ascending, and their owners."""
        return _sort_by_value((_utf8(element), owner) for owner, element in self._elements if isinstance(element, str))


class Metadata:
    """The columns of one version, each loaded when it is first used; see `Snapshot`.

    Args:
        backend: the store of the index.
        max_bytes: about what the columns that stay in memory may take.
    """

    def __init__(self, backend: Backend, max_bytes: int = MAX_BYTES) -> None:
        self._backend, self._max_bytes = backend, max_bytes
        self._columns: dict[str, CellColumn] = {}  # the last one used is last
        self._lock = threading.RLock()

    @cached_property
    def keys(self) -> Keys:
        """The keys of all rows (R,), ascending."""
        with self._backend.read() as view:
            return view.keys()

    @property
    def count(self) -> int:
        """R."""
        with self._backend.read() as view:
            return view.count()

    def column(self, name: str) -> CellColumn:
        """The cells of a column; None where a row has none."""
        with self._lock:
            if (column := self._columns.pop(name, None)) is None:
                with self._backend.read() as view:
                    column = CellColumn.parse(view.cells([name]))
            self._columns[name] = column
            while len(self._columns) > 1 and sum(loaded.size for loaded in self._columns.values()) > self._max_bytes:
                del self._columns[next(iter(self._columns))]
            return column

    def values(self, name: str, keys: Keys) -> list[Any]:
        """The cells of a column of the rows of some keys."""
        column = self.column(name)
        return [column.cells[code] for code in column.codes[np.searchsorted(self.keys, keys)].tolist()]

    def first_values(self, name: str, keys: Keys, count: int) -> list[Any]:
        """The cells of a column of those among the first rows that have some keys; the column is not loaded."""
        with self._backend.read() as view:
            texts = list(islice(view.cells([name]), count))
        has_key = np.isin(self.keys[: len(texts)], keys)
        return [json.loads(text)[0] for text, is_in in zip(texts, has_key, strict=True) if is_in]

    def coded(self, name: str, keys: Keys | None) -> tuple[list[Any], npt.NDArray[np.int32]]:
        """The distinct cells of a column, and for each row of some keys, or of all, the position of its cell."""
        column = self.column(name)
        codes = column.codes if keys is None else column.codes[np.searchsorted(self.keys, keys)]
        return column.cells, codes

    def matching_keys(self, condition: Condition) -> Keys:
        """The keys of the rows that meet a condition, ascending; see `check_types` for what is refused."""
        return self.keys[self._evaluate(condition)]

    def group_codes(self, name: str, keys: Keys) -> Keys:
        """For each row of some keys a code: equal where the cells are, and different for each row without a cell.

        Case is ignored, and how an accent is written. A list counts by its first element, as that of the artists of
        a song.
        """
        column = self.column(name)
        codes: dict[object, int] = {}
        of_cell = np.empty(len(column.cells), np.int64)
        for position, cell in enumerate(column.cells):
            cell = cell[0] if isinstance(cell, list) and cell else cell
            key = json.dumps(cell) if isinstance(cell, list | dict) else cell
            key = unicodedata.normalize("NFKC", key).casefold() if isinstance(key, str) else key
            of_cell[position] = -1 if key is None else codes.setdefault(key, len(codes))
        code_of_row = of_cell[column.codes[np.searchsorted(self.keys, keys)]]
        return np.where(code_of_row < 0, -1 - np.arange(len(keys)), code_of_row)

    def _evaluate(self, condition: Condition) -> Bools:
        if isinstance(condition, Comparison):
            column = self.column(condition.name)
            check_types(condition, column.types)
            return column.meets(condition)
        met = self._evaluate(condition.parts[0])
        if condition.op == "not":
            return ~met
        for part in condition.parts[1:]:
            met = met & self._evaluate(part) if condition.op == "and" else met | self._evaluate(part)
        return met


def _sort_by_value(pairs: Iterable[tuple[Any, int]]) -> tuple[list[Any], npt.NDArray[np.intp]]:
    ordered = sorted(pairs)
    return [value for value, _ in ordered], np.array([owner for _, owner in ordered], np.intp)


def _matching_range(values: Sequence[Any], value: Any, op: str) -> slice:
    """Which of ascending values compare so with one; Python compares integers with floats exactly."""
    before, after = bisect_left(values, value), bisect_right(values, value)
    return {
        "in": slice(before, after),
        "<": slice(before),
        "<=": slice(after),
        ">": slice(after, None),
        ">=": slice(before, None),
    }[op]


def _like(pattern: str) -> Callable[[str], Any]:
    """Whether a text matches a pattern with % and _, whatever its case, and however its accents are encoded."""
    parts = [re.escape(part).replace("_", ".") for part in unicodedata.normalize("NFC", pattern).split("%")]
    # Atomic groups: the leftmost match of each part but the last is as good as any other, so nothing is tried twice.
    middle = "".join(f"(?>.*?{part})" for part in parts[1:-1])
    expression = parts[0] + middle + (f".*{parts[-1]}" if len(parts) > 1 else "")
    match = re.compile(expression, re.DOTALL | re.IGNORECASE).fullmatch
    return lambda text: match(text if text.isascii() else unicodedata.normalize("NFC", text))


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
