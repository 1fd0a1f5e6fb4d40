"""How likely a sequence model finds the lists of a table: the negative log likelihood of each piece, in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..space.space import Space
from .objective import Objective

# P pieces, K items of a vocabulary

Floats = NDArray[np.float64]


def negative_log_likelihoods(objective: Objective, space: Space, column: str, cells: Sequence[Any]) -> list[Floats]:
    """For each cell the negative log likelihood (P,) of its pieces, each given those before it; cells are read alone.

    Raises:
        UsageError: a cell has more pieces than the sequence encoder reads.
    """
    path = space.column(column)
    assert path.sequence is not None
    training = space.training
    space.eval()
    objective.eval()
    result = []
    try:
        with torch.inference_mode():
            for number, cell in enumerate(cells):
                x = path.reader.encode([cell]).to(space.device)
                if len(x.rows) > path.sequence.length:
                    wrong = f"it has {len(x.rows)} pieces, and the model reads {path.sequence.length}"
                    raise UsageError(f"{column}, cell {number}", wrong, "train with a greater `length` of the pool")
                result.append(objective.negative_log_likelihood(path.states(x), x).cpu().double().numpy())
    finally:
        space.train(training)
        objective.train(training)
    return result


def frequency_baseline(space: Space, column: str, training: Sequence[Any], cells: Sequence[Any]) -> list[Floats]:
    """The same if items were independent, as frequent as in the cells of `training`: the baseline of a model."""
    reader = space.reader(column)
    x = reader.encode(training)
    counts = np.bincount(x.values.numpy(), minlength=reader.size)[: reader.size]
    share = (counts + 0.5) / (len(x.rows) + 1)  # half a time for an item that never occurs
    empty, odds = -np.log1p(-share).sum(), np.log(share / (1 - share))
    result = []
    for cell in cells:
        x = reader.encode([cell])
        sets = x.dense([reader.size + 1]).numpy()[:, : reader.size].astype(np.float64)
        result.append(empty - sets @ odds)
    return result
