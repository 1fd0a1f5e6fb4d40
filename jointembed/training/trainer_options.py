"""Checks of options that Lightning's Trainer ignores silently, or refuses with a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import lightning
from lightning.pytorch.callbacks import BackboneFinetuning

from ..arguments import Count, Natural, NonNegative, Range, Share, check
from ..errors import UsageError

UNLIMITED = -1
RANGES: dict[str, Any] = {
    "max_epochs": Count,
    "max_steps": Count,
    "min_epochs": Natural,
    "min_steps": Natural,
    "accumulate_grad_batches": Count,
    "check_val_every_n_epoch": Count,
    "gradient_clip_val": NonNegative,
    "log_every_n_steps": Natural,
    "num_sanity_val_steps": Natural,
    "num_nodes": Count,
}
SHARE_OF_BATCHES = Annotated[float, Range(0, 1, open_low=True)]
BATCHES: dict[str, tuple[Any, Any]] = {  # whole numbers are batches, other numbers a share of them
    "limit_train_batches": (Count, SHARE_OF_BATCHES),
    "limit_val_batches": (Natural, Share),
    "limit_test_batches": (Natural, Share),
    "limit_predict_batches": (Natural, Share),
    "overfit_batches": (Natural, Share),
    "val_check_interval": (Count, SHARE_OF_BATCHES),
}


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Check the options of a trainer.

    Raises:
        UsageError: a number is out of range, two options contradict each other, or the run folder is a file.
    """
    for name, hint in RANGES.items():
        value = options.get(name)
        if value != UNLIMITED or name not in ("max_epochs", "max_steps", "num_sanity_val_steps"):
            check(f"trainer.{name}", hint, value)
    for name, (whole, share) in BATCHES.items():
        value = options.get(name)
        if isinstance(value, int | float):
            check(f"trainer.{name}", whole if isinstance(value, int) else share, value)
    for kind in ("epochs", "steps"):
        low, high = options.get(f"min_{kind}"), options.get(f"max_{kind}")
        if low is not None and high is not None and high != UNLIMITED and low > high:
            wrong = f"it is {low}, more than max_{kind}, {high}"
            raise UsageError(f"trainer.min_{kind}", wrong, f"lower it, or raise trainer.max_{kind}")
    algorithm = options.get("gradient_clip_algorithm")
    if algorithm not in (None, "norm", "value"):
        wrong = f"gradients are clipped by norm or by value, got {algorithm}"
        raise UsageError("trainer.gradient_clip_algorithm", wrong, "write norm, or value")
    folder = Path(str(options.get("default_root_dir") or "."))
    if folder.exists() and not folder.is_dir():
        raise UsageError("trainer.default_root_dir", f"{folder} is a file", "give a folder")


def check_callbacks(callbacks: Sequence[Any], model: Any) -> None:
    """Check that callbacks of Lightning suit a model.

    Raises:
        UsageError: one would unfreeze a part that the model does not have.
    """
    if any(isinstance(callback, BackboneFinetuning) for callback in callbacks) and not hasattr(model, "backbone"):
        wrong = "BackboneFinetuning unfreezes the attribute `backbone`, and this model has encoders with names instead"
        fix = (
            "leave it out; `trainable` of an encoder names the layers that are trained, all others are frozen, and"
            " model.encoder_lr and model.layer_lr_decay set their learning rates"
        )
        raise UsageError("trainer.callbacks", wrong, fix)


def is_refusal_of_lightning(error: Exception) -> bool:
    """Whether Lightning itself has raised an error: two of its options or callbacks do not go together."""
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return raised_in.is_relative_to(Path(lightning.__file__).parent)


def explain_trainer_error(options: Mapping[str, Any], error: Exception) -> UsageError:
    """The error of Lightning's Trainer in one line, with the option that its message names."""
    message = " ".join(str(error).split()).rstrip(".")
    named = [name for name in sorted(options, key=len, reverse=True) if options[name] is not None and name in message]
    named = named or [name for name in options if isinstance(options[name], str) and options[name] in message]
    subject = f"trainer.{named[0]}" if named else "trainer"
    return UsageError(subject, message, "correct it, or leave it out")
