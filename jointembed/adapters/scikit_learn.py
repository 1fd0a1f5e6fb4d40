"""Embeddings as the input of other models: a step of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ..space.space import Space


class Embedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The vectors of a trained model, frozen, as features.

    The model is loaded when it is first needed, and stays out of what is pickled or cloned: its path says it all.

    Args:
        model: a checkpoint, or the folder of a run.
        column: what the cells are.
        trust: packages whose encoders and readers the model may import.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> genre = make_pipeline(Embedder("runs/songs-joint", "audio"), LogisticRegression())
    """

    def __init__(self, model: str | Path, column: str, trust: Sequence[str] = ()) -> None:
        self.model, self.column, self.trust = model, column, trust

    def fit(self, cells: Sequence[Any], y: Any = None) -> Embedder:
        """Look whether the model has the column; nothing is learned.

        Raises:
            UsageError: there is no such model, or no such column in it.
        """
        self._space()
        self.n_features_out_ = self._loaded.dim
        return self

    def transform(self, cells: Sequence[Any]) -> NDArray[np.float32]:
        """The vectors (N, D) of N cells; see `Space.embed`."""
        return self._space().embed(self.column, list(cells))

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """`audio0`, `audio1`, ..."""
        return np.array([f"{self.column}{at}" for at in range(self._space().dim)], dtype=object)

    def _space(self) -> Space:
        if not hasattr(self, "_loaded"):
            self._loaded = Space.load(self.model, self.trust)
            if self.column not in self._loaded.fusions:
                self._loaded.encoder(self.column)
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}
