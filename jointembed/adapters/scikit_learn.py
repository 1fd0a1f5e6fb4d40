"""Embeddings as features of scikit-learn pipelines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin

from ..data.rows import Rows, is_table
from ..errors import UsageError, did_you_mean
from ..space.space import Space
from ..training.joint_embedding import JointEmbedding


class Pretrained(BaseEstimator, ABC):  # type: ignore[misc]
    """What estimators of a trained, frozen model share: it is read from its path, and takes cells or tables."""

    _loaded: tuple[tuple[str, ...], Any]

    def fit(self, cells: Any, y: Any = None) -> Self:
        """Load the model, and check that it has the columns; nothing is learned.

        Raises:
            UsageError: the model or a column does not exist, or the cells are in no list.
        """
        _check_container(cells, self.column)
        self.__dict__.pop("_loaded", None)  # its file may have changed
        self._load()
        return self

    @abstractmethod
    def _read(self) -> Any:
        """What is used of the model, from its file; raises UsageError if it does not have the columns."""

    def _load(self) -> Any:
        source = tuple(map(repr, self.get_params().values()))
        if not hasattr(self, "_loaded") or self._loaded[0] != source:
            self._loaded = source, self._read()
        return self._loaded[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # a cell may be anything that the reader of the column takes
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.input_tags.one_d_array, tags.input_tags.categorical = True, True
        return tags


class Embedder(TransformerMixin, Pretrained):  # type: ignore[misc]
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

    def __init__(self, model: str | Path, column: str, trust: Sequence[str] = ()) -> None:
        self.model, self.column, self.trust = model, column, trust

    def transform(self, cells: Any) -> NDArray[np.float32]:
        """The vectors (N, D) of N cells; see `Space.embed`.

        Raises:
            UsageError: the cells are a single text, or a table without the column; see `Space.embed` for more.
        """
        space: Space = self._load()
        with _listed(cells, self.column, space.input_columns(self.column)) as listed:
            return space.embed(self.column, listed)

    def _read(self) -> Space:
        space = Space.load(self.model, self.trust)  # without the objectives, which may be of any package
        space.input_columns(self.column)
        return space

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def get_feature_names_out(self, names: Any = None) -> NDArray[Any]:
        """`audio0`, `audio1`, ..."""
        return np.array([f"{self.column}{at}" for at in range(self._load().dim)], dtype=object)


class PretrainedClassifier(ClassifierMixin, Pretrained):  # type: ignore[misc]
    """A scikit-learn classifier: what a trained, frozen model predicts of a column of labels.

    The labels are those that the model knows, as text; see `JointEmbedding.predict_proba` for their probabilities, and
    `Embedder` for what cells may be.

    Args:
        model: a checkpoint, or the folder of a run.
        column: the column of the model that the cells belong to.
        target: the column of labels.
        trust: packages whose encoders and readers the model may import.

    >>> genre = PretrainedClassifier("runs/songs-joint", "audio", "genre")
    """

    def __init__(self, model: str | Path, column: str, target: str, trust: Sequence[str] = ()) -> None:
        self.model, self.column, self.target, self.trust = model, column, target, trust

    def _read(self) -> JointEmbedding:
        model = JointEmbedding.load(self.model, self.trust)
        model.space.input_columns(self.column)
        model.label_names(self.column, self.target)
        return model

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels (K,), sorted."""
        return np.array(sorted(self._load().label_names(self.column, self.target)), dtype=object)

    def predict_proba(self, cells: Any) -> NDArray[np.float32]:
        """The probabilities (N, K) of the labels, in the order of `classes_`.

        Raises:
            UsageError: see `Embedder.transform`.
        """
        model: JointEmbedding = self._load()
        with _listed(cells, self.column, model.space.input_columns(self.column)) as listed:
            probabilities = model.predict_proba(self.column, listed, self.target)
        labels = model.label_names(self.column, self.target)
        return probabilities[:, sorted(range(len(labels)), key=labels.__getitem__)]

    def predict(self, cells: Any) -> NDArray[Any]:
        """The likeliest label of each of N cells, (N,)."""
        return self.classes_[self.predict_proba(cells).argmax(1)]  # type: ignore[no-any-return]


def _check_container(cells: Any, column: str) -> None:
    """Raise UsageError for what is neither a list, an array nor a table."""
    listed = isinstance(cells, Iterable) or hasattr(cells, "__array__") or is_table(cells)
    if isinstance(cells, str | bytes | Path) or not listed or hasattr(cells, "tocsr"):
        kind = "a sparse matrix" if hasattr(cells, "tocsr") else type(cells).__name__
        wrong = f"expected a list, an array or a table of cells, got {kind}"
        raise UsageError(column, wrong, "put the cells into a list")


@contextmanager
def _listed(cells: Any, column: str, inputs: Sequence[str]) -> Iterator[list[Any]]:
    """The cells of a column of a model, which is made of columns of a table, as a list.

    Sounds and images within a table are files until the context is left.

    Raises:
        UsageError: see `Embedder.transform`.
    """
    _check_container(cells, column)
    if not is_table(cells):
        if hasattr(cells, "__array__") and not isinstance(cells, Iterable):
            cells = np.asarray(cells)
        if isinstance(cells, np.ndarray) and cells.dtype.kind in "OUST" and cells.shape[1:] == (1,):
            cells = cells[:, 0]  # a column of texts, as scikit-learn passes it on
        yield list(cells)
        return
    rows = Rows.open(cells)
    names = rows.columns
    if list(inputs) != [column]:
        yield rows.dicts()
        return
    if column not in names and len(names) > 1:
        wrong = f"the table has no such column (it has {', '.join(names)})"
        raise UsageError(column, wrong, did_you_mean(column, names))
    yield rows.cells(column if column in names else names[0])
