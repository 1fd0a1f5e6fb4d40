"""How likely a model finds what stands in a table: the negative log likelihood of each piece, in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders import to_float32
from ..errors import UsageError
from . import Objective

if TYPE_CHECKING:
    from ..encoders import CausalTransformer
    from ..space.space import JointEmbedding

# P pieces, K known things

Floats = NDArray[np.float64]


def judge(model: JointEmbedding, column: str) -> Objective | None:
    """The objective of a model that gives the probability of each piece of a column, if there is one."""
    for objective in cast("list[Objective]", model.objectives):
        if objective.query == column and objective.exact:
            return objective
    return None


def nats(model: JointEmbedding, column: str, cells: Sequence[Any]) -> list[Floats]:
    """For each cell its pieces' negative log likelihoods (P,), each given those before it; every cell is read alone.

    Raises:
        UsageError: no objective gives probabilities, or a cell is longer than what the model reads of it.
    """
    objective = judge(model, column)
    if objective is None:
        raise UsageError(column, "the model gives no probability of what is next in it", "train it with `NextSet`")
    encoder, project = model.encoder(column), model.projections[model.columns[column]]
    pool, found, training = cast("CausalTransformer", model.pools[column]), [], model.training
    model.eval()
    try:
        with torch.inference_mode():
            for number, cell in enumerate(cells):
                x = encoder.reader.encode([cell]).to(model.device)
                if len(x.rows) > pool.length:
                    wrong = f"it has {len(x.rows)} pieces, of which the model reads {pool.length}"
                    raise UsageError(f"{column}, cell {number}", wrong, "train with a greater `length` of the pool")
                states = to_float32(pool.states(project(encoder.pieces(x)), x))
                found.append(objective.nats(states, x).double().cpu().numpy())
    finally:
        model.train(training)
    return found


def frequent(model: JointEmbedding, column: str, known: Sequence[Any], cells: Sequence[Any]) -> list[Floats]:
    """The same if each thing came by itself, as often as in the cells of `known`: what a model must be better than."""
    reader = model.reader(column)
    x = reader.encode(known)
    counts = np.bincount(x.values.numpy(), minlength=reader.size)[: reader.size]
    share = (counts + 0.5) / (len(x.rows) + 1)  # of what never came, half a time
    nothing, odds = -np.log1p(-share).sum(), np.log(share / (1 - share))
    found = []
    for cell in cells:
        x = reader.encode([cell])
        sets = x.dense([reader.size + 1]).numpy()[:, : reader.size].astype(np.float64)
        found.append(nothing - sets @ odds)
    return found
