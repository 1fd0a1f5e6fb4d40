"""What prefixes of a model's vectors are worth: the curve that nested dimensions are trained for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import UsageError


def prefixes(dim: int, trained: Collection[int]) -> list[int]:
    """The powers of two below `dim`, the prefixes that were trained, and `dim` itself.

    >>> prefixes(24, [12])
    [1, 2, 4, 8, 12, 16, 24]
    """
    return sorted({*(2**power for power in range(dim.bit_length()) if 2**power < dim), *trained, dim})


def measured(
    model: str,
    table: str,
    query: str,
    target: str,
    relevant: str | None,
    split: str,
    k: int,
    trust: Collection[str],
) -> dict[str, Any]:
    """Retrieval figures of each prefix, on one task and from one embedding.

    Returns:
        `prefixes`: for each its `dim`, whether it was `trained`, and its `metrics` as in `evaluation.retrieval`;
        besides these `metric`, the name of the first of them, `queries`, `pool`, and whether the model is `nested`.

    Raises:
        UsageError: a column is unknown, or no row asks.
    """
    from ..data.table import opened
    from ..evaluation.retrieval import evaluate
    from ..evaluation.retrieval_task import build_task
    from ..indexing.from_table import paths
    from ..space.embed import complete
    from ..space.space import JointEmbedding

    if k < 1:
        raise UsageError("--k", f"{k} is no number of hits", "give one above 0")
    space = JointEmbedding.load(model, trust)
    rows = opened(table, model)
    dicts = rows.dicts(None, paths(space))
    complete(space, dicts, query, target)
    asked = build_task(dicts, query, target, relevant, split, list_columns=set(space.pools))
    if not asked.queries:
        raise UsageError(
            query, f"no {target} of {split} is right for any of its cells", "choose other columns or --split"
        )
    queries = space.embed(query, asked.queries)
    candidates = queries if asked.candidates is asked.queries else space.embed(target, asked.candidates)
    shown = [f"recall@{k}", f"precision@{k}", "map"]
    found = []
    for dim in prefixes(space.dim, space.dims):
        # Embedded vectors have length 1 as a whole; the figures bring each prefix to length 1 where the metric asks.
        all_ = evaluate(asked, queries[:, :dim], candidates[:, :dim], space.metric, (k,))
        kept = {name: all_[name] for name in shown}
        found.append({"dim": dim, "trained": dim in (space.dims or [space.dim]), "metrics": kept})
    return {
        "query": query,
        "target": target,
        "metric": shown[0],
        "queries": len(asked.queries),
        "pool": len(asked.candidates),
        "nested": bool(space.dims),
        "prefixes": found,
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the curve of the first figure, its 95 % interval and chance as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    from ..files import write

    dims = [one["dim"] for one in found["prefixes"]]
    curve = [one["metrics"][found["metric"]] for one in found["prefixes"]]
    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if curve[0]["low"] is not None:
        low, high = ([one[end] for one in curve] for end in ("low", "high"))
        axes.fill_between(dims, low, high, alpha=0.2, linewidth=0)
    axes.plot(dims, [one["value"] for one in curve], color="C0", label=found["metric"])
    for trained, fill, label in ((True, "C0", "trained prefix"), (False, "white", "between")):
        points = [(dim, one["value"]) for dim, one, p in zip(dims, curve, found["prefixes"], strict=True)
                  if p["trained"] == trained]  # fmt: skip
        if points:
            axes.plot(*zip(*points, strict=True), "o", color="C0", markerfacecolor=fill, label=label)
    axes.axhline(curve[0]["chance"], color="0.5", linestyle=":", label="chance")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(dims))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(dim) for dim in dims])
    axes.set_ylim(0, 1.03)
    axes.set(xlabel="dimensions", ylabel=found["metric"])
    axes.set_title(f"{found['query']} to {found['target']}, {found['queries']} queries, {found['pool']} candidates")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False)
    write(path, lambda file: figure.savefig(file, format="png"))
