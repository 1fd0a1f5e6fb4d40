"""What the trainer computes on: the precision, and how several processes train together."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy, Strategy

from ..errors import UsageError
from ..space.precision import native_bf16

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
_SHORT_PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}  # Lightning's


def choose_precision(precision: Any, accelerator: Any) -> str:
    """The precision as Lightning writes it; if it is not given, the fastest of `bf16-mixed` and `32-true`.

    Raises:
        UsageError: there is no such precision, or the accelerator does not have it.
    """
    device_type = "cpu" if accelerator == "cpu" or not torch.cuda.is_available() else "cuda"
    if precision is None:
        return "bf16-mixed" if native_bf16(device_type) else "32-true"
    name = _SHORT_PRECISIONS.get(str(precision), str(precision))
    if name not in PRECISIONS:
        wrong = f"must be one of {', '.join(PRECISIONS)}, got {name}"
        if name in ("bf16-true", "16-true"):
            wrong = f"{name} would round the updates of the weights away"
            raise UsageError("trainer.precision", wrong, f"write {name.replace('true', 'mixed')}")
        raise UsageError("trainer.precision", wrong, "leave it out")
    if name == "16-mixed" and device_type == "cpu":
        raise UsageError("trainer.precision", "16-mixed needs a GPU", "write bf16-mixed, or 32-true")
    return name


def check_trainer(trainer: lightning.Trainer) -> None:
    """Check the precision and the strategy of a trainer of any class.

    Raises:
        UsageError: see `choose_precision` and `check_strategy`.
    """
    choose_precision(trainer.precision, "cpu" if trainer.strategy.root_device.type == "cpu" else "auto")
    check_strategy(trainer.strategy)


def check_strategy(strategy: Any) -> None:
    """Check that a strategy is one that is known to train right: one device, or DDP.

    Raises:
        UsageError: it divides the parameters, which the tables with sparse gradients do not stand, or it starts
            processes whose model this one does not get back.
    """
    fix = "write ddp, which starts the same command once for each device"
    if isinstance(strategy, str):
        name = strategy.lower()
        if name.startswith(("fsdp", "deepspeed", "modelparallel")) or "modelparallel" in name:
            wrong = f"{strategy} divides the parameters among devices, which is not supported"
            raise UsageError("trainer.strategy", wrong, fix)
        if name.startswith("ddp_") and not name.startswith("ddp_find"):
            wrong = f"{strategy} trains in processes from which this one cannot take the model"
            raise UsageError("trainer.strategy", wrong, fix)
    elif isinstance(strategy, Strategy) and isinstance(strategy, ParallelStrategy):
        wrong = f"{type(strategy).__name__} is not supported"
        if not isinstance(strategy, DDPStrategy):
            raise UsageError("trainer.strategy", f"{wrong}: it does not keep a whole model on each device", fix)
        if strategy._start_method != "popen":
            raise UsageError("trainer.strategy", f"{wrong} with start_method {strategy._start_method}", fix)
