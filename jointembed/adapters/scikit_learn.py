"""Embeddings as features of scikit-learn pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ..space.space import Space


class Embedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn transformer: the vectors of a trained, frozen model as features.

    The model is loaded when it is first used, and is not pickled: a copy loads it again from its path.

    Args:
        model: a checkpoint, or the folder of a run.
        column: the column of the model that the cells belong to.
        trust: packages whose encoders and readers the model may import.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> genre = make_pipeline(Embedder("runs/songs-joint", "audio"), LogisticRegression())
    """

    def __init__(self, model: str | Path, column: str, trust: Sequence[str] = ()) -> None:
        self.model, self.column, self.trust = model, column, trust

    def fit(self, cells: Sequence[Any], y: Any = None) -> Embedder:
        """Check that the model has the column; nothing is learned.

        Raises:
            UsageError: the model or its column does not exist.
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
