"""Models compared on one task: paired intervals, paired tests, and Holm's correction.

Letters: Q queries or rows, G units, M metrics, P tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, did_you_mean
from .card import Card
from .intervals import Bootstrap
from .scores import LOWER_IS_BETTER, Scores

Floats = NDArray[np.float64]

MAIN_METRICS = ("map", "accuracy", "rmse", "nats")  # the first that a card has is compared if no metric is named
N_RESAMPLES = 1000
MAX_EXACT_UNITS = 14  # for more, assignments of signs are drawn and not enumerated
N_FLIPS = 20_000
FLIPS_IN_BLOCK = 1_000
LEVEL = 0.05
TOLERANCE = 1e-12  # of sums, within which they count as equal


@dataclass(frozen=True)
class Model:
    """The cards of a model, of one training or of several that differ by their seeds.

    Args:
        label: the name of the model in tables.
        cards: its cards, at least one.
    """

    label: str
    cards: Sequence[Card]

    def scores(self, names: Sequence[str]) -> Scores:
        """The scores of some metrics, each query's averaged over the cards."""
        parts = [card.scores.select(names) for card in self.cards]
        if len(parts) == 1:
            return parts[0]
        first, exponents = parts[0], parts[0].exponents
        powers = [part.values if exponents is None else part.values**exponents for part in parts]
        mean = np.mean(powers, axis=0)
        return Scores(names, mean if exponents is None else mean ** (1 / exponents), first.weights, exponents)


def compare(models: Sequence[Model], metrics: Sequence[str] = (), all_pairs: bool = False) -> dict[str, Any]:
    """Return the metrics of several models on one task, and the differences between them.

    A difference has a 95 % percentile bootstrap interval over units (the groups of the cards, else their queries), in
    which both models get the same resamples, and the p-value of a sign-flip test (see `sign_flip_test`). Holm's method
    corrects for the number of all tests that are returned. Several cards of a model are averaged query by query; the
    test is then about these trainings, and not about trainings with further seeds.

    Args:
        models: at least two, whose cards answer the same question.
        metrics: those to compare; if none is named, `map`, `accuracy`, `rmse` or `nats`.
        all_pairs: compare each model with each, instead of with the first.

    Returns:
        `unit`, `units` (their number), `queries`, and for each of `metrics` the `models`, with their values, intervals
        and those of their cards, and the `differences`; `seed_wins` of their `seed_pairs` of cards are better in the
        second model (the U statistic of Mann and Whitney 1947).

    Raises:
        UsageError: the cards differ in their question or their data, or have no scores of a metric.
    """
    cards = [card for model in models for card in model.cards]
    if len(models) < 2:
        raise UsageError("compare", f"needs at least two models, got {len(models)}", "give two cards or more")
    first = cards[0]
    for card in cards[1:]:
        first.check_same_task(card)
    names = _choose_metrics(cards, metrics)
    is_grouped = first.facts["question"]["group"] is not None
    bootstrap = Bootstrap(len(first.units), first.units if is_grouped else None, N_RESAMPLES)
    scores = [model.scores(names) for model in models]
    resampled = np.array([[part.means(weights) for part in scores] for weights in bootstrap.weights()])
    values = np.array([part.means() for part in scores])  # (models, M)
    pairs = list(combinations(range(len(models)), 2)) if all_pairs else [(0, at) for at in range(1, len(models))]
    unit = np.unique(first.units, return_inverse=True)[1] if is_grouped else np.arange(len(first.units))
    tests = [
        [_sum_by_unit(scores[b].contributions()[:, m] - scores[a].contributions()[:, m], unit) for a, b in pairs]
        for m in range(len(names))
    ]
    p_values = np.array([[sign_flip_test(difference) for difference in row] for row in tests])
    corrected = holm(p_values.ravel()).reshape(p_values.shape)
    report: dict[str, Any] = {"unit": first.facts["unit"], "units": int(unit.max()) + 1, "queries": len(unit)}
    report |= {"tests": int(p_values.size), "metrics": {}}
    for m, name in enumerate(names):
        ends = [bootstrap.interval(resampled[:, [at], m]) for at in range(len(models))]
        chance = first.facts["metrics"][name]["chance"]
        listed = {
            model.label: {
                "value": float(values[at, m]),
                "low": ends[at][0][0],
                "high": ends[at][1][0],
                "chance": chance,
                "seeds": [float(card.scores.select([name]).means()[0]) for card in model.cards],
            }
            for at, model in enumerate(models)
        }
        differences = []
        for pair, (a, b) in enumerate(pairs):
            low, high = bootstrap.interval(resampled[:, [b], m] - resampled[:, [a], m])
            gap = float(values[b, m] - values[a, m])
            p, p_holm = float(p_values[m, pair]), float(corrected[m, pair])
            better = None
            if p_holm < LEVEL:
                better = models[b if (gap < 0) == (name in LOWER_IS_BETTER) else a].label
            labels = {"first": models[a].label, "second": models[b].label}
            seed_gaps = np.subtract.outer(listed[models[b].label]["seeds"], listed[models[a].label]["seeds"])
            seed_wins = int(((seed_gaps < 0) if name in LOWER_IS_BETTER else (seed_gaps > 0)).sum())
            interval = {"value": gap, "low": low[0], "high": high[0], "p": p, "p_holm": p_holm}
            pairs_of_seeds = {"seed_wins": seed_wins, "seed_pairs": seed_gaps.size}
            differences.append({**labels, **interval, **pairs_of_seeds, "better": better})
        report["metrics"][name] = {"models": listed, "differences": differences}
    return report


def sign_flip_test(differences: Floats, seed: int = 0) -> float:
    """Return the two-sided p-value of the hypothesis that both models are alike on every unit.

    The models may then be swapped on any unit, which flips the sign of its difference (Fisher 1935, The Design of
    Experiments, section 21; for retrieval Smucker, Allan and Carterette 2007, CIKM). Up to 14 units all assignments of
    signs are enumerated; beyond, 20,000 are drawn, and the observed one is counted too (Phipson and Smyth 2010), so
    that p is at least 1/20,001.

    Args:
        differences: (G,) the difference of each independent unit, summed over its queries.
        seed: of the draws.

    >>> sign_flip_test(np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    0.0625
    """
    observed, scale = abs(differences.sum()), np.abs(differences).sum()
    threshold = observed - TOLERANCE * scale
    count = len(differences)
    if count <= MAX_EXACT_UNITS:
        bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float((np.abs((1 - 2 * bits) @ differences) >= threshold).mean())
    rng, extreme = np.random.default_rng(seed), 0
    for _ in range(0, N_FLIPS, FLIPS_IN_BLOCK):
        signs = 1 - 2 * rng.integers(0, 2, (FLIPS_IN_BLOCK, count), np.int8)
        extreme += int((np.abs(signs @ differences) >= threshold).sum())
    return (extreme + 1) / (N_FLIPS + 1)


def holm(p_values: Floats) -> Floats:
    """Return p-values (P,) corrected for their number, so that the chance of any false alarm stays (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def fewest_units() -> int:
    """The number of units below which no difference can be significant: all signs alike is too likely by chance."""
    return int(np.ceil(1 - np.log2(LEVEL)))


def _choose_metrics(cards: Sequence[Card], metrics: Sequence[str]) -> list[str]:
    shared = [name for name in cards[0].scores.names if all(name in card.scores.names for card in cards)]
    for name in metrics:
        if name in shared:
            continue
        card = next(card for card in cards if name not in card.scores.names)
        wrong = f"it has no {name} of each query" + " (only of all)" * (name in card.facts["metrics"])
        raise UsageError(card.path, wrong, did_you_mean(name, shared))
    selected = list(dict.fromkeys(metrics)) or [name for name in MAIN_METRICS if name in shared][:1] or shared[:1]
    if not selected:
        raise UsageError(cards[-1].path, f"it shares no metric with {cards[0].path}", "evaluate both with the same -k")
    return selected


def _sum_by_unit(values: Floats, unit: NDArray[np.intp]) -> Floats:
    return np.asarray(np.bincount(unit, values), np.float64)
