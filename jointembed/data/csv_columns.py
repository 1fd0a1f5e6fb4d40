"""The columns of a .csv file, whose types are given or guessed as a careful person would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import UsageError, did_you_mean

# R rows, U distinct cells

Type = Literal["text", "integer", "number", "boolean"]
# Marks of a missing number or boolean. In a column of text they are text: NA is a country code.
MISSING = ("NA", "N/A", "n/a", "NULL", "null", "None", "#N/A", "-")
# What would be written otherwise than it is here is text: leading zeros, times, a sign of +, codes such as 12E5.
INTEGER = r"^(?:0|-?[1-9][0-9]{0,17})$"
NUMBER = (
    r"^(?:-?(?:0|[1-9][0-9]{0,17})|-?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][+-]?[0-9]+)?|-?[0-9]\.?[eE][+-][0-9]+"
    r"|-?(?:0|[1-9][0-9]*)\.|-?[iI]nf(?:inity)?|-?INF)$"
)
BOOLEAN = r"^(?:true|false|True|False|TRUE|FALSE)$"
NAN = r"^-?(?:nan|NaN)$"


def check_types(types: Mapping[str, str]) -> None:
    """Refuse a type that does not exist.

    Raises:
        UsageError: a type is not one of `Type`.
    """
    for column, type in types.items():
        if type not in get_args(Type):
            wrong = f"{type!r} is not a type of a column"
            raise UsageError(f"data.types.{column}", wrong, did_you_mean(str(type), get_args(Type)))


def convert_column(cells: Any, type: str | None, path: Path, name: str) -> Any:
    """A column of text as Arrow cells of its type.

    Args:
        cells: (R,) a ChunkedArray of text, null where a cell is empty.
        type: see `Type`; guessed if None.
        path: the file, in messages.
        name: the name of the column.

    Raises:
        UsageError: a cell is not of the given type.
    """
    import pyarrow as pa
    from pyarrow import compute

    guessed = type or _guess(cells)
    if guessed == "text":
        return cells
    arrow_type = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}[guessed]
    trimmed = compute.utf8_trim_whitespace(cells)
    marks = compute.is_in(trimmed, pa.array([*MISSING, ""]))
    present = compute.if_else(marks, pa.scalar(None, pa.string()), trimmed)
    try:
        return present.cast(arrow_type)
    except pa.ArrowInvalid:
        for row, cell in enumerate(present.to_pylist(), 1):
            try:
                pa.scalar(cell, pa.string()).cast(arrow_type)
            except pa.ArrowInvalid as error:
                fix = f"correct the cell, or give {name} the type text"
                raise UsageError(f"{path}, row {row}", f"{name}: {cell!r} is not of type {guessed}", fix) from error
        raise


def _guess(cells: Any) -> str:
    """The type that all distinct cells (U,) have; text if they have none in common."""
    import pyarrow as pa
    from pyarrow import compute

    def match(pattern: str) -> bool:
        return bool(compute.all(compute.match_substring_regex(distinct, pattern)).as_py())

    distinct = compute.utf8_trim_whitespace(cells.unique()).drop_null()
    distinct = distinct.filter(compute.invert(compute.is_in(distinct, pa.array([*MISSING, ""]))))
    if not len(distinct):
        return "text"
    if match(INTEGER):
        return "integer"
    if match(BOOLEAN):
        return "boolean"
    is_nan = compute.match_substring_regex(distinct, NAN)
    distinct = distinct.filter(compute.invert(is_nan))
    return "number" if len(distinct) and match(NUMBER) else "text"
