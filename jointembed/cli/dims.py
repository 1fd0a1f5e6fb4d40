"""Suggest a number of dimensions, or measure what fewer cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..errors import UsageError


def dims(
    table: str,
    *,
    model: str | None = None,
    query: str | None = None,
    target: str | None = None,
    relevant: str | None = None,
    split: str = "test",
    k: int = 10,
    plot: str | None = None,
    json_: bool = False,
    trust: list[str] | None = None,
) -> None:
    """Suggest a number of dimensions for each column of a table: the fourth root of its number of distinct values.

    With --model, measure retrieval with prefixes of the model's vectors instead, to see what fewer dimensions cost.
    Train the model with `matryoshka_dims` in its recipe, so that each prefix is an embedding of its own.

    Args:
        table: a .jsonl, .csv or .parquet file, or a folder with rows.*.
        model: a checkpoint, or the folder of a run, to measure.
        query: the column of the queries.
        target: the column to retrieve.
        relevant: a label column: candidates with the query's label are relevant.
        split: the rows that are queries and candidates; `all` for every row.
        k: the number of hits to evaluate.
        plot: a .png file to draw the curve into.
        json_: print JSON.
        trust: a package whose encoders and readers the model may import.
    """
    if model is None:
        given = {"--query": query, "--target": target, "--relevant": relevant, "--plot": plot}
        for name, value in given.items():
            if value is not None:
                raise UsageError(name, f"{name} needs --model", "give --model too")
        print(_columns(table, json_))
        return
    if query is None or target is None:
        raise UsageError("dims", "--query and --target are missing", "give two of the model's columns")
    from . import show
    from .prefixes import draw, measured

    show.drawable(plot)
    found = measured(model, table, query, target, relevant, split, k, trust or ())
    if not found["nested"]:
        print(
            "warning: the model was trained without `matryoshka_dims`, so its prefixes were not trained",
            file=sys.stderr,
        )
    print(json.dumps(found) if json_ else _curve(found))
    if plot is not None:
        draw(found, Path(plot))
        print(f"{plot}: {found['metric']} against the number of dimensions", file=sys.stderr)


def _columns(table: str, as_json: bool) -> str:
    from ..data.rows import Rows
    from ..recipe_writer.column_types import columns, root
    from . import show

    listed: list[dict[str, Any]] = []
    lines = [["column", "kind", "values", "dimensions", "search"]]
    for one in columns(Rows.open(table)):
        embedded = one.kind not in ("id", "split", "number", "other")
        start, low, high = root(one.values) if embedded else (None, None, None)
        search = [low, high] if embedded else None
        listed.append({"column": one.name, "kind": one.kind, "values": one.values, "start": start, "search": search})
        name = one.name if len(one.name) <= 36 else one.name[:35] + "…"
        lines.append([name, one.kind, f"{one.values:,}", *([str(start), f"{low} to {high}"] if embedded else ["", ""])])
    return json.dumps(listed, ensure_ascii=False) if as_json else show.table(lines, right=(2, 3))


def _curve(found: dict[str, Any]) -> str:
    from . import show

    others = [name for name in found["prefixes"][0]["metrics"] if name != found["metric"]]
    lines = [["dimensions", found["metric"], "95 % interval", *others]]
    for one in found["prefixes"]:
        main, *rest = (one["metrics"][name] for name in (found["metric"], *others))
        between = "" if main["low"] is None else f"{main['low']:.4f} - {main['high']:.4f}"
        trained = "*" if one["trained"] else ""
        lines.append([f"{one['dim']}{trained}", f"{main['value']:.4f}", between, *(f"{x['value']:.4f}" for x in rest)])
    about = f"{found['query']} to {found['target']}: {found['queries']} queries, {found['pool']} candidates"
    notes = f"chance {found['prefixes'][0]['metrics'][found['metric']]['chance']:.4f}; * trained as a prefix"
    return f"{about}, {notes}\n" + show.table(lines, right=(0, 1, 3, 4, 5))
