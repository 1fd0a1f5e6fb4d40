"""Metrics of predicted numbers, labels and likelihoods, with bootstrap intervals.

Letters: N predictions, P pieces of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .intervals import Bootstrap, Metric
from .scores import Floats, Scores

CALIBRATION_BINS = 15
LOG_TEMPERATURES = (-4.0, 4.0)


def regression(
    true: Floats, predicted: Floats, baseline: float, groups: Sequence[Any] | None = None, n_resamples: int = 1000
) -> dict[str, Metric]:
    """Return `rmse`, `mae` and `r2` of predicted numbers; `chance` is the value for always predicting `baseline`.

    Args:
        true: (N,).
        predicted: (N,).
        baseline: the mean of the training rows.
        groups: (N,) the group of each row (a host, a user); resamples then draw whole groups.
        n_resamples: number of bootstrap resamples, for the 95 % percentile interval.

    Raises:
        UsageError: all true numbers are equal.
    """
    if not np.square(true - true.mean()).any():
        raise UsageError("target", "all of its numbers are equal", "evaluate rows that differ")

    def measure(predicted: Floats, weights: Floats) -> list[float]:
        error, total = true - predicted, weights.sum()
        squares = float(weights @ np.square(error))
        variation = float(weights @ np.square(true) - (weights @ true) ** 2 / total)  # about the resample's own mean
        r2 = 1 - squares / variation if variation > 0 else np.nan
        return [float(np.sqrt(squares / total)), float(weights @ np.abs(error) / total), r2]

    constant = np.full(len(true), baseline)
    return _with_intervals(["rmse", "mae", "r2"], measure, predicted, constant, groups, n_resamples)


def classification(
    true: Sequence[str],
    predicted: Sequence[str],
    baseline: str,
    groups: Sequence[Any] | None = None,
    confidences: Floats | None = None,
    frequency: float = 0.0,
    n_resamples: int = 1000,
) -> dict[str, Metric]:
    """Return `accuracy`, `balanced`, its mean over the labels, and with confidences `ece`, the calibration error.

    `chance` is the value for always predicting `baseline`, with its frequency as the probability.

    Args:
        true: (N,).
        predicted: (N,).
        baseline: the most frequent label of the training rows.
        groups: (N,) the group of each row; see `regression`.
        confidences: (N,) the probabilities of what is predicted.
        frequency: the share of the training rows that have the baseline.
        n_resamples: number of bootstrap resamples.
    """
    labels, label = np.unique(np.array(true, dtype=object).astype(str), return_inverse=True)

    def measure(answers: Floats, weights: Floats) -> list[float]:
        correct, confidences = answers.T
        totals = np.bincount(label, weights, len(labels))
        hits = np.bincount(label, weights * correct, len(labels))
        balanced = float((hits[totals > 0] / totals[totals > 0]).mean())
        error = expected_calibration_error(confidences, correct, weights)
        return [float(hits.sum() / totals.sum()), balanced, error][: len(names)]

    correct = np.array([right == answer for right, answer in zip(true, predicted, strict=True)], np.float64)
    constant = np.array([right == baseline for right in true], np.float64)
    names = ["accuracy", "balanced", *(["ece"] if confidences is not None else [])]
    answers = np.stack([correct, correct if confidences is None else np.asarray(confidences, np.float64)], 1)
    baselines = np.stack([constant, np.full(len(constant), frequency)], 1)
    return _with_intervals(names, measure, answers, baselines, groups, n_resamples)


def regression_scores(true: Floats, predicted: Floats) -> Scores:
    """Return the errors of predicted numbers (N,), row by row, for `rmse` and `mae`."""
    errors = np.abs(true - predicted)
    return Scores(["rmse", "mae"], np.stack([errors, errors], 1), exponents=np.array([2.0, 1.0]))


def classification_scores(true: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Return which predicted labels (N,) are right, row by row, for `accuracy` and `balanced`.

    The weights of `balanced`, by which every label counts alike, stay in resamples.
    """
    correct = np.array([right == answer for right, answer in zip(true, predicted, strict=True)], np.float64)
    labels, label, sizes = np.unique(np.array(true, dtype=str), return_inverse=True, return_counts=True)
    weights = np.stack([np.ones(len(correct)), len(correct) / (len(labels) * sizes[label])], 1)
    return Scores(["accuracy", "balanced"], np.stack([correct, correct], 1), weights)


def likelihood_scores(predicted: Sequence[Floats]) -> Scores:
    """Return the mean negative log-likelihood of the pieces of each row, for `nats` and `nats_after_first`."""
    weights = np.array([[len(pieces), len(pieces) - 1] for pieces in predicted], np.float64)
    sums = np.array([[pieces.sum(), pieces[1:].sum()] for pieces in predicted], np.float64)
    count = 1 + bool(weights[:, 1].any())
    values = sums / np.maximum(weights, 1)
    return Scores(["nats", "nats_after_first"][:count], values[:, :count], weights[:, :count])


def expected_calibration_error(
    confidences: NDArray[Any], correct: NDArray[Any], weights: NDArray[Any] | None = None
) -> float:
    """How far probabilities are from the share of predictions that are right, on average (Guo et al. 2017).

    Args:
        confidences: (N,) the probabilities of what is predicted; they are compared in 15 bins of equal width.
        correct: (N,) whether it is right.
        weights: (N,) how often each prediction counts; once if not given.
    """
    weights = np.ones(len(confidences)) if weights is None else weights
    bins = np.clip((np.asarray(confidences) * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights * (np.asarray(correct, np.float64) - confidences), CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / np.sum(weights))


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any], is_exclusive: bool = True) -> float:
    """The number that logits are divided by so that the labels of some rows are the likeliest (Guo et al. 2017).

    Args:
        logits: (N, K) of rows that the model was not trained with.
        truth: (N, K) bool, which labels each row has; at least one if they are exclusive.
        is_exclusive: the probabilities of a row add up to 1 (softmax); else each is on its own (sigmoid).

    >>> sure, labels = np.array([[4.0, 0.0]] * 4), np.array([[True, False]] * 3 + [[False, True]])
    >>> round(fit_temperature(sure, labels), 2)  # three of four are right, so the odds must be 3
    3.64
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    shares = truth / np.maximum(1, truth.sum(1, keepdims=True))

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if is_exclusive:
            return float((logsumexp(scaled, axis=1) - (scaled * shares).sum(1)).mean())
        return float((np.logaddexp(0, scaled) - scaled * truth).sum(1).mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=LOG_TEMPERATURES, method="bounded").x))


def likelihood(
    predicted: Sequence[Floats],
    baseline: Sequence[Floats],
    groups: Sequence[Any] | None = None,
    n_resamples: int = 1000,
) -> dict[str, Metric]:
    """Return `nats`, the mean negative log-likelihood of a piece, and `nats_after_first`, without each row's first.

    Args:
        predicted: for each row, the negative log-likelihood of its pieces (P,).
        baseline: the same of a model of frequencies only, for `chance`.
        groups: (N,) the group of each row; see `regression`. Resamples draw rows with all of their pieces.
        n_resamples: number of bootstrap resamples.
    """
    counts = np.array([[len(pieces), len(pieces) - 1] for pieces in predicted], np.float64)
    names = ["nats", "nats_after_first"][: 1 + bool(counts[:, 1].any())]

    def sums(rows: Sequence[Floats]) -> Floats:
        return np.array([[pieces.sum(), pieces[1:].sum()] for pieces in rows], np.float64)

    def measure(sums: Floats, weights: Floats) -> list[float]:
        with np.errstate(invalid="ignore"):  # a resample may hold only rows of one piece
            return list((weights @ sums / (weights @ counts))[: len(names)])

    return _with_intervals(names, measure, sums(predicted), sums(baseline), groups, n_resamples)


def _with_intervals(
    names: list[str],
    measure: Callable[[Floats, Floats], list[float]],
    predicted: Floats,
    baseline: Floats,
    groups: Sequence[Any] | None,
    n_resamples: int,
) -> dict[str, Metric]:
    bootstrap, all_rows = Bootstrap(len(predicted), groups, n_resamples), np.ones(len(predicted))
    resampled = [measure(predicted, weights.astype(np.float64)) for weights in bootstrap.weights()]
    values, chance = ([float(value) for value in measure(answers, all_rows)] for answers in (predicted, baseline))
    return bootstrap.metrics(names, values, resampled, chance)
