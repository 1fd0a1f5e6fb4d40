"""What each column of metadata is: categories, numbers or text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

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


def infer_kind(values: list[Any]) -> ColumnKind:
    """The kind of a column with these cells."""
    present = [value for value in values if value is not None and value != [] and value != ""]
    numeric = bool(present) and all(_number(value) for value in present)
    distinct: set[tuple[type, Any]] = set()
    simple = True
    for value in present:
        elements = _as_list(value)
        simple = all(
            isinstance(element, str | bool | int | float) and len(str(element)) <= MAX_TEXT_CHARS
            for element in elements
        )
        distinct.update(map(_key, elements) if simple else ())
        if not simple or (not numeric and len(distinct) > MAX_CATEGORIES):
            return ColumnKind("text", 1, False)
    if numeric and not (
        len(distinct) <= MAX_NUMERIC_CATEGORIES and all(float(value).is_integer() for value in present)
    ):
        return ColumnKind("number", len(distinct), True)
    if len(distinct) < max(len(present), 2) and len(distinct) <= max(8, len(present) // 2):
        return ColumnKind("category", len(distinct), numeric)
    return ColumnKind("number" if numeric else "text", len(distinct), numeric)


def encode_column(values: list[Any], column: ColumnKind, every: list[Any] | None = None) -> dict[str, Any]:
    """A column as the page takes it.

    Args:
        values: the cells.
        column: what they are.
        every: the cells of all rows, where these are not all: a category then has its place, and so its colour,
            whichever rows are shown.

    Returns:
        `{"kind": "number" | "text", "values"}` with one value per row, or null; or `{"kind": "category", "values",
        "codes"}`: the values, the most frequent first and numbers by size, and of each row the place of its value among
        them, -1 if it has none, and a list of places if its cell is a list.
    """
    if column.kind == "number":
        return {"kind": "number", "values": values}
    if column.kind == "text":
        return {"kind": "text", "values": [_text(value) for value in values]}
    counts = _counts(values if every is None else every)
    if len(counts) > MAX_CATEGORIES:  # too many values to be categories
        counts = _counts(values)

    def order(element: tuple[type, Any]) -> tuple[float, str]:
        return (element[1], "") if column.numeric and element[0] is float else (-counts[element], str(element[1]))

    values_sorted = sorted(counts, key=order)
    position = {element: at for at, element in enumerate(values_sorted)}
    codes = [[position[_key(element)] for element in _as_list(value)] for value in values]
    return {
        "kind": "category",
        "values": [value for _, value in values_sorted],
        "codes": [code if len(code) > 1 else code[0] if code else -1 for code in codes],
    }


def _counts(values: list[Any]) -> dict[tuple[type, Any], int]:
    counts: dict[tuple[type, Any], int] = {}
    for value in values:
        for element in _as_list(value):
            counts[_key(element)] = counts.get(_key(element), 0) + 1
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
