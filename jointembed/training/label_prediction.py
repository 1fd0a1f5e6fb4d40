"""What a trained model predicts: labels and their probabilities, numbers, and the likelihood of sequences."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders import rows_in_batches
from ..errors import UsageError, did_you_mean
from ..objectives import Objective
from ..space.space import Space

# N cells, K labels


class LabelPrediction:
    """A model whose objectives predict columns from others."""

    space: Space
    device: torch.device

    @property
    @abstractmethod
    def _objectives(self) -> Sequence[Objective]:
        """The objectives of the model."""

    @property
    def predicted_columns(self) -> set[str]:
        """The columns that `predict` can give."""
        return {column for objective in self._objectives for column in objective.readers()}

    def predict(self, column: str, cells: Sequence[Any], target: str) -> NDArray[Any]:
        """What the model predicts of `target` for cells of a column, (N,): numbers, or labels, in the table's units.

        Raises:
            UsageError: the model was not trained to predict that; see `Space.embed` for what else is raised.
        """
        for objective in self._objectives:
            if column in objective.columns() and target in objective.readers():
                parts = [objective.predict(z) for z in self._embed_in_batches(column, cells)]
                return np.concatenate(parts)[: len(cells)]
        wrong = f"the model does not predict it from {column}"
        raise UsageError(target, wrong, did_you_mean(target, self.predicted_columns))

    def label_objective(self, column: str, target: str) -> Objective:
        """The objective that matches a column with its labels in another.

        Raises:
            UsageError: the model has none.
        """
        objectives = {pair: objective for objective in self._objectives if (pair := objective.label_columns)}
        if (column, target) in objectives:
            return objectives[column, target]
        pairs = ", ".join(f"{label} of {query}" for query, label in objectives)
        wrong = f"no objective matches it with {column}" + (f" (the model knows {pairs})" if pairs else "")
        raise UsageError(target, wrong, did_you_mean(target, [label for _, label in objectives]))

    def label_names(self, column: str, target: str) -> list[str]:
        """The K labels of `target` whose probabilities `predict_proba` gives, in this order.

        Raises:
            UsageError: the model does not match the columns, or the target is not a column of labels.
        """
        return self.label_objective(column, target).label_names(self.space)

    def predict_proba(
        self, column: str, cells: Sequence[Any], target: str, temperature: float = 1.0
    ) -> NDArray[np.float32]:
        """The probabilities (N, K) of the labels of `target` for cells of a column; see `label_names`.

        They come from the head, or from the scores and their trained temperature. Labels that were trained with
        `loss: sigmoid` have a probability each on its own; those of others add up to 1.

        Args:
            column: of the cells.
            cells: N cells, none missing.
            target: the column of labels.
            temperature: by which the logits are divided; see `evaluation.prediction.fit_temperature`.

        Raises:
            UsageError: see `label_names` and `Space.embed`.
        """
        objective = self.label_objective(column, target)
        objective.label_names(self.space)
        batches = self._embed_in_batches(column, cells)
        with torch.inference_mode():
            parts = [objective.probabilities(z, self.space, temperature).cpu().numpy() for z in batches]
        return np.concatenate(parts)[: len(cells)]

    def _embed_in_batches(self, column: str, cells: Sequence[Any]) -> list[torch.Tensor]:
        z = self.space.embed(column, cells, normalize=False)
        return rows_in_batches(torch.from_numpy(z).to(self.device))

    def trained_pairs(self) -> list[tuple[str, str]]:
        """The pairs of columns, query and target, whose vectors objectives bring together row by row."""
        pairs = [objective.label_columns for objective in self._objectives]
        columns = {*self.space.columns, *self.space.fusions}
        return [pair for pair in pairs if pair is not None and set(pair) <= columns]

    def likelihood_objective(self, column: str) -> Objective | None:
        """The objective that gives the probability of each piece of a column, if there is one."""
        for objective in self._objectives:
            if objective.gives_likelihood and column in objective.columns():
                return objective
        return None
