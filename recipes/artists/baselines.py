"""What simple recommenders make of the same listeners: the share of what they are asked for among their 20 best.

    python recipes/artists/baselines.py out/artists

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
Recommender = Callable[[Floats], Floats]  # what listeners (U, A) heard -> scores of all artists (U, A)


class Table:
    """The listeners of a table as matrices of zeros and ones over the artists that anybody in `train` heard."""

    def __init__(self, folder: str) -> None:
        rows = Rows.open(folder).dicts()
        self.rows = {split: [row for row in rows if row["split"] == split] for split in ("train", "dev", "test")}
        names = sorted({one for row in self.rows["train"] for one in row["heard"]})
        self.places = {name: at for at, name in enumerate(names)}

    def heard(self, split: str) -> Floats:
        """(U, A)."""
        found = np.zeros((len(self.rows[split]), len(self.places)))
        for at, row in enumerate(self.rows[split]):
            found[at, [self.places[one] for one in row["heard"] if one in self.places]] = 1
        return found

    def recall(self, split: str, scores: Floats) -> Floats:
        """(U,) of each listener the share of the artists asked for, of at most K of them, that the K best hold."""
        scores = np.where(self.heard(split) > 0, -np.inf, scores)
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        asked = [{self.places.get(one, one) for one in row["artist"]} for row in self.rows[split]]
        return np.array([len(one & set(top)) / min(K, len(one)) for one, top in zip(asked, best.tolist(), strict=True)])


def cosine(x: Floats) -> Recommender:
    """By the cosine of an artist's listeners with those of each artist heard."""
    unit = x / np.maximum(np.sqrt(x.sum(0)), 1)
    return lambda asks: (asks / np.maximum(np.sqrt(x.sum(0)), 1)) @ x.T @ unit


def ease(x: Floats, ridge: float) -> Recommender:
    """By the inverse of the artists' Gram matrix, found from the listeners' smaller one (Woodbury)."""
    small = np.linalg.inv(x @ x.T + ridge * np.eye(len(x)))
    diagonal = (1 - np.einsum("ua,uv,va->a", x, small, x, optimize=True)) / ridge

    def scores(asks: Floats) -> Floats:
        inverse = (asks - asks @ x.T @ small @ x) / ridge
        return asks - inverse / diagonal

    return scores


def als(x: Floats, ridge: float, weight: float, factors: int = 64, rounds: int = 10) -> Recommender:
    """By factors; what was heard counts 1 + weight, what was not counts 1."""
    artists = np.random.default_rng(0).normal(0, 0.1, (x.shape[1], factors))

    def solved(held: Floats, fixed: Floats) -> Floats:
        plain = fixed.T @ fixed + ridge * np.eye(factors)
        found = np.zeros((len(held), factors))
        for at, row in enumerate(held):
            own = fixed[row > 0]
            found[at] = np.linalg.solve(plain + weight * own.T @ own, (1 + weight) * own.sum(0))
        return found

    for _ in range(rounds):
        artists = solved(x.T, solved(x, artists))
    return lambda asks: solved(asks, artists) @ artists.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="the folder that prepare.py wrote")
    folder = parser.parse_args().table
    if not Path(folder).exists():
        raise UsageError(folder, "it does not exist", "run prepare.py first")
    table = Table(folder)
    x, dev, test = (table.heard(split) for split in ("train", "dev", "test"))
    grids: dict[str, tuple[Callable[..., Recommender], list[tuple[Any, ...]]]] = {
        "cosine": (cosine, [()]),
        "EASE": (ease, [(ridge,) for ridge in (25, 50, 100, 200, 400)]),
        "ALS": (als, list(itertools.product((10, 30, 100), (3, 10, 30)))),
    }
    rng = np.random.default_rng(0)
    print(f"{'':<8}{'settings':<12}{'dev':>6}{'test':>7}   95 % interval")
    for name, (method, settings) in grids.items():
        made = {one: method(x, *one) for one in settings}
        on_dev = {one: table.recall("dev", made[one](dev)).mean() for one in settings}
        best = max(on_dev, key=lambda one: float(on_dev[one]))
        each = table.recall("test", made[best](test))
        means = rng.choice(each, (1000, len(each))).mean(1)
        low, high = np.quantile(means, (0.025, 0.975))
        chosen = ", ".join(map(str, best))
        print(f"{name:<8}{chosen:<12}{on_dev[best]:>6.3f}{each.mean():>7.3f}   {low:.3f} - {high:.3f}")


if __name__ == "__main__":
    recipe_tools.run_script(main)
