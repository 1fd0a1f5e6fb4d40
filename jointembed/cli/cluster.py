"""`jointembed cluster`: the clusters of an index, and what they are."""

from __future__ import annotations

import json as text
import os
import sys
from pathlib import Path

from ..errors import UsageError, did_you_mean
from ..index.index import Index
from .console import status
from .show import drawable


def cluster(
    index: str,
    k: int | None = None,
    auto: bool = False,
    column: str | None = None,
    name: str = "cluster",
    look: bool = False,
    against: str | None = None,
    where: str | None = None,
    plot: str | None = None,
    json: bool = False,
) -> None:
    """Groups of like items, named by what they have more often than the others, and written back as a column.

    Args:
        index: the index.
        k: how many clusters (k-means).
        auto: as many as there are dense places (HDBSCAN), which is also done if k is not given.
        column: which of the index's columns to cluster by; its first if not given.
        name: the column of the rows that the clusters are written as.
        look: only look, and write nothing.
        against: a column whose values the clusters are compared with.
        where: a condition on the columns, such as "genre = 'waltz' and tempo > 120".
        plot: a .png file to draw the clusters into.
        json: print JSON.
    """
    if auto and k is not None:
        raise UsageError("k", "--auto finds the number of clusters itself", "give one of the two")
    if look and name != "cluster":
        raise UsageError("--name", "--look writes nothing that could be called so", "leave one of the two out")
    drawable(plot)
    from ..analyze import cluster_report
    from ..analyze.cluster import agreement, clusters, keep
    from ..analyze.cluster_names import named
    from ..index.selection import items

    with Index.open(index) as opened:
        if not look and not os.access(index, os.W_OK):
            raise UsageError(index, "this index may not be written", "correct its permissions, or only --look")
        chosen = items(opened, column, where)
        known = dict.fromkeys(name for row in chosen.rows for name in row)
        if against is not None and against not in known:
            raise UsageError(against, "no item has a cell in this column", did_you_mean(against, known))
        with status(f"Clustering {len(chosen.ids):,} items ..."):
            found = clusters(chosen.vectors, k)
            own = text.loads(opened.get_meta("clusters") or "{}")
            made = named(chosen.vectors, found.labels, chosen.rows, opened.vocabulary(column), leave=own)
            cells = None if against is None else [row.get(against) for row in chosen.rows]
            agreed = None if cells is None else agreement(found.labels, cells)
        if not look:
            with status(f"Writing the column {name} ..."):
                keep(opened, name, chosen.ids, found.labels, [one.name for one in made])
    if plot is not None:
        cluster_report.draw(Path(plot), index, found, made, chosen)
        print(f"{plot}: {len(made)} clusters of {len(chosen.ids):,} items", file=sys.stderr)
    if json:
        print(cluster_report.listed(found, made, chosen, agreed))
        return
    print(cluster_report.table(found, made, chosen))
    if against is not None and agreed is not None:
        print("\n" + cluster_report.figures(against, agreed))
    if not look and made:
        said = cluster_report.asked(index, name, made[0].name, chosen.ids[made[0].central], column)
        print(f"\nwritten as the column {name}; within the first: {said}")
