"""Predicting what comes next in a history: the next film, the next note."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..arguments import Count, NonNegative
from ..errors import UsageError
from ..space.encoded import Encoded
from ..space.space import Space
from .candidates import Candidates, Queries, Targets
from .losses import Loss
from .match import make_candidates, make_loss
from .objective import Batch, Objective


class NextItem(Objective):
    """Matching each position of a history with the item after it, among the known ids.

    A history is a list of ids in order, read by a sequence encoder that never looks ahead
    (`pools: {history: CausalTransformer}`). The vector of a history thus lies near the items that follow it.

    Args:
        history: the column.
        candidates: `all`, or a number of samples; see `Match`.
        loss: `softmax` or `sigmoid`; see `Match`.
        weight: in the sum of all objectives.
    """

    supports_mixup = False

    def __init__(
        self,
        history: str,
        candidates: Literal["all"] | Count | Candidates = 512,
        loss: Literal["softmax", "sigmoid"] | Loss = "softmax",
        weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        self.history, self.weight = history, weight
        self.candidates, self.loss = make_candidates(candidates), make_loss(loss)
        if self.candidates.from_batch:
            raise UsageError(f"NextItem({history})", "it looks among ids", "use `candidates: all` or a number")

    def columns(self) -> list[str]:
        """The history."""
        return [self.history]

    def row_columns(self) -> list[str]:
        """The history."""
        return [self.history]

    def build(self, space: Space) -> None:
        """Make the parameters of the loss.

        Raises:
            UsageError: the history is not read in order, or its items are not ids.
        """
        title = f"NextItem({self.history})"
        check_sequence(space, self.history)
        reader = space.reader(self.history)
        if len(reader.counts) != reader.size or not reader.size:
            wrong = f"{self.history} is not a list of ids that the training rows hold"
            raise UsageError(title, wrong, f"read {self.history} with EmbeddingBag(Category)")
        self.candidates.build(reader, self.loss, title)
        self.loss.build(space, reader.size)

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The mean loss over all positions that have a next one."""
        states, read = encoded[self.history].states, encoded[self.history].sequence
        assert states is not None and read is not None
        position = (read.rows[1:] == read.rows[:-1]).nonzero()[:, 0]
        order = torch.arange(len(position), device=states.device)
        present = torch.ones_like(position, dtype=torch.bool)
        query = Queries(states[position], present, chunks=encoded[self.history].chunks)
        target = Targets(self.history, read.values[position + 1], order, single=True)
        return self.candidates(self.loss, query, target, space, dim)  # type: ignore[no-any-return]


def check_sequence(space: Space, column: str) -> None:
    """Check that a sequence encoder reads a column.

    Raises:
        UsageError: none does.
    """
    if column not in space.pools:
        fix = f"add `pools: {{{column}: CausalTransformer}}` to the model"
        raise UsageError(column, "predicting the next item needs an encoder that reads the list in order", fix)
