"""How clusters are printed and drawn."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cli import show
from ..errors import escape_control
from ..index.selection import Items
from ..index.where import KEYWORDS
from .cluster import Clusters
from .cluster_names import Named

NARROW = 120  # signs of a line that has no room for nearest words


def listed(found: Clusters, made: Sequence[Named], chosen: Items, agreed: dict[str, Any] | None) -> str:
    """Clusters as JSON: {"how", "items", "in no cluster", "clusters": [...], "against"}."""
    left = int((found.labels < 0).sum())
    facts = {"how": found.how, "items": len(chosen.ids), "in no cluster": left}
    text = json.dumps({**facts, "clusters": [one.facts(chosen.ids) for one in made], "against": agreed},
                      ensure_ascii=False)  # fmt: skip
    return text.encode("utf-8", "backslashreplace").decode()


def table(found: Clusters, made: Sequence[Named], chosen: Items) -> str:
    """Clusters with their sizes, names, most central items, and what they have more often than the others.

    A narrow terminal has no room for their nearest words, which their names mostly hold; a line below it says so.
    """
    most = shutil.get_terminal_size((0, 0)).columns
    known = any(one.words for one in made)
    said = known and not 0 < most < NARROW
    rows = [["items", "cluster", "most central", *(["nearest words"] if said else []), "more often than in the others"]]
    for one in made:
        title = chosen.rows[one.central].get("title")
        item = _cut(title, True) if isinstance(title, str) else _cut(chosen.ids[one.central], False)
        near = [", ".join(one.words)] if said else []
        rows.append([f"{one.items:,}", one.name, item, *near, "; ".join(map(str, one.traits[:3]))])
    left = int((found.labels < 0).sum())
    if left:
        rows.append([f"{left:,}", "in no cluster", *[""] * (len(rows[0]) - 2)])
    more = "\nfor their nearest words use --json or a wider terminal" if known and not said else ""
    return f"{len(chosen.ids):,} items: {found.how}\n" + show.table(rows, right=(0,)) + more


def figures(against: str, agreed: dict[str, Any]) -> str:
    """How well clusters agree with a column."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{round(value, 3) + 0.0:.3f}"

    rows = [["figure", "value", "chance"]]
    rows += [[name, number(one["value"]), number(one["chance"])] for name, one in agreed["figures"].items()]
    heading = f"against {against}: {agreed['items']:,} items with one of {agreed['values']:,} values"
    return heading + "\n" + show.table(rows, right=(1, 2))


def asked(index: str, name: str, cluster: str, id: str, column: str | None = None) -> str:
    """The command that finds what is nearest to an item within its cluster; it needs no model.

    Args:
        index: the index.
        name: the column that the clusters are written as.
        cluster: the name of one.
        id: of an item in it.
        column: which of the index's columns was clustered.
    """
    cell = name if name.isidentifier() and name.lower() not in KEYWORDS else f'"{name}"'
    quoted = cluster.replace("'", "''")
    condition = f"{cell} = '{quoted}'"
    if set(condition) & set('"\\$`!'):
        condition = shlex.quote(condition)
    else:  # so that it can be read
        condition = f'"{condition}"'
    words = ["jointembed", "similar", shlex.quote(index), *(["--field", shlex.quote(column)] if column else [])]
    words += ["--where", condition, *(["--"] if id.startswith("-") else []), shlex.quote(id)]
    return escape_control(" ".join(words))


def draw(path: Path, index: str, found: Clusters, made: Sequence[Named], chosen: Items) -> None:
    """Draw clusters in the plane of their items' first principal components."""
    from .cluster import principal
    from .plot import draw

    points, share = principal(chosen.vectors, 2)
    title = f"{Path(index).name}: {len(chosen.ids):,} items, {len(made)} clusters"
    axes = f"principal components 1 and 2 ({share:.0%} of the variance)"
    draw(path, points, found.labels, [one.name for one in made], title, axes)


def _cut(text: str, title: bool) -> str:
    """As much as there is room for: a title's beginning, and an id's end, where a path has its file."""
    most = shutil.get_terminal_size((120, 24)).columns // 5
    if len(text) <= most:
        return text
    return text[: most - 1] + "…" if title else "…" + text[1 - most :]
