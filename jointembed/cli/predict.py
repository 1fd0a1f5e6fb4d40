"""Compute the vectors of a table's rows."""

from __future__ import annotations

from .fit import run_lightning


def predict(*words: str) -> None:
    """Compute the vectors of a table's rows."""
    run_lightning("predict", words)
