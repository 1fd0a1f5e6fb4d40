"""The cells of all rows of one commit, and which rows meet a condition over them.

A condition is SQL over JSON, which takes a microsecond or more a row. So a column that is asked for again is taken
apart once, and compared by its distinct values from then on: the same rows meet the condition.

Letters: R rows, E elements of the cells of a column, K its distinct values.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from .backends.reader import Reader
from .where import Comparison, Condition

Bools = npt.NDArray[np.bool_]

_HELD = 128 << 20  # bytes, about, that the columns of one index may take
_OBJECT = 100  # bytes that a distinct value takes beside its own
_CHUNK = 8_192  # rows read at once


@dataclass(frozen=True)
class Column:
    """A column taken apart into the elements of its cells; one that is no list is its own.

    Args:
        there: (R,) which cells are there.
        owners: (E,) int32, the places of the rows that the elements are of.
        codes: (E,) int32: 0 is false, 1 true, then come the numbers and the texts.
        numbers: those that there are, ascending.
        texts: the same as UTF-8.
        size: bytes, about.
    """

    there: Bools
    owners: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]
    numbers: list[float]
    texts: list[bytes]
    size: int

    @cached_property
    def told(self) -> bytes:
        """The texts as a list of JSON."""
        texts = [text.decode("utf-8", "surrogateescape") for text in self.texts]
        return json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogateescape")

    def meet(self, test: Comparison, db: sqlite3.Connection) -> Bools:
        """Which of the rows (R,) pass a test."""
        if test.how == "there":
            return self.there
        met = np.zeros(len(self.there), bool)
        met[self.owners[self._wanted(test, db)[self.codes]]] = True
        return met

    def _wanted(self, test: Comparison, db: sqlite3.Connection) -> Bools:
        """Which of the distinct values (K,) pass a test."""
        first = 2 + len(self.numbers)
        wanted = np.zeros(first + len(self.texts), bool)
        if test.how == "like":  # as SQLite has it, in all its details
            sql = "SELECT key FROM json_each(CAST(? AS TEXT)) WHERE value LIKE ?"
            wanted[[first + at for (at,) in db.execute(sql, (self.told, *test.values))]] = True
            return wanted
        for value in test.values:
            if isinstance(value, bool):
                wanted[int(value)] = True
            elif isinstance(value, str):
                wanted[first:][_alike(self.texts, value.encode(), test.how)] = True
            else:
                wanted[2:first][_alike(self.numbers, value, test.how)] = True
        return wanted


def _alike(known: list[Any], value: Any, how: str) -> slice:
    """Which of ascending values compare so with one; Python compares whole numbers with others exactly, as SQLite."""
    before, after = bisect_left(known, value), bisect_right(known, value)
    return {
        "in": slice(before, after),
        "<": slice(before),
        "<=": slice(after),
        ">": slice(after, None),
        ">=": slice(before, None),
    }[how]


class Filter:
    """The columns of one commit that were asked for, which threads share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._columns: dict[str, Column | None] = {}  # the last one used last; None is one too large to be held
        self._numbers: npt.NDArray[np.int64] | None = None

    def meet(self, db: sqlite3.Connection, condition: Condition) -> npt.NDArray[np.int64]:
        """The numbers of the rows that meet a condition, ascending."""
        names = dict.fromkeys(test.name for test in condition.comparisons())
        with self._lock:
            columns = {name: self._column(db, name) for name in names} if self._asked.issuperset(names) else {}
            self._asked.update(names)
        known = {name: column for name, column in columns.items() if column is not None}
        if len(known) < len(names) or self._numbers is None:
            clause, values = condition.sql()
            return _numbers(db.execute(f"SELECT number FROM rows WHERE {clause} ORDER BY number", values))
        return self._numbers[_met(condition, known, db)]

    def _column(self, db: sqlite3.Connection, name: str) -> Column | None:
        if self._numbers is None:
            self._numbers = _numbers(db.execute("SELECT number FROM rows ORDER BY number"))
        column = self._columns.pop(name) if name in self._columns else _apart(db, name, self._numbers)
        self._columns[name] = column
        while sum(one.size for one in self._columns.values() if one is not None) > _HELD:
            self._columns.pop(next(old for old, one in self._columns.items() if one is not None))
        return column


_LOADED: WeakValueDictionary[tuple[object, ...], Filter] = WeakValueDictionary()


def load(store: Reader) -> Filter:
    """What is known of the cells of the store's present commit."""
    return _LOADED.setdefault((store.path.absolute(), store.state), Filter())


def _numbers(found: sqlite3.Cursor) -> npt.NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(found), np.int64)


def _met(condition: Condition, columns: dict[str, Column], db: sqlite3.Connection) -> Bools:
    if isinstance(condition, Comparison):
        return columns[condition.name].meet(condition, db)
    met = _met(condition.parts[0], columns, db)
    if condition.how == "not":
        return ~met
    for part in condition.parts[1:]:
        met = met & _met(part, columns, db) if condition.how == "and" else met | _met(part, columns, db)
    return met


def _apart(db: sqlite3.Connection, name: str, rows: npt.NDArray[np.int64]) -> Column | None:
    """A column of rows of ascending numbers (R,), taken apart; None if it would take too much room."""
    source, path = ("json_array(id)", "$[0]") if name == "id" else ("columns", f'$."{name}"')
    kind = f"json_type({source}, ?1)"
    value = f"CASE WHEN {kind} NOT IN ('array', 'object') THEN json_extract({source}, ?1) END"
    known: dict[tuple[str | None, Any], int] = {}  # kinds and values, in the order of their coming
    found: list[int] = []
    owners = [np.arange(len(rows))]
    size = 16 * len(rows)
    for some in _chunks(db.execute(f"SELECT {kind}, {value} FROM rows ORDER BY number", (path,))):
        before = len(known)
        found += [known.setdefault(one, len(known)) for one in some]
        size += _room(islice(known, before, None))
        if size > _HELD:
            return None
    there = np.array([kind not in (None, "null") for kind, _ in known], bool)[found]
    if ("array", None) in known:
        each = f"SELECT type, value, number FROM rows JOIN json_each({source}, ?1) WHERE {kind} = 'array'"
        for some in _chunks(db.execute(each, (path,))):
            before = len(known)
            found += [known.setdefault(one[:2], len(known)) for one in some]
            owners.append(np.searchsorted(rows, [number for _, _, number in some]))
            size += _room(islice(known, before, None)) + 8 * len(some)
            if size > _HELD:
                return None
    numbers = sorted({value for kind, value in known if kind in ("integer", "real")})
    texts = sorted(value.encode("utf-8", "surrogateescape") for kind, value in known if kind == "text")
    of_number = {value: 2 + at for at, value in enumerate(numbers)}
    of_text = {value: 2 + len(numbers) + at for at, value in enumerate(texts)}

    def code(kind: str | None, value: Any) -> int:
        if kind == "text":
            return of_text[value.encode("utf-8", "surrogateescape")]
        return of_number[value] if kind in ("integer", "real") else {"false": 0, "true": 1}.get(kind or "", -1)

    codes = np.array([code(*one) for one in known], np.int32)
    elements = codes[found]
    kept = elements >= 0
    return Column(there, np.concatenate(owners)[kept].astype(np.int32), elements[kept], numbers, texts, size)


def _chunks(found: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := found.fetchmany(_CHUNK):
        yield chunk


def _room(values: Iterable[tuple[str | None, Any]]) -> int:
    return sum(_OBJECT + (2 * len(value) if isinstance(value, str) else 0) for _, value in values)
