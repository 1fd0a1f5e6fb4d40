"""What each column of metadata is: categories, numbers or text.

Letters: N rows, K distinct cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_CATEGORIES = 100  # values of a column of categories; more of them are text
MAX_NUMERIC_CATEGORIES = 12  # whole numbers so few are categories too: rooms, digits, clusters
MAX_TEXT_CHARS = 500  # characters of a text cell that are shown in a list
MAX_NUMBER = 1e300  # above it a number of JSON may have no float


@dataclass(frozen=True)
class ColumnKind:
    """What the cells of a column are.

    Args:
        kind: `category` (few texts, truth values or whole numbers, or lists of them), `number` or `text`.
        size: how many distinct values there are; of text only whether there is any.
        numeric: whether every cell that is there is a number.
    """

    kind: str
    size: int
    numeric: bool


TEXT = ColumnKind("text", 1, False)


def is_text(cells: Iterable[Any]) -> bool:
    """Whether a column with these cells, and maybe others, is text: it has no numbers alone, nor few short values."""
    distinct: set[tuple[type, Any]] = set()
    numeric = True
    for cell in cells:
        elements = _as_list(cell)
        numeric = numeric and (cell is None or cell == [] or cell == "" or _number(cell))
        simple = all(
            isinstance(element, str | bool | int | float) and len(str(element)) <= MAX_TEXT_CHARS
            for element in elements
        )
        distinct.update(map(_key, elements) if simple else ())
        if not simple or (not numeric and len(distinct) > MAX_CATEGORIES):
            return True
    return False


def infer_kind(cells: Sequence[Any], codes: npt.NDArray[np.integer[Any]]) -> ColumnKind:
    """The kind of a column.

    Args:
        cells: (K,) its distinct cells.
        codes: (N,) for each row the position of its cell among them.
    """
    counts = np.bincount(codes, minlength=len(cells))
    present = [cell for at, cell in enumerate(cells) if counts[at] and cell is not None and cell != [] and cell != ""]
    absent = [at for at, cell in enumerate(cells) if cell is None or cell == [] or cell == ""]
    count = int(counts.sum() - counts[absent].sum())
    numeric = bool(present) and all(_number(cell) for cell in present)
    distinct: set[Any] = set(map(float, present)) if numeric else set()
    if not numeric:
        if is_text(present):
            return TEXT
        distinct.update(_key(element) for cell in present for element in _as_list(cell))
    elif len(distinct) > MAX_NUMERIC_CATEGORIES or not all(value.is_integer() for value in distinct):
        return ColumnKind("number", len(distinct), True)
    if len(distinct) < max(count, 2) and len(distinct) <= max(8, count // 2):
        return ColumnKind("category", len(distinct), numeric)
    return ColumnKind("number" if numeric else "text", len(distinct), numeric)


def encode_column(
    cells: Sequence[Any],
    codes: npt.NDArray[np.integer[Any]],
    column: ColumnKind,
    every: tuple[Sequence[Any], npt.NDArray[np.integer[Any]]] | None = None,
) -> dict[str, Any]:
    """A column as the page takes it.

    Args:
        cells: (K,) its distinct cells.
        codes: (N,) for each row the position of its cell among them.
        column: what they are.
        every: the cells and codes of all rows, where these are not all: a category then has its place, and so its
            colour, whichever rows are shown.

    Returns:
        `{"kind": "number" | "text", "values"}` with one value per row, or null; or `{"kind": "category", "values",
        "codes"}`: the values, the most frequent first and numbers by size, and of each row the place of its value among
        them, -1 if it has none, and a list of places if its cell is a list.
    """
    if column.kind != "category":
        used = np.unique(codes).tolist()
        texts = dict(zip(used, (_text(cells[at]) if column.kind == "text" else cells[at] for at in used), strict=True))
        return {"kind": column.kind, "values": [texts[code] for code in codes.tolist()]}
    counts = _counts(*((cells, codes) if every is None else every))
    if len(counts) > MAX_CATEGORIES:  # too many values to be categories
        counts = _counts(cells, codes)

    def order(element: tuple[type, Any]) -> tuple[float, str]:
        return (element[1], "") if column.numeric and element[0] is float else (-counts[element], str(element[1]))

    values_sorted = sorted(counts, key=order)
    position = {element: at for at, element in enumerate(values_sorted)}
    places: dict[int, int | list[int]] = {}
    for at in np.unique(codes).tolist():
        own = [position[_key(element)] for element in _as_list(cells[at])]
        places[at] = own if len(own) > 1 else own[0] if own else -1
    return {
        "kind": "category",
        "values": [value for _, value in values_sorted],
        "codes": [places[code] for code in codes.tolist()],
    }


def _counts(cells: Sequence[Any], codes: npt.NDArray[np.integer[Any]]) -> dict[tuple[type, Any], int]:
    """How many rows have each value."""
    counts: dict[tuple[type, Any], int] = {}
    for cell, count in zip(cells, np.bincount(codes, minlength=len(cells)).tolist(), strict=True):
        for element in _as_list(cell) if count else []:
            counts[_key(element)] = counts.get(_key(element), 0) + count
    return counts


def _as_list(value: Any) -> list[Any]:
    """What a cell holds: the distinct elements of a list, else itself."""
    if isinstance(value, list):
        return list({_key(element): element for element in value if element is not None and element != ""}.values())
    return [] if value is None or value == "" else [value]


def _key(value: Any) -> tuple[type, Any]:
    """True is not 1, but 1.0 is."""
    if isinstance(value, list | dict):
        return (str, json.dumps(value))
    return (bool if isinstance(value, bool) else float if isinstance(value, int | float) else str, value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        value = " · ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"
