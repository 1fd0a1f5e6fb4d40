"""Features of a rating: numbers about its user and its film, computed from other ratings.

Letters: N ratings, U users, F films.

The features of a training rating come from the training ratings of the other folds, those of any other rating from all
training ratings: no feature is computed from the rating that it predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointembed import recipe_tools

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("user_mean", "user_count", "film_mean", "film_count", "near_films", "near_users")
FOLDS = 10
PRIOR = 5  # pseudo-counts: ratings at the average that are added to each user and film
TRUST = 30  # common ratings at which a similarity is shrunk by half


def facts(ratings: Sequence[tuple[str, str, float]], train: Sequence[bool]) -> list[dict[str, float]]:
    """The features of ratings (user, film, stars); `train` is True for those to learn from.

    Returns:
        For each rating, a dict with the keys `NAMES`: the differences of the user and of the film from the average, in
        stars; log(1 + n) of the number n of their ratings; and the residual of those means, predicted from similar
        films that the user rated (Sarwar et al. 2001), and from similar users who rated the film (Resnick et al. 1994).
    """
    users, films = (np.unique([rating[at] for rating in ratings], return_inverse=True)[1] for at in (0, 1))
    stars, learned = np.array([rating[2] for rating in ratings], np.float64), np.array(train)
    fold = np.array([int(recipe_tools.hash_fraction(f"{user} {film}") * FOLDS) if is_train else FOLDS
                     for (user, film, _), is_train in zip(ratings, train, strict=True)])  # fmt: skip
    numbers = np.zeros((len(ratings), len(NAMES)))
    size = int(users.max()) + 1, int(films.max()) + 1
    for number in range(FOLDS + 1):
        targets, sources = fold == number, learned & (fold != number)
        if targets.any() and sources.any():
            stars_of, rated = np.zeros(size), np.zeros(size)
            stars_of[users[sources], films[sources]], rated[users[sources], films[sources]] = stars[sources], 1
            numbers[targets] = _facts(stars_of, rated)[:, users[targets], films[targets]].T
    return [dict(zip(NAMES, row, strict=True)) for row in numbers.round(4).tolist()]


def _facts(stars: Floats, rated: Floats) -> Floats:
    """(6, U, F) the features of each pair, from stars (U, F) where rated (U, F) is 1."""
    mean = stars.sum() / rated.sum()
    by_user, by_film = np.zeros((len(rated), 1)), np.zeros((1, rated.shape[1]))
    for _ in range(10):  # alternate: each fits the residual of the other
        by_film = (rated * (stars - mean - by_user)).sum(0, keepdims=True) / (rated.sum(0, keepdims=True) + PRIOR)
        by_user = (rated * (stars - mean - by_film)).sum(1, keepdims=True) / (rated.sum(1, keepdims=True) + PRIOR)
    rest = rated * (stars - mean - by_user - by_film)
    counts = [np.log1p(rated.sum(axis, keepdims=True)) for axis in (1, 0)]
    numbers = [by_user, counts[0], by_film, counts[1], _near(rest, rated), _near(rest.T, rated.T).T]
    return np.stack([np.broadcast_to(array, rated.shape) for array in numbers])


def _near(rest: Floats, rated: Floats) -> Floats:
    """(U, F) the mean residual of the other films of a user, weighted by their similarity to the film."""
    common = rated.T @ rated  # (F, F)
    squares = np.square(rest).T @ rated
    similarity = rest.T @ rest / np.maximum(np.sqrt(squares * squares.T), 1e-9) * common / (common + TRUST)
    np.fill_diagonal(similarity, 0)
    weights: Any = np.square(np.maximum(similarity, 0))
    return np.asarray(rest @ weights / (rated @ weights + 0.05))
