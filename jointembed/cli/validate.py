"""Compute the losses and metrics of a model on the dev rows."""

from __future__ import annotations

from .fit import run_lightning


def validate(*words: str) -> None:
    """Compute the losses and metrics of a model on the dev rows."""
    run_lightning("validate", words)
