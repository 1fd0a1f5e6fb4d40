"""Which labels are taken for which: metrics of each label, and the confusion matrix.

Letters: N predictions, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .intervals import Bootstrap

SCORES = ("recall", "precision", "f1")


@dataclass(frozen=True)
class Confusion:
    """The predictions of some rows by their true labels.

    Args:
        labels: K, true or predicted.
        matrix: (K, K) the number of rows with the true label of the row and the predicted label of the column.
    """

    labels: Sequence[str]
    matrix: NDArray[np.int64]

    @classmethod
    def count(cls, true: Sequence[str], predicted: Sequence[str]) -> Confusion:
        """Count predictions (N,) by their true labels (N,).

        >>> Confusion.count(["a", "a", "b"], ["a", "b", "b"]).matrix.tolist()
        [[1, 1], [0, 1]]
        """
        labels = sorted({*true, *predicted})
        place = {label: at for at, label in enumerate(labels)}
        matrix = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(matrix, ([place[label] for label in true], [place[label] for label in predicted]), 1)
        return cls(labels, matrix)

    def per_label(self) -> list[dict[str, Any]]:
        """The metrics of each label, the most frequent first.

        Returns:
            For each label its `rows`; `recall`, the share of these that were predicted as it, and `precision`, the
            share of its predictions that are right, which are None without any; `f1`, their harmonic mean, 0 if
            neither row nor prediction is right; and the label that it is `confused_with` most often, with the
            number of `confused_rows`, None and 0 if it never is.
        """
        true, predicted, right = self.matrix.sum(1), self.matrix.sum(0), self.matrix.diagonal()
        wrong = self.matrix - np.diag(right)
        metrics = []
        for at in np.argsort(-true, kind="stable").tolist():
            worst = int(wrong[at].argmax())
            metrics.append({
                "label": self.labels[at],
                "rows": int(true[at]),
                "recall": float(right[at] / true[at]) if true[at] else None,
                "precision": float(right[at] / predicted[at]) if predicted[at] else None,
                "f1": float(2 * right[at] / (true[at] + predicted[at])),
                "confused_with": self.labels[worst] if wrong[at, worst] else None,
                "confused_rows": int(wrong[at, worst]),
            })  # fmt: skip
        return metrics


def label_metrics(
    true: Sequence[str], predicted: Sequence[str], groups: Sequence[Any] | None = None, n_resamples: int = 1000
) -> list[dict[str, Any]]:
    """The metrics of each label, with the 95 % bootstrap intervals of its scores.

    Args:
        true: (N,).
        predicted: (N,).
        groups: (N,) the group of each row, such as its artist, which are resampled instead of rows.
        n_resamples: number of resamples.

    Returns:
        What `Confusion.per_label` returns, with `recall_interval`, `precision_interval` and `f1_interval` of each
        label: its ends, None if there is a single group, or no resample has a value.
    """
    confusion, bootstrap = Confusion.count(true, predicted), Bootstrap(len(true), groups, n_resamples)
    place = {label: at for at, label in enumerate(confusion.labels)}
    at_true, at_predicted = (np.array([place[label] for label in labels]) for labels in (true, predicted))
    size, right = len(place), at_true == at_predicted
    resampled = np.empty((3, n_resamples, size))
    with np.errstate(invalid="ignore"):  # a label without a row or a prediction has no value
        for number, weights in enumerate(bootstrap.weights()):
            rows, predictions = (np.bincount(places, weights, size) for places in (at_true, at_predicted))
            hits = np.bincount(at_true[right], weights[right], size)
            resampled[:, number] = hits / rows, hits / predictions, 2 * hits / (rows + predictions)
    metrics = confusion.per_label()
    for name, values in zip(SCORES, resampled, strict=True):
        low, high = bootstrap.interval(values)
        for label in metrics:
            at = place[label["label"]]
            label[f"{name}_interval"] = None if low[at] is None else [low[at], high[at]]
    return metrics
