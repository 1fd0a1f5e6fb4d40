"""Cluster the items of an index and name each cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..analyze.cluster import Clusters
    from ..analyze.cluster_names import NamedCluster
    from ..index.selection import SelectedItems

MIN_COLUMNS_FOR_WORDS = 120  # a narrower terminal has no room for nearest words


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
    import os
    import sys

    from ..errors import UsageError, did_you_mean
    from .console import check_plot, print_json
    from .progress import status

    if dry_run and output_column != "cluster":
        raise UsageError("--output-column", "it cannot be combined with --dry-run", "leave one of the two out")
    check_plot(plot)
    from ..analyze.cluster import agreement, write_column
    from ..analyze.cluster import cluster as cluster_vectors
    from ..analyze.cluster_names import name_clusters
    from ..index.index import Index
    from ..index.selection import select

    with Index.open(index) as opened:
        if not dry_run and not os.access(index, os.W_OK):
            raise UsageError(index, "the index is read-only", "correct its permissions, or add --dry-run")
        selection = select(opened, field, where)
        columns = dict.fromkeys(name for row in selection.rows for name in row)
        if compare_to is not None and compare_to not in columns:
            raise UsageError(compare_to, "no item has a cell in this column", did_you_mean(compare_to, columns))
        with status(f"Clustering {len(selection.ids):,} items ..."):
            clusters = cluster_vectors(selection.vectors, k)
            earlier = list(opened.info.clusters)
            vocabulary = opened.vocabulary(field)
            names = name_clusters(selection.vectors, clusters.labels, selection.rows, vocabulary, ignore=earlier)
            cells = None if compare_to is None else [row.get(compare_to) for row in selection.rows]
            agreed_metrics = None if cells is None else agreement(clusters.labels, cells)
        if not dry_run:
            with status(f"Writing the column {output_column} ..."):
                write_column(opened, output_column, selection.ids, clusters.labels, [cluster.name for cluster in names])
    if plot is not None:
        _draw(plot, index, clusters, names, selection)
        print(f"{plot}: {len(names)} clusters of {len(selection.ids):,} items", file=sys.stderr)
    if json_:
        facts = {
            "method": clusters.method,
            "items": len(selection.ids),
            "in no cluster": int((clusters.labels < 0).sum()),
        }
        print_json(
            {**facts, "clusters": [cluster.to_json(selection.ids) for cluster in names], "against": agreed_metrics}
        )
        return
    _print_clusters(clusters, names, selection)
    if compare_to is not None and agreed_metrics is not None:
        _print_agreement(compare_to, agreed_metrics)
    if not dry_run and names:
        command = _search_command(index, output_column, names[0].name, selection.ids[names[0].medoid], field)
        print(f"\nstored in the column {output_column}; to search the first cluster: {command}")


def _print_clusters(clusters: Clusters, names: Sequence[NamedCluster], selection: SelectedItems) -> None:
    """Print clusters with their sizes, names, most central items, and what distinguishes them."""
    from .console import print_table, stdout_console

    console = stdout_console()
    has_words = any(cluster.terms for cluster in names)
    shows_words = has_words and console.width >= MIN_COLUMNS_FOR_WORDS
    rows = []
    for cluster in names:
        title = selection.rows[cluster.medoid].get("title")
        item = title if isinstance(title, str) else selection.ids[cluster.medoid]
        room = console.width // 5
        if len(item) > room:  # of an id the end is kept, where a path has its file
            item = item[: room - 1] + "…" if isinstance(title, str) else "…" + item[1 - room :]
        words = [", ".join(cluster.terms)] if shows_words else []
        rows.append([f"{cluster.items:,}", cluster.name, item, *words, "; ".join(map(str, cluster.traits[:3]))])
    unclustered = int((clusters.labels < 0).sum())
    if unclustered:
        rows.append([f"{unclustered:,}", "in no cluster", *[""] * (3 if shows_words else 2)])
    columns = [
        "items",
        "cluster",
        "most central",
        *(["nearest words"] if shows_words else []),
        "more frequent than elsewhere",
    ]
    print(f"{len(selection.ids):,} items: {clusters.method}\n")
    print_table(columns, rows, right={"items"}, wrap=False)
    if has_words and not shows_words:
        print("\nnot shown: nearest words (use --json or a wider terminal)")


def _print_agreement(column: str, agreed_metrics: dict[str, Any]) -> None:
    """Print how well the clusters agree with the values of a column."""
    from .console import print_table

    def number(value: float | None) -> str:
        return "" if value is None else f"{round(value, 3) + 0.0:.3f}"

    print(
        f"\ncompared to {column}: {agreed_metrics['items']:,} items with one of {agreed_metrics['values']:,} values\n"
    )
    rows = [
        [name, number(metric["value"]), number(metric["chance"])] for name, metric in agreed_metrics["metrics"].items()
    ]
    print_table(["metric", "value", "chance"], rows, right={"value", "chance"})


def _search_command(index: str, column: str, cluster: str, id: str, field: str | None) -> str:
    """The command that finds the items nearest to one within its cluster, as a shell takes it.

    Args:
        index: the index.
        column: the column that the clusters are stored in.
        cluster: the name of the cluster.
        id: an item of the cluster.
        field: the field that was clustered.
    """
    import shlex

    from ..errors import escape_control
    from ..index.where import KEYWORDS

    cell = column if column.isidentifier() and column.lower() not in KEYWORDS else f'"{column}"'
    quoted = cluster.replace("'", "''")
    condition = f"{cell} = '{quoted}'"
    # Double quotes are easier to read, but a shell looks into them.
    condition = shlex.quote(condition) if set(condition) & set('"\\$`!') else f'"{condition}"'
    words = ["jointembed", "similar", shlex.quote(index), *(["--field", shlex.quote(field)] if field else [])]
    words += ["--where", condition, *(["--"] if id.startswith("-") else []), shlex.quote(id)]
    return escape_control(" ".join(words))


def _draw(plot: str, index: str, clusters: Clusters, names: Sequence[NamedCluster], selection: SelectedItems) -> None:
    """Draw the clusters in the plane of the first two principal components."""
    from pathlib import Path

    from ..analyze.cluster import pca
    from ..analyze.cluster_plot import draw

    points, share = pca(selection.vectors, 2)
    title = f"{Path(index).name}: {len(selection.ids):,} items, {len(names)} clusters"
    axes = f"principal components 1 and 2 ({share:.0%} of the variance)"
    draw(Path(plot), points, clusters.labels, [cluster.name for cluster in names], title, axes)
