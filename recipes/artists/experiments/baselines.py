"""Experiment: simple recommenders on the table of artists, recall@20.

    python recipes/artists/experiments/baselines.py out/artists

Cosine of the columns of the matrix of users and artists; EASE (Steck 2019), a ridge regression of each artist on all
others; ALS of confident zeros and ones (Hu, Koren and Volinsky 2008). The settings of the last two are chosen on the
rows of `dev`, and all three are then reported on those of `test`, with a bootstrap interval over the listeners.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointembed import recipe_tools
from jointembed.data.rows import Rows
from jointembed.errors import UsageError

K = 20
Floats = NDArray[np.float64]
Recommender = Callable[[Floats], Floats]  # plays of listeners (U, A) -> scores of all artists (U, A)


class Table:
    """The listeners of a table as binary matrices over the artists of the training rows."""

    def __init__(self, folder: str) -> None:
        rows = Rows.open(folder).dicts()
        rows = [row for row in rows if "heard" in row]  # others have an artist and its tags
        self.rows = {split: [row for row in rows if row["split"] == split] for split in ("train", "dev", "test")}
        names = sorted({artist for row in self.rows["train"] for artist in row["heard"]})
        self.places = {name: at for at, name in enumerate(names)}

    def plays(self, split: str) -> Floats:
        """(U, A): 1 where a listener heard an artist, else 0."""
        matrix = np.zeros((len(self.rows[split]), len(self.places)))
        for at, row in enumerate(self.rows[split]):
            matrix[at, [self.places[artist] for artist in row["heard"] if artist in self.places]] = 1
        return matrix

    def recall(self, split: str, scores: Floats) -> Floats:
        """(U,) recall@K of each listener, of at most K relevant artists."""
        scores = np.where(self.plays(split) > 0, -np.inf, scores)
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        relevant = [{self.places.get(artist, artist) for artist in row["artist"]} for row in self.rows[split]]
        return np.array(
            [len(ids & set(top)) / min(K, len(ids)) for ids, top in zip(relevant, best.tolist(), strict=True)]
        )


def cosine(x: Floats) -> Recommender:
    """Item-based neighbourhoods: the cosine between the listeners of two artists."""
    unit = x / np.maximum(np.sqrt(x.sum(0)), 1)
    return lambda queries: (queries / np.maximum(np.sqrt(x.sum(0)), 1)) @ x.T @ unit


def ease(x: Floats, ridge: float) -> Recommender:
    """EASE; the inverse of the Gram matrix of artists is computed from the smaller one of listeners (Woodbury)."""
    small = np.linalg.inv(x @ x.T + ridge * np.eye(len(x)))
    diagonal = (1 - np.einsum("ua,uv,va->a", x, small, x, optimize=True)) / ridge

    def scores(queries: Floats) -> Floats:
        inverse = (queries - queries @ x.T @ small @ x) / ridge
        return queries - inverse / diagonal

    return scores


def als(x: Floats, ridge: float, weight: float, factors: int = 64, rounds: int = 10) -> Recommender:
    """Matrix factorisation; an artist that was heard counts 1 + weight, any other counts 1."""
    artists = np.random.default_rng(0).normal(0, 0.1, (x.shape[1], factors))

    def solve(rows: Floats, fixed: Floats) -> Floats:
        plain = fixed.T @ fixed + ridge * np.eye(factors)
        matrix = np.zeros((len(rows), factors))
        for at, row in enumerate(rows):
            own = fixed[row > 0]
            matrix[at] = np.linalg.solve(plain + weight * own.T @ own, (1 + weight) * own.sum(0))
        return matrix

    for _ in range(rounds):
        artists = solve(x.T, solve(x, artists))
    return lambda queries: solve(queries, artists) @ artists.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="the folder that prepare.py wrote")
    folder = parser.parse_args().table
    if not Path(folder).exists():
        raise UsageError(folder, "it does not exist", "run prepare.py first")
    table = Table(folder)
    x, dev, test = (table.plays(split) for split in ("train", "dev", "test"))
    grids: dict[str, tuple[Callable[..., Recommender], list[tuple[Any, ...]]]] = {
        "cosine": (cosine, [()]),
        "EASE": (ease, [(ridge,) for ridge in (25, 50, 100, 200, 400)]),
        "ALS": (als, list(itertools.product((10, 30, 100), (3, 10, 30)))),
    }
    rng = np.random.default_rng(0)
    print(f"{'':<8}{'settings':<12}{'dev':>6}{'test':>7}   95 % interval")
    for name, (method, settings) in grids.items():
        fitted = {setting: method(x, *setting) for setting in settings}
        dev_recall = {setting: table.recall("dev", fitted[setting](dev)).mean() for setting in settings}
        best = max(dev_recall, key=lambda setting: float(dev_recall[setting]))
        each = table.recall("test", fitted[best](test))
        means = rng.choice(each, (1000, len(each))).mean(1)
        low, high = np.quantile(means, (0.025, 0.975))
        label = ", ".join(map(str, best))
        print(f"{name:<8}{label:<12}{dev_recall[best]:>6.3f}{each.mean():>7.3f}   {low:.3f} - {high:.3f}")


if __name__ == "__main__":
    recipe_tools.run_script(main)
