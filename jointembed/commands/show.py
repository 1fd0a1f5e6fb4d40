"""How hits and figures are printed."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from typing import Any

from ..errors import plain

HIDDEN = {"id", "split", "caption", "audio", "score", "speech", "bitmap"}  # long or plain to see


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells in columns as wide as their longest cell; the first row is the heading; cut to the terminal."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(_width(row[place]) for row in rows) for place in range(len(rows[0]))]

    def padded(cell: str, place: int) -> str:
        room = " " * (widths[place] - _width(cell))
        return room + cell if place in right else cell + room

    lines = ["  ".join(padded(cell, place) for place, cell in enumerate(row)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    most = shutil.get_terminal_size((120, 24)).columns
    return "\n".join(_cut(line.rstrip(), most) for line in lines)


def _width(text: str) -> int:
    """How many places a text takes in a terminal: a Chinese sign takes two, an accent on another sign none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def _cut(line: str, most: int) -> str:
    if _width(line) <= most:
        return line
    line = line[: most - 1]
    while _width(line) > most - 1:
        line = line[:-1]
    return line + "…"


def hits(found: Sequence[Any], as_json: bool, words: Sequence[Sequence[str]] = ()) -> str:
    """Hits as a table, or as JSON: [{"rank", "id", "score", "row", "words", "alike"}].

    Args:
        found: the hits.
        as_json: whether JSON is wanted.
        words: of each hit the words of the model's own space that it is nearest to.
    """
    words = words or [[]] * len(found)
    if as_json:
        listed = [
            {"rank": n, "id": hit.id, "score": hit.score, "row": hit.row, "words": list(near), "alike": list(hit.alike)}
            for n, (hit, near) in enumerate(zip(found, words, strict=True), 1)
        ]
        text = json.dumps(listed, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").decode()  # an id that is no UTF-8 holds surrogates: "\\udce9"
    if not found:
        return "nothing fits"
    named = [name for name in found[0].row if name not in HIDDEN and not name.startswith("_")]
    if all(hit.row.get("path") == hit.id for hit in found):
        named.remove("path")
    shown = [name for name in named if any(isinstance(hit.row.get(name), str | int | float) for hit in found)][:6]
    more = {
        "words": [", ".join(near) for near in words],
        "and": ["" if not hit.alike else ", ".join(hit.alike) for hit in found],
    }
    more = {name: cells for name, cells in more.items() if any(cells)}
    heading = ["", "score", "id", *shown, *more]
    rows = [
        [str(n), f"{hit.score:.4f}", hit.id, *(str(hit.row.get(name, "")) for name in shown)]
        + [cells[n - 1] for cells in more.values()]
        for n, hit in enumerate(found, 1)
    ]
    return table([heading, *rows], right=(0, 1))


def figures(report: dict[str, Any], as_json: bool) -> str:
    """Figures with their intervals and chance as a table, or as JSON."""
    if as_json:
        return json.dumps(report)

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    rows = [["figure", "value", "95 % interval", "chance"]]
    for name, one in report["figures"].items():
        interval = "" if one["low"] is None else f"{one['low']:.4f} - {one['high']:.4f}"
        rows.append([name, number(one["value"]), interval, number(one["chance"])])
    return f"{report['queries']} queries, {report['pool']} candidates\n" + table(rows, right=(1, 3))
