"""Tags of items from their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_PROBABILITY = 0.1  # from which an item has a tag


def list_tags(tags: Sequence[str], probabilities: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The column `tags` of items, from the probabilities (N, K) of K tags: the most probable tag first."""
    orders = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        {"tags": [tags[tag] for tag in order if row[tag] >= MIN_PROBABILITY]}
        for row, order in zip(probabilities, orders, strict=True)
    ]
