"""Experiment: cold-start baselines without training.

    python recipes/movies/experiments/cold_baselines.py TABLE [SPLIT]

TABLE is the output of `prepare.py --cold`. It reports on the rows of SPLIT (`test`), beside chance:

- content: films as TF-IDF of the words of their titles and their genres, a viewer as the mean of those in the history,
  by cosine.
- popularity: a cold film has no counts, so its popularity is estimated from the training histories: the logarithm of
  the mean count of the films of its genres, averaged over the genres, plus that of the films of its year.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from jointembed import recipe_tools
from jointembed.data.rows import Rows
from jointembed.errors import UsageError
from jointembed.evaluation.retrieval import evaluate
from jointembed.evaluation.retrieval_task import build_task

HITS = 50


def popular(rows: list[dict[str, Any]], films: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """(C, 1) the estimated popularity of each film, from the training rows."""
    counts = Counter(film for row in rows if row["split"] == "train" for film in row["history"])
    counts_of = defaultdict(list)
    for row in rows:
        if row["split"] == "films":
            for trait in [*row["genres"], row["year"]]:
                counts_of[trait].append(counts[row["film"]])
    level = {trait: math.log1p(float(np.mean(watched))) for trait, watched in counts_of.items()}
    usual = float(np.mean(list(level.values())))
    by_genre = [[level.get(genre, usual) for genre in film["genres"]] for film in films]
    by_year = [level.get(film["year"], usual) for film in films]
    return np.array([[float(np.mean(levels)) + year] for levels, year in zip(by_genre, by_year, strict=True)])


def main() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not 2 <= len(sys.argv) <= 3:
        raise UsageError(sys.argv[0], "a table is needed", "give the folder that prepare.py --cold wrote")
    split = sys.argv[2] if len(sys.argv) == 3 else "test"
    rows = Rows.open(sys.argv[1]).dicts()
    task = build_task(rows, "viewer", "item", split=split, candidate_split="cold" if split == "test" else None)
    listed = [row for row in rows if row["split"] == "films"]
    space = TfidfVectorizer(token_pattern=r"\S+").fit(_words(row) for row in listed)
    candidates = space.transform(_words(film) for film in task.candidates)
    places, films = {row["film"]: at for at, row in enumerate(listed)}, space.transform(_words(row) for row in listed)
    histories = [[places[film] for film in query["history"] if film in places] for query in task.queries]
    viewers = np.stack(
        [np.asarray(films[history].mean(0))[0] if history else np.zeros(films.shape[1]) for history in histories]
    )
    level = popular(rows, task.candidates)
    for name, queries, targets, metric in [
        ("content, TF-IDF", viewers, candidates.toarray(), "cosine"),
        ("popularity of its genres and year", np.ones((len(task.queries), 1)), level, "dot"),
    ]:
        recall = evaluate(task, queries, targets, metric, (HITS,))[f"recall@{HITS}"]
        print(f"{name}: recall@{HITS} {recall['value']:.4f} ({recall['low']:.4f} - {recall['high']:.4f})")
    print(f"chance {recall['chance']:.4f}; {len(task.queries)} viewers, {len(task.candidates)} films")


def _words(film: dict[str, Any]) -> str:
    return " ".join([film["title"], *("genre=" + genre for genre in film["genres"])])


if __name__ == "__main__":
    recipe_tools.run_script(main)
