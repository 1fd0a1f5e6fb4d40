"""The tour of the demo: queries to its space, and how well the space answers for songs that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .baseline import Baseline
from .captions import QUERIES

# What is measured: (name, query column, target column, relevance column, candidate split, key of the metric)
METRICS = (
    ("genre precision@5, all songs", "audio", "audio", "genre", "all", "precision@5"),
    ("caption -> audio recall@5", "caption", "audio", None, None, "recall@5"),
    ("audio -> own piano roll recall@1", "audio", "piano_roll", None, None, "recall@1"),
)


def show(folder: Path, console: Any) -> None:
    """Print the tour: similar songs, songs for a text, a genre and a piano roll, clusters, metrics."""
    from ..data.rows import Rows
    from ..index.index import Index
    from ..space.space import Space

    rows = Rows.open(folder).dicts(paths=("audio", "piano_roll"))
    model = Space.load(folder / "run")
    song = next(row for row in rows if row["split"] == "test")
    genre = rows[0]["genre"]
    with Index.open(folder / "songs.index") as index:

        def show_hits(title: str, hits: Iterable[Any]) -> None:
            lines = [(f"{hit.score:.3f}", hit.row["title"], hit.row["genre"], hit.row["artist"]) for hit in hits]
            _print_table(console, title, ("score", "song", "genre", "artist"), lines, right=1)

        def search(column: str, cell: str) -> list[Any]:
            return index.search(model.embed(column, [cell])[0], 3)

        show_hits(f"Songs like {song['title']} ({song['genre']}, {song['artist']})", index.similar(song["id"], 5))
        for text in QUERIES:
            show_hits(f'Songs for "{text}"', search("caption", text))
        show_hits(f"Songs nearest to the genre {genre}", search("genre", genre))
        show_hits(f"Songs nearest to the piano roll of {song['title']}", search("piano_roll", song["piano_roll"]))
        ids, vectors = index.vectors("audio")
    genres = {row["id"]: row["genre"] for row in rows}
    _show_clusters(console, np.asarray(vectors), [genres[id] for id in ids])
    _show_metrics(console, rows, model)


def metrics(rows: list[dict[str, Any]], model: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """The metrics of the demo on its test songs, of the space and of the baseline."""
    from ..evaluation.retrieval import evaluate
    from ..evaluation.retrieval_task import build_task

    reader = model.reader("audio")
    baseline = Baseline(rows, [reader.preprocess(row["audio"]) for row in rows])
    results = {}
    for name, query, target, relevant, against, key in METRICS:
        task = build_task(rows, query, target, relevant, "test", against)
        vectors = {
            "space": (model.embed(query, task.queries), model.embed(target, task.candidates)),
            "baseline": baseline.embed(task.queries, query, task.candidates, target),
        }
        results[name] = {method: evaluate(task, *pair, "cosine", (1, 5))[key] for method, pair in vectors.items()}
    return results


def next_steps(folder: Path) -> list[str]:
    """Commands to try on the files that the demo leaves."""
    return [
        f"jointembed serve {folder}/songs.index",
        f'jointembed search {folder}/songs.index "a slow sad waltz" --where "tempo < 120"',
        f"jointembed similar {folder}/songs.index {folder}/listen.flac",
        f"jointembed evaluate {folder}/run {folder} --query audio --target genre",
    ]


def _show_clusters(console: Any, vectors: Any, genres: list[str]) -> None:
    from ..analyze.cluster import agreement, cluster

    count = len(set(genres))
    purity = agreement(cluster(vectors, count).labels, genres)["metrics"]["purity"]
    text = f"purity by genre {purity['value']:.2f} (chance {purity['chance']:.2f})"
    console.print(f"\n[bold]k-means, {count} clusters[/] of all songs: {text}")


def _show_metrics(console: Any, rows: list[dict[str, Any]], model: Any) -> None:
    lines = []
    for name, values in metrics(rows, model).items():
        space, baseline = values["space"], values["baseline"]
        interval = f"{space['low']:.2f} - {space['high']:.2f}"
        numbers = (f"{space['value']:.3f}", interval, f"{baseline['value']:.3f}", f"{space['chance']:.3f}")
        lines.append((name, *numbers))
    title = "Metrics on unseen songs (synthetic: they say little about real music)"
    _print_table(console, title, ("", "space", "95 % interval", "baseline", "chance"), lines, right=5)
    console.print("Baseline: MFCC statistics, TF-IDF of captions, pixels of piano rolls; cosine.", style="dim")


def _print_table(
    console: Any, title: str, names: tuple[str, ...], lines: Iterable[tuple[str, ...]], right: int
) -> None:
    """A table whose named columns among the first `right` are aligned to the right where they hold numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, name in enumerate(names):
        table.add_column(name, justify="right" if name and position < right else "left")
    for line in lines:
        table.add_row(*line)
    console.print(f"\n[bold]{title}[/]")
    console.print(table)
