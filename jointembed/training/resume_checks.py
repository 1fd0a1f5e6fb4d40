"""What a resumed run takes from its recipe, and what the recipe cannot change any more.

`checkpoints.py` finds the checkpoint from which a run goes on, and `callbacks/resume_state.py` restores its state.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from ..config import to_config
from ..errors import MismatchError, UsageError
from ..space import checkpoint
from . import schedules
from .joint_embedding import JointEmbedding

RATES = ("lr", "sparse_lr", "encoder_lr", "layer_lr_decay", "weight_decay")
NEW_RUN = "leave the change out, or begin a new run in another folder"


def check_resume(trainer: Any, model: JointEmbedding, content: Mapping[str, Any]) -> bool:
    """Check that a run can go on with a recipe; return whether its learning rates have changed.

    Raises:
        MismatchError: the optimizer, the schedule, or the encoders with rates of their own have changed.
        UsageError: the run has already passed the limit on its epochs or steps.
    """
    saved, current = _settings(content[checkpoint.KEY]["model"]), _settings(to_config(model))
    for name in ("optimizer", "schedule"):
        if saved[name] != current[name]:
            wrong = f"the run was begun with {saved[name]}, and {current[name]} cannot go on with its state"
            raise MismatchError(f"model.{name}", wrong, NEW_RUN)
    for name in ("encoder_lr", "layer_lr_decay"):
        before, now = set(saved[name] or ()), set(current[name] or ())
        if before != now:
            wrong = (
                f"the run was begun with rates for {sorted(before) or 'no encoder'}, not for {sorted(now) or 'none'}"
            )
            raise MismatchError(f"model.{name}", wrong, NEW_RUN)
    changed = any(saved[name] != current[name] for name in RATES)
    if changed and current["schedule"] == schedules.ON_PLATEAU:
        wrong = f"{schedules.ON_PLATEAU} resumes with the learning rates that it has reached"
        raise MismatchError("model.lr", wrong, NEW_RUN)
    progress = content["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"]
    for kind, done, most in (
        ("epochs", progress, trainer.max_epochs),
        ("steps", content["global_step"], trainer.max_steps),
    ):
        if most not in (None, -1) and done > most:
            wrong = f"the run has had {done:,} {kind} already, more than {most:,}"
            raise UsageError(f"trainer.max_{kind}", wrong, "raise it, or begin a new run in another folder")
    return changed


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the training of a model, those by default included."""
    parameters = inspect.signature(JointEmbedding.__init__).parameters
    names = ("optimizer", "schedule", *RATES)
    return {name: config["init_args"].get(name, parameters[name].default) or None for name in names}


def apply_rates(trainer: Any, model: JointEmbedding) -> None:
    """Give the optimizer of a resumed run the learning rates and the weight decay of the recipe.

    The place in the schedule stays: a rate is that of the recipe times the factor of the current step.
    """
    configured = model.configure_optimizers()
    fresh = configured["optimizer"] if isinstance(configured, dict) else configured
    (optimizer,) = trainer.optimizers
    for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        first = new.get("initial_lr", new["lr"])
        group["lr"] *= first / group.get("initial_lr", group["lr"])
        group["initial_lr"], group["weight_decay"] = first, new["weight_decay"]
    for config in trainer.lr_scheduler_configs:
        config.scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        config.scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
    if trainer.is_global_zero:
        print("the learning rates and the weight decay have changed: those of the recipe are used", file=sys.stderr)
