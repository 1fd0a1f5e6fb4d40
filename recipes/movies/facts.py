"""What is known of a rating before it is read: numbers about its user and its film, from other ratings alone.

Letters: N ratings, U users, F films.

The facts of a rating that is trained on come from the training ratings of the other folds, those of all other ratings
from all training ratings: nobody's facts hold the stars that they are to foretell.

    python recipes/movies/facts.py TABLE [SPLIT]    # the error of the means alone, the baseline of `rating.yaml`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointembed import recipe_tools
from jointembed.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("user_mean", "user_count", "film_mean", "film_count", "near_films", "near_users")
FOLDS = 10
PRIOR = 5  # ratings of an average user, and of an average film, that everyone is thought to have
TRUST = 30  # common ratings at which half of a likeness is believed


def facts(ratings: Sequence[tuple[str, str, float]], train: Sequence[bool]) -> list[dict[str, float]]:
    """The facts of each rating, given as user, film and stars; `train` says which of them may be learned from.

    Returns:
        For each rating, by their `NAMES`: by how many stars the user, and the film, differ from the average; the
        natural logarithm of one more than the number of their ratings; and by how many stars the rating should differ
        from what these means say, by what the user gave to films that are rated like this one, and by what users who
        rate like this one gave to the film (Sarwar et al. 2001, Resnick et al. 1994).
    """
    users, films = (np.unique([one[at] for one in ratings], return_inverse=True)[1] for at in (0, 1))
    stars, learned = np.array([one[2] for one in ratings], np.float64), np.array(train)
    fold = np.array([int(recipe_tools.hash_fraction(f"{user} {film}") * FOLDS) if given else FOLDS
                     for (user, film, _), given in zip(ratings, train, strict=True)])  # fmt: skip
    found = np.zeros((len(ratings), len(NAMES)))
    size = int(users.max()) + 1, int(films.max()) + 1
    for number in range(FOLDS + 1):
        asked, known = fold == number, learned & (fold != number)
        if asked.any() and known.any():
            given, seen = np.zeros(size), np.zeros(size)
            given[users[known], films[known]], seen[users[known], films[known]] = stars[known], 1
            found[asked] = _facts(given, seen)[:, users[asked], films[asked]].T
    return [dict(zip(NAMES, one, strict=True)) for one in found.round(4).tolist()]


def _facts(stars: Floats, seen: Floats) -> Floats:
    """(6, U, F) the facts of each pair, from stars (U, F) where seen (U, F) is 1."""
    mean = stars.sum() / seen.sum()
    by_user, by_film = np.zeros((len(seen), 1)), np.zeros((1, seen.shape[1]))
    for _ in range(10):  # each in turn explains what the other leaves
        by_film = (seen * (stars - mean - by_user)).sum(0, keepdims=True) / (seen.sum(0, keepdims=True) + PRIOR)
        by_user = (seen * (stars - mean - by_film)).sum(1, keepdims=True) / (seen.sum(1, keepdims=True) + PRIOR)
    rest = seen * (stars - mean - by_user - by_film)
    counts = [np.log1p(seen.sum(axis, keepdims=True)) for axis in (1, 0)]
    numbers = [by_user, counts[0], by_film, counts[1], _near(rest, seen), _near(rest.T, seen.T).T]
    return np.stack([np.broadcast_to(one, seen.shape) for one in numbers])


def _near(rest: Floats, seen: Floats) -> Floats:
    """(U, F) the mean of what a user's other films have left, each weighted by how alike it and the film are rated."""
    common = seen.T @ seen  # (F, F)
    squares = np.square(rest).T @ seen
    alike = rest.T @ rest / np.maximum(np.sqrt(squares * squares.T), 1e-9) * common / (common + TRUST)
    np.fill_diagonal(alike, 0)
    weights: Any = np.square(np.maximum(alike, 0))
    return np.asarray(rest @ weights / (seen @ weights + 0.05))


def main() -> None:
    from jointembed.data.rows import Rows
    from jointembed.evaluation.prediction import regression

    if not 2 <= len(sys.argv) <= 3:
        raise UsageError(sys.argv[0], "a table is needed", "give the folder that prepare.py wrote of MovieLens 100k")
    rows, split = Rows.open(sys.argv[1]).dicts(), (sys.argv[2:] or ["test"])[0]
    asked = [row for row in rows if row["split"] == split]
    if not asked or not set(NAMES) <= set(asked[0]):
        raise UsageError(sys.argv[1], f"no row of {split} has facts", "run prepare.py of MovieLens 100k again")
    mean = float(np.mean([row["stars"] for row in rows if row["split"] == "train"]))
    right = np.array([float(row["stars"]) for row in asked])
    means = mean + np.array([row["user_mean"] + row["film_mean"] for row in asked])
    near = np.array([[row["near_films"], row["near_users"]] for row in asked]).mean(1)
    for name, given in (("means of user and film", means), ("and neighbours", means + near)):
        one = regression(right, np.clip(given, 1, 5), mean, [row["user"] for row in asked])["rmse"]
        between = "" if one["low"] is None else f" ({one['low']:.4f} - {one['high']:.4f})"
        print(f"{name}: rmse {one['value']:.4f}{between}; {len(asked)} ratings")


if __name__ == "__main__":
    recipe_tools.run_script(main)
