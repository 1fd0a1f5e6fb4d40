"""How hits and figures are printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any

HIDDEN = {"id", "split", "caption", "audio", "score", "speech", "bitmap"}  # long or plain to see


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells in columns as wide as their longest cell; the first row is the heading; cut to the terminal."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(w) if n in right else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    most = shutil.get_terminal_size((120, 24)).columns
    return "\n".join(line.rstrip() if len(line.rstrip()) <= most else line[: most - 1] + "…" for line in lines)


def hits(found: Sequence[Any], as_json: bool) -> str:
    """Hits as a table, or as JSON: [{"rank", "id", "score", "row"}]."""
    if as_json:
        listed = [{"rank": n, "id": hit.id, "score": hit.score, "row": hit.row} for n, hit in enumerate(found, 1)]
        return json.dumps(listed, ensure_ascii=False)
    if not found:
        return "nothing fits"
    plain = [name for name in found[0].row if name not in HIDDEN and not name.startswith("_")]
    shown = [name for name in plain if any(isinstance(hit.row.get(name), str | int | float) for hit in found)][:6]
    heading = ["", "score", "id", *shown]
    rows = [
        [str(n), f"{hit.score:.4f}", hit.id, *(str(hit.row.get(name, "")) for name in shown)]
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
