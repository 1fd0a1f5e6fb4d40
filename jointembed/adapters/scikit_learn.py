"""Embeddings as features of scikit-learn pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ..data.rows import Rows, is_table
from ..errors import UsageError, did_you_mean
from ..space.space import Space


class Embedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn transformer: the vectors of a trained, frozen model as features.

    Cells are a list, an array or a column of a DataFrame. Of a DataFrame or another table, the column that is called
    like that of the model is taken, or its only column; a column that the model makes of several is made of the rows.
    The model is loaded by `fit`, or when it is first used, and is not pickled: a copy loads it again from its path.

    Args:
        model: a checkpoint, or the folder of a run.
        column: the column of the model that the cells belong to.
        trust: packages whose encoders and readers the model may import.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> genre = make_pipeline(Embedder("runs/songs-joint", "audio"), LogisticRegression())
    """

    _loaded: tuple[tuple[str, str, tuple[str, ...]], Space]

    def __init__(self, model: str | Path, column: str, trust: Sequence[str] = ()) -> None:
        self.model, self.column, self.trust = model, column, trust

    def fit(self, cells: Any, y: Any = None) -> Embedder:
        """Load the model, and check that it has the column; nothing is learned.

        Raises:
            UsageError: the model or its column does not exist.
        """
        self.__dict__.pop("_loaded", None)  # its file may have changed
        self._space()
        return self

    def transform(self, cells: Any) -> NDArray[np.float32]:
        """The vectors (N, D) of N cells; see `Space.embed`.

        Raises:
            UsageError: the cells are a single text, or a table without the column; see `Space.embed` for more.
        """
        space = self._space()
        return space.embed(self.column, _list_cells(cells, self.column, space.input_columns(self.column)))

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """`audio0`, `audio1`, ..."""
        return np.array([f"{self.column}{at}" for at in range(self._space().dim)], dtype=object)

    def _space(self) -> Space:
        source = str(self.model), self.column, tuple(self.trust)
        if not hasattr(self, "_loaded") or self._loaded[0] != source:
            space = Space.load(self.model, self.trust)
            space.input_columns(self.column)  # raises if there is no such column
            self._loaded = source, space
        return self._loaded[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}


def _list_cells(cells: Any, column: str, inputs: Sequence[str]) -> list[Any]:
    """The cells of a column of a model, which is made of columns of a table, as a list.

    Raises:
        UsageError: see `Embedder.transform`.
    """
    if not is_table(cells):
        if isinstance(cells, str | bytes | Path) or not isinstance(cells, Iterable):
            wrong = f"expected a list, an array or a table of cells, got {type(cells).__name__}"
            raise UsageError(column, wrong, "put a single cell into a list")
        if isinstance(cells, np.ndarray) and cells.ndim == 2 and cells.shape[1] == 1:
            cells = cells[:, 0]  # a column, as scikit-learn passes it on
        return list(cells)
    rows = Rows.open(cells)
    if list(inputs) != [column]:
        return rows.dicts()
    names = rows.columns
    if column not in names and len(names) > 1:
        wrong = f"the table has no such column (it has {', '.join(names)})"
        raise UsageError(column, wrong, did_you_mean(column, names))
    return rows.cells(column if column in names else names[0])
