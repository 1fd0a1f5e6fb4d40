"""Suggest a number of dimensions, or measure what fewer cost."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any


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
    encoding: str | None = None,
    device: str = "auto",
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
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    import sys

    from ..errors import UsageError
    from .console import check_plot, print_json

    if model is None:
        options = {"--query": query, "--target": target, "--relevant": relevant, "--plot": plot}
        for name, value in options.items():
            if value is not None:
                raise UsageError(name, f"{name} needs --model", "give --model too")
        _print_suggestions(table, json_, encoding)
        return
    if query is None or target is None:
        raise UsageError("dims", "--query and --target are missing", "give two of the model's columns")
    if k < 1:
        raise UsageError("-k", f"must be at least 1, got {k}", "use a positive integer")
    check_plot(plot)
    curve = _measure(model, table, query, target, relevant, split, k, device, trust or (), encoding)
    if not curve["nested"]:
        print(
            "warning: the model was trained without `matryoshka_dims`, so its prefixes were not trained",
            file=sys.stderr,
        )
    if json_:
        print_json(curve)
    else:
        _print_curve(curve)
    if plot is not None:
        _draw(curve, Path(plot))
        print(f"{plot}: {curve['metric']} by number of dimensions", file=sys.stderr)


def prefixes(dim: int, trained: Collection[int]) -> list[int]:
    """The powers of two below `dim`, the prefixes that were trained, and `dim` itself.

    >>> prefixes(24, [12])
    [1, 2, 4, 8, 12, 16, 24]
    """
    return sorted({*(2**power for power in range(dim.bit_length()) if 2**power < dim), *trained, dim})


def _print_suggestions(table: str, as_json: bool, encoding: str | None) -> None:
    from ..data.rows import Rows
    from ..recipe_writer.column_types import infer_columns, suggest_dimensions
    from .console import print_json, print_table

    listed: list[dict[str, Any]] = []
    rows = []
    for column in infer_columns(Rows.open(table, encoding=encoding)):
        embedded = column.kind not in ("id", "split", "number", "other")
        start, low, high = suggest_dimensions(column.values) if embedded else (None, None, None)
        facts = {"column": column.name, "kind": column.kind, "values": column.values, "start": start}
        listed.append({**facts, "search": [low, high] if embedded else None})
        suggestion = [str(start), f"{low} to {high}"] if embedded else ["", ""]
        rows.append([column.name, column.kind, f"{column.values:,}", *suggestion])
    if as_json:
        print_json(listed)
    else:
        names = ["column", "kind", "values", "dimensions", "search"]
        print_table(names, rows, right={"values", "dimensions"})


def _measure(
    model: str,
    table: str,
    query: str,
    target: str,
    relevant: str | None,
    split: str,
    k: int,
    device: str,
    trust: Collection[str],
    encoding: str | None = None,
) -> dict[str, Any]:
    """Retrieval metrics of each prefix, on one task and from one embedding.

    Returns:
        `prefixes`: for each its `dim`, whether it was `trained`,
        and its `metrics` as in `evaluation.retrieval`. Besides
        `metric`, the name of the first of them, `queries`, `pool`, and whether the model is `nested`.

    Raises:
        UsageError: a column is unknown, or no row is a query.
    """
    from ..data.trained import open_as_trained
    from ..data.unreadable import skip_unreadable
    from ..errors import UsageError
    from ..evaluation.retrieval import evaluate
    from ..evaluation.retrieval_task import build_task
    from ..indexing.table_cells import path_columns
    from ..space.device import resolve_device
    from ..training.joint_embedding import JointEmbedding

    loaded = JointEmbedding.load(model, trust).to(resolve_device(device))
    space, nested = loaded.space, loaded.matryoshka_dims
    table_rows = open_as_trained(table, model, encoding=encoding)

    def embed() -> tuple[Any, Any, Any]:
        dicts = table_rows.dicts(None, path_columns(space))
        space.compose_cells(dicts, query, target)
        task = build_task(dicts, query, target, relevant, split, list_columns=set(space.pools))
        if not task.queries:
            wrong = f"no {target} of {split} is relevant to any of its cells"
            raise UsageError(query, wrong, "choose other columns or another --split")
        queries = space.embed(query, task.queries)
        return task, queries, queries if task.candidates is task.queries else space.embed(target, task.candidates)

    task, queries, candidates = skip_unreadable(table_rows, space, [query, target], embed)
    names = [f"recall@{k}", f"precision@{k}", "map"]
    measured = []
    for dim in prefixes(space.dim, nested):
        # Whole vectors have length 1; `evaluate` normalizes each prefix if the metric asks for it.
        metrics = evaluate(task, queries[:, :dim], candidates[:, :dim], space.metric, (k,))
        is_trained = dim in (nested or [space.dim])
        measured.append({"dim": dim, "trained": is_trained, "metrics": {name: metrics[name] for name in names}})
    counts = {"queries": len(task.queries), "pool": len(task.candidates)}
    columns = {"query": query, "target": target}
    return {**columns, "metric": names[0], **counts, "nested": bool(nested), "prefixes": measured}


def _print_curve(curve: dict[str, Any]) -> None:
    from .console import format_interval, format_number, print_table

    first, *rest = curve["prefixes"][0]["metrics"]
    rows = []
    for prefix in curve["prefixes"]:
        metrics = prefix["metrics"]
        dim = f"{prefix['dim']}{'*' if prefix['trained'] else ' '}"
        values = [format_number(metrics[name]["value"]) for name in rest]
        rows.append([dim, format_number(metrics[first]["value"]), format_interval(metrics[first]), *values])
    chance = curve["prefixes"][0]["metrics"][first]["chance"]
    print(
        f"{curve['query']} to {curve['target']}: {curve['queries']:,} queries, {curve['pool']:,} candidates, ", end=""
    )
    print(f"chance {chance:.4f}\n")
    print_table(["dimensions", first, "95 % interval", *rest], rows, right={"dimensions", first, *rest})
    print("\n* trained as a prefix")


def _draw(curve: dict[str, Any], path: Path) -> None:
    """Draw the first metric by the number of dimensions, with its 95 % interval and chance, as a PNG."""
    from ..analyze.figure import escape_math, plotting, save

    dims = [prefix["dim"] for prefix in curve["prefixes"]]
    metrics = [prefix["metrics"][curve["metric"]] for prefix in curve["prefixes"]]
    with plotting(7, 4.2, dpi=150) as (figure, theme):
        from matplotlib.ticker import FixedLocator, NullLocator

        axes, color = figure.add_subplot(), theme.colors[0]
        if metrics[0]["low"] is not None:
            low, high = ([metric[end] for metric in metrics] for end in ("low", "high"))
            axes.fill_between(dims, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(dims, [metric["value"] for metric in metrics], color=color, label=escape_math(curve["metric"]))
        for trained, fill, label in ((True, color, "trained prefix"), (False, theme.background, "between")):
            pairs = zip(curve["prefixes"], metrics, strict=True)
            points = [(prefix["dim"], metric["value"]) for prefix, metric in pairs if prefix["trained"] == trained]
            if points:
                axes.plot(*zip(*points, strict=True), "o", color=color, markerfacecolor=fill, label=label)
        axes.axhline(metrics[0]["chance"], color=theme.muted, linestyle=":", label="chance")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(dims))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(dim) for dim in dims])
        axes.set_ylim(0, 1.03)
        axes.set(xlabel="dimensions", ylabel=escape_math(curve["metric"]))
        title = f"{curve['query']} to {curve['target']}, {curve['queries']} queries, {curve['pool']} candidates"
        axes.set_title(escape_math(title), loc="left", fontsize=10, fontweight="bold")
        axes.grid(linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="best", frameon=False)
        save(figure, path)
