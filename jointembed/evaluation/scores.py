"""The scores of queries or rows; metrics are their means.

Letters: Q queries or rows, M metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOWER_IS_BETTER = frozenset({"rmse", "mae", "ece", "nats", "nats_after_first"})


@dataclass(frozen=True)
class Scores:
    """What each query or row adds to each metric, a weighted power mean of its scores: (mean of s^p)^(1/p).

    Two models are compared query by query with them. R2 and the calibration error, which are not such means, have
    none.

    Args:
        names: M metrics.
        values: (Q, M).
        weights: (Q, M) how much each row counts; all alike if None.
        exponents: (M,) p: 2 of a root mean square, 1 of a plain mean; all 1 if None.

    >>> Scores(["mae", "rmse"], np.array([[3.0, 3.0], [4.0, 4.0]]), exponents=np.array([1.0, 2.0])).means().round(2)
    array([3.5 , 3.54])
    """

    names: Sequence[str]
    values: Floats
    weights: Floats | None = None
    exponents: Floats | None = None

    def means(self, counts: NDArray[Any] | None = None) -> Floats:
        """The metrics (M,), of a resample that holds each row `counts` (Q,) times."""
        times = np.ones(len(self.values)) if counts is None else counts.astype(np.float64)
        powers = self._powers()
        if self.weights is None:
            means = times @ powers / times.sum()
        else:
            with np.errstate(invalid="ignore"):  # a resample may hold only rows without weight
                means = times @ (powers * self.weights) / (times @ self.weights)
        return np.asarray(means if self.exponents is None else means ** (1 / self.exponents))

    def contributions(self) -> Floats:
        """The weighted powers (Q, M); a metric grows with their sum, as long as the weights stay."""
        return self._powers() if self.weights is None else self._powers() * self.weights

    def _powers(self) -> Floats:
        return self.values if self.exponents is None else self.values**self.exponents

    def select(self, names: Sequence[str]) -> Scores:
        """The scores of some of its metrics."""
        places = [list(self.names).index(name) for name in names]
        return Scores(
            list(names),
            self.values[:, places],
            None if self.weights is None else self.weights[:, places],
            None if self.exponents is None else self.exponents[places],
        )
