"""The cells of all rows of an index by column, and what each column is: categories, numbers or text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .index import Index

MOST = 100  # values of a column of categories; more of them are text
FEW = 12  # whole numbers so few are categories too: rooms, digits, clusters
LONGEST = 500  # characters of a text cell that are shown in a list
HUGE = 1e300  # above it a number of JSON may have no float


@dataclass(frozen=True)
class Column:
    """What the cells of one name are.

    Args:
        kind: `category` (few texts, truth values or whole numbers, or lists of them), `number` or `text`.
        size: how many distinct values there are; of text only whether there is any.
        numeric: whether every cell that is there is a number.
    """

    kind: str
    size: int
    numeric: bool


def columns(index: Index, field: str | None = None) -> dict[str, Column]:
    """What each cell is, over the rows that have a vector in the field; remembered until the index changes."""
    with index.reading() as snapshot:
        known = snapshot.metadata.kinds
        field = snapshot.info.fields[0] if field is None and snapshot.info.fields else field or ""
        if field not in known:
            cells = read(index, field or None)
            known[field] = {name: _kind(values) for name, values in cells.items() if name != "id"}
        kinds: dict[str, Column] = known[field]
        return kinds


def read(
    index: Index, field: str | None = None, names: set[str] | None = None, every: bool = False
) -> dict[str, list[Any]]:
    """The cells of each name, `id` among them, in the order of `Index.ids`; None where a row has none.

    Args:
        index: the index.
        field: of the rows that have a vector in this field; by default the first one indexed.
        names: these only; all if None.
        every: of all rows instead, whatever vectors they have.

    Raises:
        UsageError: there is no such field.
    """
    with index.reading() as snapshot:
        wanted = [name for name in ["id", *snapshot.info.columns] if names is None or name in names]
        if not snapshot.info.fields:
            return {name: [] for name in wanted}
        keys = snapshot.metadata.keys if every else snapshot.field(field).keys
        return {name: snapshot.metadata.values(name, keys) for name in wanted}


def cells(values: list[Any], column: Column, every: list[Any] | None = None) -> dict[str, Any]:
    """A column as the page takes it.

    Args:
        values: the cells.
        column: what they are.
        every: the cells of all rows, where these are not all: a category then has its place, and so its colour,
            whichever rows are shown.

    Returns:
        `{"kind": "number" | "text", "values"}` with a value a row, or null; or `{"kind": "category", "values",
        "codes"}`: the values, the most frequent first and numbers by size, and of each row the place of its value among
        them, -1 if it has none, and a list of places if its cell is a list.
    """
    if column.kind == "number":
        return {"kind": "number", "values": values}
    if column.kind == "text":
        return {"kind": "text", "values": [_text(value) for value in values]}
    counts = _counts(values if every is None else every)
    if len(counts) > MOST:  # of all rows they are no categories
        counts = _counts(values)

    def order(one: tuple[type, Any]) -> tuple[float, str]:
        return (one[1], "") if column.numeric and one[0] is float else (-counts[one], str(one[1]))

    known = sorted(counts, key=order)
    place = {one: at for at, one in enumerate(known)}
    codes = [[place[_key(one)] for one in _things(value)] for value in values]
    return {
        "kind": "category",
        "values": [value for _, value in known],
        "codes": [code if len(code) > 1 else code[0] if code else -1 for code in codes],
    }


def _counts(values: list[Any]) -> dict[tuple[type, Any], int]:
    counts: dict[tuple[type, Any], int] = {}
    for value in values:
        for one in _things(value):
            counts[_key(one)] = counts.get(_key(one), 0) + 1
    return counts


def _kind(values: list[Any]) -> Column:
    present = [value for value in values if value is not None and value != [] and value != ""]
    numeric = bool(present) and all(_number(value) for value in present)
    distinct: set[tuple[type, Any]] = set()
    simple = True
    for value in present:
        things = _things(value)
        simple = all(isinstance(one, str | bool | int | float) and len(str(one)) <= LONGEST for one in things)
        distinct.update(map(_key, things) if simple else ())
        if not simple or (not numeric and len(distinct) > MOST):
            return Column("text", 1, False)
    if numeric and not (len(distinct) <= FEW and all(float(value).is_integer() for value in present)):
        return Column("number", len(distinct), True)
    if len(distinct) < max(len(present), 2) and len(distinct) <= max(8, len(present) // 2):
        return Column("category", len(distinct), numeric)
    return Column("number" if numeric else "text", len(distinct), numeric)


def _things(value: Any) -> list[Any]:
    """What a cell holds: the distinct elements of a list, else itself."""
    if isinstance(value, list):
        return list({_key(one): one for one in value if one is not None and one != ""}.values())
    return [] if value is None or value == "" else [value]


def _key(value: Any) -> tuple[type, Any]:
    """True is not 1, but 1.0 is."""
    if isinstance(value, list | dict):
        return (str, json.dumps(value))
    return (bool if isinstance(value, bool) else float if isinstance(value, int | float) else str, value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < HUGE


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = " · ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
