"""Predicting numbers."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import Count, NonNegative
from ..encoders import make_mlp
from ..readers import Numbers, Reader
from ..space.encoded import Encoded
from ..space.space import Space
from . import distributed
from .objective import Batch, Objective


class Regression(Objective):
    """Predicting numbers from a vector by a small network: the mean squared error of the standardised target.

    Args:
        query: column of the space.
        target: column of numbers.
        head: hidden layers of the network.
        weight: in the sum of all objectives.
    """

    uses_score = False

    def __init__(self, query: str, target: str, head: list[Count] | None = None, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.query, self.target, self.weight = query, target, weight
        self.head = list(head or [])
        self.own = Numbers()

    def readers(self) -> dict[str, Reader]:
        """The reader of the target."""
        return {self.target: self.own}

    def columns(self) -> list[str]:
        """The query."""
        return [self.query]

    def row_columns(self) -> list[str]:
        """The query and the target."""
        return [self.query, self.target]

    def build(self, space: Space) -> None:
        """Make the network."""
        self.network = make_mlp(space.dim, self.head, self.own.size)

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The mean squared error over rows that have both."""
        query, target = encoded[self.query], batch[self.target]
        right = target.mean(target.values)
        errors = (self.network(query.z) - (query.mix(right) if query.mix else right)).square().mean(1)
        return distributed.mean(errors, query.present & target.present)

    def predict(self, z: Tensor) -> NDArray[Any]:
        """The predicted numbers (N,) for vectors z (N, D), in the units of the target column."""
        with torch.inference_mode():
            return self.own.inverse_transform(self.network(z).float().cpu().numpy())[:, 0]
