"""How good answers are, what a model says of numbers, labels and likelihood, with intervals over independent units.

Letters: N answers, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

Floats = NDArray[np.float64]
Figure = dict[str, float | None]


def numbers(
    right: Floats, given: Floats, mean: float, units: Sequence[Any] | None = None, bootstrap: int = 1000
) -> dict[str, Figure]:
    """`rmse`, `mae` and `r2` of predicted numbers; `chance` is what always answering `mean` would reach.

    Args:
        right: (N,) the true numbers.
        given: (N,) the predicted ones.
        mean: of the numbers of the training rows.
        units: (N,) what each number belongs to (a host, a user); the bootstrap draws whole units. Each is one of its
            own if not given.
        bootstrap: resamples, for the 95 % percentile interval.
    """
    spread = np.square(right - right.mean())

    def measured(given: Floats, shares: Floats) -> list[float]:
        error, total = right - given, shares.sum()
        squares = float(shares @ np.square(error))
        # In each resample the spread is that round its own mean.
        around = float(shares @ np.square(right) - (shares @ right) ** 2 / total)
        r2 = 1 - squares / around if around > 0 else np.nan
        return [float(np.sqrt(squares / total)), float(shares @ np.abs(error) / total), r2]

    constant = np.full(len(right), mean)
    if not spread.any():
        raise UsageError("target", "all of its numbers are equal", "report on rows that differ")
    return _figures(["rmse", "mae", "r2"], measured, given, constant, units, len(right), bootstrap)


def labels(
    right: Sequence[str], given: Sequence[str], common: str, units: Sequence[Any] | None = None, bootstrap: int = 1000
) -> dict[str, Figure]:
    """`accuracy`, and `balanced`, its mean over the labels; `chance` is what always answering `common` would reach.

    Args:
        right: (N,) the true labels.
        given: (N,) the predicted ones.
        common: the commonest label of the training rows.
        units: (N,) what each label belongs to; see `numbers`.
        bootstrap: resamples.
    """
    kinds, truth = np.unique(np.array(right, dtype=object).astype(str), return_inverse=True)

    def measured(hits: Floats, shares: Floats) -> list[float]:
        there = np.bincount(truth, shares, len(kinds))
        found = np.bincount(truth, shares * hits, len(kinds))
        return [float(found.sum() / there.sum()), float((found[there > 0] / there[there > 0]).mean())]

    hits = np.array([one == other for one, other in zip(right, given, strict=True)], np.float64)
    constant = np.array([one == common for one in right], np.float64)
    return _figures(["accuracy", "balanced"], measured, hits, constant, units, len(right), bootstrap)


def likelihoods(
    given: Sequence[Floats], plain: Sequence[Floats], units: Sequence[Any] | None = None, bootstrap: int = 1000
) -> dict[str, Figure]:
    """`nats`, the mean negative log likelihood of a piece, and `nats_after_first`, which leaves out each row's first.

    Args:
        given: N rows, each with the negative log likelihood of its pieces (P,).
        plain: the same by a guess that knows nothing but frequencies; it gives `chance`.
        units: (N,) what each row belongs to; see `numbers`. The bootstrap draws rows, each with all of its pieces.
        bootstrap: resamples.
    """
    counts = np.array([[len(one), len(one) - 1] for one in given], np.float64)
    names = ["nats", "nats_after_first"][: 1 + bool(counts[:, 1].any())]

    def sums(rows: Sequence[Floats]) -> Floats:
        return np.array([[one.sum(), one[1:].sum()] for one in rows], np.float64)

    def measured(sums: Floats, shares: Floats) -> list[float]:
        with np.errstate(invalid="ignore"):  # rows of one piece may be all that was drawn
            return list((shares @ sums / (shares @ counts))[: len(names)])

    return _figures(names, measured, sums(given), sums(plain), units, len(given), bootstrap)


def _figures(
    names: list[str],
    measured: Callable[[Floats, Floats], list[float]],
    given: Floats,
    constant: Floats,
    units: Sequence[Any] | None,
    count: int,
    bootstrap: int,
) -> dict[str, Figure]:
    whole = np.ones(count)
    belongs = np.arange(count) if units is None else np.unique([str(one) for one in units], return_inverse=True)[1]
    size, rng = int(belongs.max()) + 1, np.random.default_rng(0)
    draws = [np.bincount(rng.integers(size, size=size), minlength=size)[belongs] for _ in range(bootstrap)]
    again = [measured(given, draw.astype(np.float64)) for draw in draws if draw.any()]
    low, high = np.nanpercentile(again, (2.5, 97.5), axis=0) if size > 1 else [[None] * len(names)] * 2
    values, chance = measured(given, whole), measured(constant, whole)
    return {
        name: {"value": value, "low": one, "high": two, "chance": plain}
        for name, value, one, two, plain in zip(
            names, values, (_plain(x) for x in low), (_plain(x) for x in high), chance, strict=True
        )
    }


def _plain(value: Any) -> float | None:
    return None if value is None else float(value)
