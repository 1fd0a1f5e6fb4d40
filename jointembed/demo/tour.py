"""What the demo asks its space, and how well it answers on songs that it has not been trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import baseline, score
from .caption import SENTENCES

Row = dict[str, Any]
HEADING = "synthetic songs: this proves the path, not the quality"


def show(folder: Path, console: Any) -> None:
    """Print the tour: similar songs, songs for sentences, for a genre and for a score, clusters, figures."""
    from ..data.rows import Rows
    from ..index.index import Index
    from ..space.space import JointEmbedding

    rows = Rows.open(folder).dicts(paths=("audio", "score"))
    model = JointEmbedding.load(folder / "run")
    with Index.open(folder / "songs.index") as index:
        asked = next(row for row in rows if row["split"] == "test")
        _hits(
            console, f"Songs like {asked['title']} ({asked['genre']}, {asked['artist']})", index.similar(asked["id"], 5)
        )
        for sentence in SENTENCES:
            vector = model.embed("caption", [sentence])[0]
            _hits(console, f'Songs for "{sentence}"', index.search(vector, 3))
        genre = model.reader("genre").vocabulary()[0]
        _hits(
            console,
            f"Songs nearest to the point of the genre {genre}",
            index.search(model.embed("genre", [genre])[0], 3),
        )
        found = index.search(model.embed("score", [asked["score"]])[0], 3)
        _hits(console, f"The recording of the score of {asked['title']}", found)
        ids, vectors = index.vectors("audio")
    genres = {row["id"]: row["genre"] for row in rows}
    _clusters(console, np.asarray(vectors), [genres[one] for one in ids])
    _figures(console, rows, model)


def _hits(console: Any, title: str, hits: Any) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("score", "song", "genre", "artist"):
        table.add_column(name, justify="right" if name == "score" else "left")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", hit.row["title"], hit.row["genre"], hit.row["artist"])
    console.print(f"\n[bold]{title}[/]")
    console.print(table)


def _clusters(console: Any, vectors: NDArray[Any], genres: list[str]) -> None:
    from ..analyze.cluster import agreement, clusters

    count = len(set(genres))
    purity = agreement(clusters(vectors, count).labels, genres)["figures"]["purity"]
    pure = f"purity by genre {purity['value']:.2f} (chance {purity['chance']:.2f})"
    console.print(f"\n[bold]k-means, {count} clusters[/] of all songs: {pure}")


def _figures(console: Any, rows: list[Row], model: Any) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "space", "95 % interval", "baseline", "chance"):
        table.add_column(name, justify="left" if not name else "right")
    for name, values in figures(rows, model).items():
        ours, plain = values["space"], values["baseline"]
        interval = f"{ours['low']:.2f} - {ours['high']:.2f}"
        table.add_row(name, f"{ours['value']:.3f}", interval, f"{plain['value']:.3f}", f"{ours['chance']:.3f}")
    console.print(f"\n[bold]Figures on unseen songs[/] - {HEADING}")
    console.print(table)
    console.print(
        "Baseline: MFCC statistics, TF-IDF of captions, score pixels; nearest neighbours by cosine.",
        style="dim",
    )


def figures(rows: list[Row], model: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """The demo's three figures on its test songs, of the space and of the plain baseline."""
    from ..evaluation import retrieval
    from ..evaluation import retrieval_task as tasks

    train = [row for row in rows if row["split"] == "train"]
    reader = model.reader("audio")
    paths = [row["audio"] for row in rows]
    sounds = dict(zip(paths, baseline.mfcc([reader.preprocess(path) for path in paths]), strict=True))
    pixels = {row["score"]: score.read(row["score"]).ravel().astype(np.float32) for row in rows}
    captions = [(one, row) for row in train for one in row["caption"]]

    def plain(column: str, cells: list[str], query: str) -> NDArray[Any]:
        if column == "audio" and query == "caption":
            return np.stack([sounds[cell] for cell in cells])
        return np.stack([pixels[cell] if column == "score" else sounds[cell] for cell in cells])

    def asked(cells: list[str], query: str) -> NDArray[Any]:
        if query == "caption":
            table = baseline.words([*cells, *(one for one, _ in captions)])
            seen = np.stack([sounds[row["audio"]] for _, row in captions])
            return baseline.through(table[: len(cells)], table[len(cells) :], seen)
        seen = np.stack([sounds[row["audio"]] for row in train])
        return baseline.through(plain("audio", cells, ""), seen, np.stack([pixels[row["score"]] for row in train]))

    made = {}
    for name, query, target, relevant, against, key in (
        ("genre precision@5, all songs", "audio", "audio", "genre", "all", "precision@5"),
        ("caption -> audio recall@5", "caption", "audio", None, None, "recall@5"),
        ("audio -> own score recall@1", "audio", "score", None, None, "recall@1"),
    ):
        task = tasks.build_task(rows, query, target, relevant, "test", against)
        ours = model.embed(query, task.queries), model.embed(target, task.candidates)
        theirs = plain(target, task.candidates, query)
        theirs_asked = plain("audio", task.queries, "") if query == target else asked(task.queries, query)
        made[name] = {
            "space": retrieval.evaluate(task, *ours, "cosine", (1, 5))[key],
            "baseline": retrieval.evaluate(task, baseline.unit(theirs_asked), baseline.unit(theirs), "cosine", (1, 5))[
                key
            ],
        }
    return made


def next_steps(folder: Path) -> list[str]:
    """Commands that work on what the demo leaves."""
    return [
        f"jointembed serve {folder}/songs.index",
        f'jointembed search {folder}/songs.index "a slow sad waltz" --where "tempo < 120"',
        f"jointembed similar {folder}/songs.index {folder}/listen.flac",
        f"jointembed evaluate {folder}/run {folder} --query audio --target genre",
    ]
