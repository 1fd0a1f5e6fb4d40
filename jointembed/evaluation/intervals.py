"""Bootstrap intervals over queries or rows, or over the groups that they belong to.

Letters: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Metric = dict[str, float | None]  # value, low, high, chance


class Bootstrap:
    """Resamples of N rows that draw whole groups.

    Args:
        count: N.
        groups: (N,) the group of each row (a user, an artist); each row is a group of its own if None.
        n_resamples: number of resamples.
        seed: of the draws.
    """

    def __init__(self, count: int, groups: Sequence[Any] | None, n_resamples: int, seed: int = 0) -> None:
        names = None if groups is None else [str(group) for group in groups]
        self._group = np.arange(count) if names is None else np.unique(names, return_inverse=True)[1]
        self._n_groups = int(self._group.max()) + 1
        self._n_resamples, self._seed = n_resamples, seed

    def weights(self) -> Iterator[npt.NDArray[np.intp]]:
        """Yield for each resample how often it holds each row, (N,)."""
        rng, size = np.random.default_rng(self._seed), self._n_groups
        for _ in range(self._n_resamples):
            yield np.bincount(rng.integers(size, size=size), minlength=size)[self._group]

    def metrics(
        self, names: Sequence[str], values: Sequence[float], resampled: Any, chance: Sequence[float]
    ) -> dict[str, Metric]:
        """Return each metric with its 95 % percentile interval, which is None if there is a single group.

        Args:
            names: the metrics.
            values: of all rows.
            resampled: (resamples, metrics); NaN where a resample has no value.
            chance: of each metric.
        """
        low, high = self.interval(resampled)
        rows = zip(names, values, low, high, chance, strict=True)
        return {name: dict(zip(("value", "low", "high", "chance"), row, strict=True)) for name, *row in rows}

    def interval(self, resampled: Any) -> tuple[Sequence[float | None], Sequence[float | None]]:
        """The ends of the 95 % percentile interval of each column of (resamples, M); None if there is a single group.

        A column without a value in any resample has none either.
        """
        count = np.shape(resampled)[1]
        if self._n_groups < 2:
            return [None] * count, [None] * count
        has_value = np.isfinite(resampled).any(0)
        ends = np.full((2, count), np.nan)
        ends[:, has_value] = np.nanpercentile(np.asarray(resampled)[:, has_value], (2.5, 97.5), axis=0)
        low, high = ([None if np.isnan(end) else float(end) for end in row] for row in ends)
        return low, high
