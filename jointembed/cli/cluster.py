"""Cluster the items of an index and name each cluster."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ..errors import UsageError, did_you_mean
from ..index.index import Index
from .console import status
from .show import drawable


def cluster(
    index: str,
    *,
    k: int | None = None,
    field: str | None = None,
    output_column: str = "cluster",
    dry_run: bool = False,
    compare_to: str | None = None,
    where: str | None = None,
    plot: str | None = None,
    json_: bool = False,
) -> None:
    """Cluster the items of an index, name each cluster by what distinguishes it, and store the clusters as a column.

    Args:
        index: the index.
        k: the number of clusters (k-means); if not given, one for each dense region (HDBSCAN).
        field: the field of the index to cluster by; the first if not given.
        output_column: the column to store the clusters in.
        dry_run: show the clusters without storing them.
        compare_to: a column of labels to compare the clusters with.
        where: only items that meet this condition, such as "genre = 'waltz' and tempo > 120".
        plot: a .png file to draw the clusters into.
        json_: print JSON.
    """
    if dry_run and output_column != "cluster":
        raise UsageError("--output-column", "it cannot be combined with --dry-run", "leave one of the two out")
    drawable(plot)
    from ..analyze import cluster_report
    from ..analyze.cluster import agreement, clusters, keep
    from ..analyze.cluster_names import named
    from ..index.selection import items

    with Index.open(index) as opened:
        if not dry_run and not os.access(index, os.W_OK):
            raise UsageError(index, "the index is read-only", "correct its permissions, or add --dry-run")
        chosen = items(opened, field, where)
        columns = dict.fromkeys(name for row in chosen.rows for name in row)
        if compare_to is not None and compare_to not in columns:
            raise UsageError(compare_to, "no item has a cell in this column", did_you_mean(compare_to, columns))
        with status(f"Clustering {len(chosen.ids):,} items ..."):
            found = clusters(chosen.vectors, k)
            own = json.loads(opened.get_meta("clusters") or "{}")
            made = named(chosen.vectors, found.labels, chosen.rows, opened.vocabulary(field), leave=own)
            cells = None if compare_to is None else [row.get(compare_to) for row in chosen.rows]
            agreed = None if cells is None else agreement(found.labels, cells)
        if not dry_run:
            with status(f"Writing the column {output_column} ..."):
                keep(opened, output_column, chosen.ids, found.labels, [one.name for one in made])
    if plot is not None:
        cluster_report.draw(Path(plot), index, found, made, chosen)
        print(f"{plot}: {len(made)} clusters of {len(chosen.ids):,} items", file=sys.stderr)
    if json_:
        print(cluster_report.listed(found, made, chosen, agreed))
        return
    print(cluster_report.table(found, made, chosen))
    if compare_to is not None and agreed is not None:
        print("\n" + cluster_report.figures(compare_to, agreed))
    if not dry_run and made:
        said = cluster_report.asked(index, output_column, made[0].name, chosen.ids[made[0].central], field)
        print(f"\nstored in the column {output_column}; to search the first cluster: {said}")
