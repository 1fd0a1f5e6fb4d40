"""How tables and figures are printed."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from typing import Any

from ..errors import escape_control, missing_extra
from ..files import check_writable


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells in columns as wide as their longest cell; the first row is the heading; cut to the terminal."""
    rows = [[escape_control(cell) for cell in row] for row in rows]
    widths = [max(width(row[place]) for row in rows) for place in range(len(rows[0]))]

    def padded(cell: str, place: int) -> str:
        room = " " * (widths[place] - width(cell))
        return room + cell if place in right else cell + room

    lines = ["  ".join(padded(cell, place) for place, cell in enumerate(row)) for row in rows]
    lines.insert(1, "  ".join("-" * wide for wide in widths))
    most = shutil.get_terminal_size((120, 24)).columns
    return "\n".join(cut(line.rstrip(), most) for line in lines)


def width(text: str) -> int:
    """How many places a text takes in a terminal: a Chinese sign takes two, an accent on another sign none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def cut(line: str, most: int) -> str:
    """As much of a line as so many places hold, with a sign that it goes on."""
    if width(line) <= most:
        return line
    line = line[: most - 1]
    while width(line) > most - 1:
        line = line[:-1]
    return line + "…"


def drawable(path: str | None) -> None:
    """Raise UsageError if a picture is wanted that cannot be drawn, or not written under this path; before the work."""
    if path is not None:
        check_writable(path, "a picture", ".png")
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise missing_extra("map", "matplotlib") from error


def figures(report: dict[str, Any], as_json: bool) -> str:
    """Figures with their intervals and chance as a table, or as JSON."""
    if as_json:
        return json.dumps(report)

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    rows = [["metric", "value", "95 % interval", "chance"]]
    for name, one in report["metrics"].items():
        interval = "" if one["low"] is None else f"{one['low']:.4f} - {one['high']:.4f}"
        rows.append([name, number(one["value"]), interval, number(one["chance"])])
    return f"{report['queries']} queries, {report['pool']} candidates\n" + table(rows, right=(1, 3))
