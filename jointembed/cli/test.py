"""Compute the losses of a model on the test rows."""

from __future__ import annotations

from .fit import run_lightning


def test(*words: str) -> None:
    """Compute the losses of a model on the test rows."""
    run_lightning("test", words)
