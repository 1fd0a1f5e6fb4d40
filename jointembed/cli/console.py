"""What the commands print: tables, metrics and search results, with rich.

A terminal gets tables that fit into it. Where the output goes into a file or a pipe, nothing is ever cut.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..analyze.figure import chosen_theme
from ..errors import escape_control, missing_extra
from ..files import check_writable
from ..index import playlist
from ..index.hits import Hit
from ..index.index import Index
from ..index.selection import require_match
from ..values import escape_surrogates, items
from .progress import format_clock

MIN_READABLE_CELLS = 16  # a shorter part of a text says too little
MIN_TITLE_CELLS = 24
MAX_PLAIN_CHARACTERS = 60  # longer texts, such as captions, are shown only if all other columns fit
UNLIMITED_CELLS = 1_000_000
_FILE = re.compile(r"\S\.[A-Za-z]\w{1,4}$")

Columns = dict[str, list[str]]  # the texts of each column by its name


def stdout_console() -> Console:
    """A console on standard output, which is unlimited in width if that is not a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNLIMITED_CELLS
    return console


def print_table(
    names: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = (), wrap: bool = True
) -> None:
    """Print rows under the names of their columns.

    Args:
        names: the columns.
        rows: the texts of each row.
        right: the columns that are aligned to the right, as numbers are.
        wrap: break long cells between words on a terminal; otherwise they are cut.
    """
    print(format_table(names, rows, right, wrap))


def format_table(
    names: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = (), wrap: bool = True
) -> str:
    """The text of a table; see `print_table`."""
    console = stdout_console()
    names, rows = list(map(escape_control, names)), [list(map(escape_control, row)) for row in rows]
    widths = [max(map(cell_len, texts)) for texts in zip(names, *rows, strict=True)]
    least = [width if name in right else 1 for name, width in zip(names, widths, strict=True)]
    if wrap:
        words = [" ".join(texts).split() or [""] for texts in zip(names, *rows, strict=True)]
        least = [max(map(cell_len, of_column)) for of_column in words]
    gaps = 2 * (len(widths) - 1)
    while sum(widths) + gaps > console.width and (places := [at for at in range(len(names)) if widths[at] > least[at]]):
        widths[max(places, key=lambda place: widths[place])] -= 1
    console.width = max(console.width, sum(widths) + gaps)  # rich would break words to keep to a narrower one
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name, width in zip(names, widths, strict=True):
        table.add_column(
            Text(name),
            justify="right" if name in right else "left",
            no_wrap=not wrap,
            overflow="fold" if wrap else "ellipsis",
            width=width,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def print_json(value: Any) -> None:
    """Print a value as JSON; lone surrogates, as in the names of files that are not UTF-8, are escaped."""
    print(escape_surrogates(json.dumps(value, ensure_ascii=False)))


def print_metrics(report: Mapping[str, Any], as_json: bool) -> None:
    """Print the metrics of an evaluation with their 95 % intervals and chance levels."""
    if as_json:
        print(json.dumps(report))
        return
    rows = [
        [name, format_number(metric["value"]), format_interval(metric), format_number(metric["chance"])]
        for name, metric in report["metrics"].items()
    ]
    unanswerable = report["unanswerable"]
    left_out = f" ({unanswerable:,} more without a relevant candidate)" if unanswerable else ""
    print(f"{report['queries']:,} queries{left_out}, {report['pool']:,} candidates\n")
    print_table(["metric", "value", "95 % interval", "chance"], rows, right={"value", "chance"})
    if classes := report.get("classes"):
        print()
        _print_classes(classes)


def _print_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    """Print the metrics of each label."""
    numbers = ["rows", "recall", "precision", "F1"]
    headings = ["label", "rows", "recall", "95 % interval", "precision", "F1", "most often taken for"]
    rows = []
    for label in classes:
        confused = f"{label['confused_with']} ({label['confused_rows']:,})" if label["confused_rows"] else ""
        recall, *values = map(format_number, (label["recall"], label["precision"], label["f1"]))
        interval = " - ".join(map(format_number, label["recall_interval"] or ()))
        rows.append([label["label"], f"{label['rows']:,}", recall, interval, *values, confused])
    print_table(headings, rows, right=numbers)


def format_number(value: float | None) -> str:
    """A metric as text; empty without a value."""
    return "" if value is None else f"{value:.4f}"


def format_interval(metric: Mapping[str, Any]) -> str:
    """The 95 % interval of a metric as text; empty without one."""
    return "" if metric["low"] is None else f"{metric['low']:.4f} - {metric['high']:.4f}"


def check_plot(path: str | None) -> None:
    """Raise UsageError if a plot is wanted that cannot be drawn, or not written to this path; before the work."""
    if path is not None:
        check_writable(path, "a picture", ".png")
        check_matplotlib()
        chosen_theme()


def check_matplotlib() -> None:
    """Raise UsageError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("map", "matplotlib") from error


# -- search results ----------------------------------------------------------------------------------------------------


def print_hits(
    index: Index,
    hits: Sequence[Hit],
    k: int,
    where: str | None,
    field: str | None,
    as_json: bool,
    m3u: str | None,
    root: str | None,
    ends: int = 0,
) -> None:
    """Print the results of a search, and write them as a playlist if a path for it is given.

    Args:
        index: the index that was searched.
        hits: the results.
        k: the number of results that were asked for.
        where: the condition that the results meet; a line on standard error says if it left fewer than k.
        field: the field that was searched.
        as_json: print JSON.
        m3u: the playlist to write.
        root: the folder that the playlist's paths are relative to.
        ends: results that did not have to meet the condition.

    Raises:
        UsageError: no item meets the condition.
    """
    if len(hits) <= ends < k:
        require_match(index, where)
    terms = index.nearest_terms([hit.id for hit in hits], field=field)
    if as_json:
        facts = [{"id": hit.id, "score": hit.score, "row": hit.row, "alike": list(hit.duplicates)} for hit in hits]
        print_json([
            {"rank": rank, **hit, "words": list(near)}
            for rank, (hit, near) in enumerate(zip(facts, terms, strict=True), 1)
        ])  # fmt: skip
    elif hits:
        _print_hit_table(hits, terms, index.info.clusters)
    else:
        print("no results")
    if where is not None and 0 < len(hits) < k:
        print(f"only {len(hits)} of {k}: no other item meets the condition", file=sys.stderr)
    if m3u:
        print(playlist.write(m3u, index, hits, root), file=sys.stderr)


def _print_hit_table(hits: Sequence[Hit], terms: Sequence[Sequence[str]], clusters: Collection[str]) -> None:
    columns, scores = _read_columns(hits, terms), [f"{hit.score:.4f}" for hit in hits]
    ranks = [str(rank) for rank in range(1, len(hits) + 1)]
    console = stdout_console()
    room = console.width - len(ranks[-1]) - max(len("score"), *map(len, scores)) - 4
    visible = _fit(columns, clusters, room) if console.is_terminal else columns
    names = ["", "score", *(name.removeprefix("_") for name in visible)]
    print_table(names, [*zip(ranks, scores, *visible.values(), strict=True)], right={"", "score"}, wrap=False)
    hidden = [name.removeprefix("_") for name in columns if name not in visible]
    if hidden:
        console.print(Text(f"\nnot shown: {', '.join(hidden)} (use --json or a wider terminal)", "dim"))


def _read_columns(hits: Sequence[Hit], terms: Sequence[Sequence[str]]) -> Columns:
    """Ids, the columns of numbers, texts or short lists, the nearest words, and the duplicates of each hit."""
    names = dict.fromkeys(name for hit in hits for name in hit.row if name != "id" and not name.startswith("_"))
    if all(hit.row.get("path") == hit.id for hit in hits):
        names.pop("path", None)
    columns = {"id": [hit.id for hit in hits]}
    for name in names:
        cells = [hit.row.get(name) for hit in hits]
        texts = [", ".join(_format_cell(name, part) for part in items(cell)) for cell in cells]
        has_short_lists = all(len(text) <= MAX_PLAIN_CHARACTERS for text in texts) and not any(
            isinstance(part, list | dict) for cell in cells for part in items(cell)
        )
        if has_short_lists or any(isinstance(cell, str | int | float) for cell in cells):
            columns[name] = texts
    derived = {"_words": [*map(", ".join, terms)], "_duplicates": [", ".join(hit.duplicates) for hit in hits]}
    columns |= {name: texts for name, texts in derived.items() if any(texts)}
    return {name: [escape_control(text) for text in texts] for name, texts in columns.items()}


def _format_cell(name: str, cell: Any) -> str:
    """A cell as text; the numbers of the column `seconds` are durations."""
    if name == "seconds" and isinstance(cell, int | float) and 0 <= cell < math.inf:
        tenths = f"{cell:.1f}".removesuffix(".0")
        return f"0:0{tenths}" if float(tenths) < 10 else format_clock(cell)
    return str(cell)


def _fit(columns: Columns, clusters: Collection[str], room: int) -> Columns:
    """The columns that fit: titles and nearest words always, though shortened; then the most informative ones."""
    room = max(room, MIN_TITLE_CELLS) + 2  # no gap follows the last column
    needed = {name: max(map(cell_len, [name, *texts])) + 2 for name, texts in columns.items()}
    if sum(needed.values()) <= room:
        return columns
    title = next((name for name in ("title", "name") if name in columns), "id")
    if title != "id":
        pairs = zip(columns[title], columns["id"], strict=True)
        columns = {**columns, title: [text or id.rpartition("/")[2] for text, id in pairs]}
    first = max(room // 3, min(MIN_TITLE_CELLS, room // 2))
    widths = {name: min(needed[name], first) for name in (title, "_words") if name in columns}
    for name in sorted(columns, key=lambda name: _rank_column(name, columns, title, clusters)):
        # Part of an id would be useless.
        least = needed[name] if name == "id" else min(needed[name], max(room // 4, MIN_READABLE_CELLS))
        if name not in widths and sum(widths.values()) + least <= room:
            widths[name] = least
    for name in widths:  # the shortened ones share the remaining room
        widths[name] = min(needed[name], widths[name] + room - sum(widths.values()))
    return {name: [_shorten(text, widths[name] - 2) for text in columns[name]] for name in columns if name in widths}


def _rank_column(name: str, columns: Mapping[str, Sequence[str]], title: str, clusters: Collection[str]) -> int:
    """The order in which columns are shown on a terminal that is too narrow for all: constant columns come last."""
    texts = columns[name]
    files = all(_FILE.search(text) for text in texts if text)
    if name == "_duplicates":
        return 0
    if name == "id" and not files:
        return 0 if len(set(columns[title])) < len(texts) else 2  # ids tell items with equal titles apart
    if len(texts) > 1 and len(set(texts)) == 1:
        return 5
    if files or name == "split" or max(map(len, texts)) > MAX_PLAIN_CHARACTERS:
        return 4
    return 3 if name in clusters else 1


def _shorten(text: str, width: int) -> str:
    """The beginning of a text, or the end of a path, where the name of the file is."""
    if not _FILE.search(text):
        short = Text(text)
        short.truncate(max(1, width), overflow="ellipsis")
        return short.plain
    while cell_len(text) > width:
        text = "…" + text[2:]
    return text


def name_item(index: Index, name: str, item: Any) -> Any:
    """An item that a user named; says on standard error which one it is if its name was spelt otherwise."""
    if isinstance(item, str) and index.resolve(name) is None:
        row = index.row(item)
        title = row.get("title", row.get("name"))
        text = item if title is None else f"{title} ({item})"
        print(escape_control(f"note: {name} is taken as {text}"), file=sys.stderr)
    return item
