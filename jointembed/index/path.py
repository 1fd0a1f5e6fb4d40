"""A path between two items in small, even steps.

Letters: D dimension, C candidates of a step.
"""

from __future__ import annotations

import numpy as np

from .rerank import unit_scaled
from .search.base import Positions
from .vector_field import Floats, VectorField

MAX_PATH_ITEMS = 1_000
_CANDIDATES_PER_STEP = 24  # or as many as the path has steps, so that no item need come twice


def find_path(field: VectorField, start: int, end: int, count: int, allowed: Positions | None = None) -> list[int]:
    """Positions of a path of `count` items between two items, which it includes; fewer if there are not enough.

    The line between the two (the arc, if the metric is cosine) is divided evenly; the nearest items of each point are
    the candidates of a step. The chain with the smallest sum of squared steps (Viterbi 1967) is chosen, which punishes
    a jump. No item comes twice.

    Args:
        field: the vectors.
        start: position of the first item.
        end: position of the last item.
        count: number of items, from 2 on.
        allowed: ascending positions of the items between; all if None.
    """
    ends = field.take(np.array([start, end]))
    between = np.setdiff1d(np.arange(len(field)) if allowed is None else allowed, [start, end])
    steps = min(count - 2, len(between))
    layers = []
    for step in range(1, steps + 1):
        point = _interpolate(ends[0], ends[1], step / (steps + 1), field.metric)
        layers.append(field.euclidean.search(point[None], max(_CANDIDATES_PER_STEP, steps + 1), between)[0][0])
    while True:
        chain = _viterbi(field, start, end, layers)
        distinct, first, counts = np.unique(chain, return_index=True, return_counts=True)
        if len(distinct) == len(chain):
            return [start, *chain, end]
        repeated = distinct[counts > 1]
        layers = [layer[~np.isin(layer, repeated)] for layer in layers]
        for step in first[counts > 1].tolist():  # each stays where it came first
            layers[step] = np.array([chain[step]])


def _viterbi(field: VectorField, start: int, end: int, layers: list[Positions]) -> list[int]:
    """The chain through one candidate of each layer with the smallest sum of squared steps."""
    if not layers:
        return []
    ends = unit_scaled(field, np.array([start, end]))
    points = [unit_scaled(field, layer) - ends[0] for layer in layers]  # so that products round little
    ends -= ends[0].copy()
    squares = [np.square(layer).sum(1) for layer in points]
    cost, back = squares[0], []
    for step in range(1, len(points)):
        costs = (cost + squares[step - 1])[:, None] - 2 * points[step - 1] @ points[step].T + squares[step]  # (C, C)
        back.append(costs.argmin(0))
        cost = costs.min(0)
    candidate = int((cost + np.square(points[-1] - ends[1]).sum(1)).argmin())
    chain = [int(layers[-1][candidate])]
    for layer, came_from in zip(layers[-2::-1], back[::-1], strict=True):
        candidate = int(came_from[candidate])
        chain.append(int(layer[candidate]))
    return chain[::-1]


def _interpolate(start: Floats, end: Floats, share: float, metric: str) -> Floats:
    if metric == "cosine":
        angle = float(np.arccos(np.clip(start @ end, -1, 1)))
        if 1e-6 < angle < np.pi - 1e-6:
            weights = np.sin(np.array([1 - share, share]) * angle) / np.sin(angle)
            return np.asarray(weights[0] * start + weights[1] * end)
    return (1 - share) * start + share * end
