"""How the learning rate changes in the course of a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

ONE_CYCLE_START = 1 / 25  # of the highest learning rate, as in fastai
PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.5, 3


def cosine(total: int, warmup: float) -> Callable[[int], float]:
    """The factor at each step: it rises evenly over the share `warmup`, then falls to 0 along a cosine."""
    rise = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return _fall(step - rise, total - rise)

    return factor


def constant(total: int, warmup: float) -> Callable[[int], float]:
    """The factor at each step: it rises evenly over the share `warmup`, then stays."""
    rise = max(1, round(total * warmup))
    return lambda step: min(1.0, (step + 1) / rise)


def one_cycle(total: int, warmup: float) -> Callable[[int], float]:
    """The factor at each step: along a cosine from 1/25 to 1 over the share `warmup`, then to 0 (Smith and Topin 2018).

    A share of .3 is usual.
    """
    rise = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return 1 - (1 - ONE_CYCLE_START) * _fall(step, rise)
        return _fall(step - rise, total - rise)

    return factor


SCHEDULES: dict[str, Callable[[int, float], Callable[[int], float]]] = {
    "cosine": cosine,
    "constant": constant,
    "one_cycle": one_cycle,
}
ON_PLATEAU = "reduce_on_plateau"
NAMES = [*SCHEDULES, ON_PLATEAU]


def make_schedule(name: str, optimizer: Optimizer, total: int, warmup: float, evaluated_every: int) -> dict[str, Any]:
    """A schedule, as Lightning takes it.

    Args:
        name: one of `NAMES`.
        optimizer: whose learning rates it changes.
        total: steps of the training.
        warmup: the share of the steps in which the rates rise; `reduce_on_plateau` has none.
        evaluated_every: epochs from one `dev/loss` to the next.
    """
    if name == ON_PLATEAU:
        plateau = ReduceLROnPlateau(optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE)
        return {"scheduler": plateau, "monitor": "dev/loss", "interval": "epoch", "frequency": evaluated_every}
    return {"scheduler": LambdaLR(optimizer, SCHEDULES[name](total, warmup)), "interval": "step"}


def _fall(step: int, steps: int) -> float:
    """From 1 to 0 along a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
