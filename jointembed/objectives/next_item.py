"""Predicting what comes next in a history: the next film, the next note."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..errors import UsageError
from ..ragged import Ragged
from ..space.encoded import Encoded
from ..space.space import Space
from .match import Match
from .objective import Batch


class NextItem(Match):
    """Matching each place of a history with what comes after it, among the known ids: `Match` at every position.

    The history is a list of ids in their order, read by a pool that never looks ahead
    (`pools: {history: CausalTransformer}`). So a history's vector lies near what follows it, and is searched for among
    the ids.

    Args:
        history: the column.
        candidates: `all`, or a number of samples; see `Match`.
        loss: `softmax` or `sigmoid`; see `Match`.
        weight: in the sum of all objectives.
    """

    def __init__(
        self,
        history: str,
        candidates: Literal["all"] | int = 512,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        weight: float = 1.0,
    ) -> None:
        super().__init__(history, history, candidates, loss, weight=weight)

    def build(self, space: Space) -> None:
        """Make the scale of the scores, and the frequencies where there are such.

        Raises:
            UsageError: nothing reads the history in its order.
        """
        if self.query not in space.pools:
            wrong = "what comes next needs a pool that reads it in its order"
            raise UsageError(self.query, wrong, f"add `pools: {{{self.query}: CausalTransformer}}` to the model")
        super().build(space)

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The loss of every place that has a next one."""
        states, read = encoded[self.query].states, encoded[self.query].sequence
        assert states is not None and read is not None
        before = (read.rows[1:] == read.rows[:-1]).nonzero()[:, 0]
        order = torch.arange(len(before), device=states.device)
        query = Encoded(states[before], torch.ones_like(before, dtype=torch.bool), order)
        target = Ragged(read.values[before + 1], order, order)
        return super().forward({self.query: query}, {self.query: target}, space, dim)
