"""What a search gives: rows with their scores."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends.rows import fetch


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Args:
        id: its id.
        score: more is nearer: the cosine, the product, or minus the squared Euclidean distance.
        row: its cells, `id` among them.
        alike: ids of near-duplicates that it stands for, if these were asked to be shown as one.
    """

    id: str
    score: float
    row: dict[str, Any]
    alike: tuple[str, ...] = ()


def hits(
    db: sqlite3.Connection,
    numbers: Sequence[int] | Sequence[Sequence[int]] | npt.NDArray[np.int64] | list[npt.NDArray[np.int64]],
    scores: npt.NDArray[np.float64] | Sequence[float],
) -> list[Hit]:
    """The hits of rows' numbers and their scores; of a group of numbers, the first stands for the others."""
    groups = [one if isinstance(one, list) else np.atleast_1d(one).tolist() for one in numbers]
    told = iter(fetch(db, [number for group in groups for number in group]))
    made = []
    for group, score in zip(groups, scores, strict=True):
        row = next(told)
        made.append(Hit(row["id"], float(score), row, tuple(next(told)["id"] for _ in group[1:])))
    return made
