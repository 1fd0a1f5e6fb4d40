"""What finds films that nobody has seen yet without training: python recipes/movies/cold_baselines.py TABLE [SPLIT].

TABLE was made by `prepare.py --cold`. On the rows of SPLIT (`test`), and beside chance:

- content: films as TF-IDF of the words of their titles and their genres, a viewer as the mean of those in the history,
  by cosine.
- popularity: nothing was counted for such a film, so it is as popular as films of its genres and of its year are in the
  histories: the logarithm of the mean count, averaged over the genres, and that of its year, added up. The same ranking
  for everyone.
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
    """(C, 1) how popular each film should be, by what the rows to train on hold."""
    counts = Counter(film for row in rows if row["split"] == "train" for film in row["history"])
    of = defaultdict(list)
    for row in rows:
        if row["split"] == "films":
            for trait in [*row["genres"], row["year"]]:
                of[trait].append(counts[row["film"]])
    level = {trait: math.log1p(float(np.mean(seen))) for trait, seen in of.items()}
    usual = float(np.mean(list(level.values())))
    made = [[level.get(one, usual) for one in film["genres"]] for film in films]
    by_year = [level.get(film["year"], usual) for film in films]
    return np.array([[float(np.mean(one)) + year] for one, year in zip(made, by_year, strict=True)])


def main() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not 2 <= len(sys.argv) <= 3:
        raise UsageError(sys.argv[0], "a table is needed", "give the folder that prepare.py --cold wrote")
    split = sys.argv[2] if len(sys.argv) == 3 else "test"
    rows = Rows.open(sys.argv[1]).dicts()
    asked = build_task(rows, "viewer", "item", split=split, candidate_split="cold" if split == "test" else None)
    listed = [row for row in rows if row["split"] == "films"]
    space = TfidfVectorizer(token_pattern=r"\S+").fit(_words(row) for row in listed)
    candidates = space.transform(_words(film) for film in asked.candidates)
    places, known = {row["film"]: at for at, row in enumerate(listed)}, space.transform(_words(row) for row in listed)
    held = [[places[film] for film in query["history"] if film in places] for query in asked.queries]
    viewers = np.stack([np.asarray(known[one].mean(0))[0] if one else np.zeros(known.shape[1]) for one in held])
    level = popular(rows, asked.candidates)
    for name, queries, found, metric in [
        ("content, TF-IDF", viewers, candidates.toarray(), "cosine"),
        ("popularity of its genres and year", np.ones((len(asked.queries), 1)), level, "dot"),
    ]:
        one = evaluate(asked, queries, found, metric, (HITS,))[f"recall@{HITS}"]
        print(f"{name}: recall@{HITS} {one['value']:.4f} ({one['low']:.4f} - {one['high']:.4f})")
    print(f"chance {one['chance']:.4f}; {len(asked.queries)} viewers, {len(asked.candidates)} films")


def _words(film: dict[str, Any]) -> str:
    return " ".join([film["title"], *("genre=" + genre for genre in film["genres"])])


if __name__ == "__main__":
    recipe_tools.run_script(main)
