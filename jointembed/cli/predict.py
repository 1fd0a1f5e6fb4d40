"""Write the vectors of a table's rows, in all columns, as Parquet."""

from __future__ import annotations

from .fit import run_lightning


def predict(*words: str) -> None:
    """Write the vectors of a table's rows into vectors.parquet in the run folder; see `WriteVectors`."""
    from ..training.callbacks.write_vectors import WriteVectors

    run_lightning("predict", words, [WriteVectors()])
