"""A trained model as a module of sentence-transformers: its texts, sounds and images in whatever takes such models.

`SentenceTransformer(modules=[SpaceModule("RUN")])` embeds cells, searches, evaluates; `save` writes a folder that
`SentenceTransformer(FOLDER)` loads wherever jointembed is installed. The module is frozen: `jointembed fit` trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from sentence_transformers.base.modules.input_module import InputModule

from ..errors import UsageError
from ..files import checkpoint
from ..sharing.export import export_model
from ..sharing.model_card import About
from ..space import checkpoint as checkpoints
from ..space.space import Space
from .modalities import find_columns

MODEL = "model"  # the exported model within the folder of the module


class SpaceModule(InputModule):  # type: ignore[misc]
    """A trained, frozen model as the only module of a SentenceTransformer.

    An input is a text; a dict such as `{"audio": "song.flac"}` or `{"image": picture}`, whose cell is anything that the
    reader of the column takes; or, of a model with a single column, a cell of that.

    Args:
        model: a checkpoint, a run folder or an exported model.
        columns: `text`, `audio`, `image` with their columns; see `find_columns`.
        trust: packages whose encoders and readers the model may import.

    Raises:
        UsageError: the model or a column does not exist.
    """

    config_keys = ["columns"]
    save_in_root = False

    def __init__(self, model: str | Path, columns: Mapping[str, str] | None = None, trust: Sequence[str] = ()) -> None:
        super().__init__()
        self.path = Path(model)
        self.space = Space.load(model, trust)
        self.columns = find_columns(self.space, columns)

    @property
    def modalities(self) -> list[Any]:
        """The kinds of inputs that the model reads."""
        return list(self.columns)

    def get_embedding_dimension(self) -> int:
        """The number of dimensions of a vector."""
        return self.space.dim

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """The column and the cell of each of N inputs; texts begin with the prompt.

        Raises:
            UsageError: the model does not read an input.
        """
        pairs = [self._resolve(item) for item in inputs]
        cells = [(prompt or "") + cell if column == self.columns.get("text") else cell for column, cell in pairs]
        return {"columns": [column for column, _ in pairs], "cells": cells}

    def _resolve(self, item: Any) -> tuple[str, Any]:
        modality, cell = next(iter(self.columns)), item
        if isinstance(item, dict) and len(item) == 1:
            ((modality, cell),) = item.items()
        elif isinstance(item, str) and "text" in self.columns:
            modality = "text"
        elif len(self.columns) > 1:
            modality = ""
        if modality not in self.columns:
            wrong = f"expected a text or a dict with one of {', '.join(self.columns)}, got {type(item).__name__}"
            raise UsageError("input", wrong, 'write {"audio": PATH}')
        return self.columns[modality], cell

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add the vectors (N, D) as `sentence_embedding`."""
        columns, cells = features["columns"], features["cells"]
        vectors = torch.empty(len(cells), self.space.dim, device=self.space.device)
        for column in dict.fromkeys(columns):
            places = [place for place, name in enumerate(columns) if name == column]
            part = self.space.embed(column, [cells[place] for place in places])
            vectors[places] = torch.from_numpy(part).to(vectors.device)
        return features | {"sentence_embedding": vectors}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the module into a folder: the model as `jointembed export` writes it, and the columns."""
        self.save_config(output_path)
        content = checkpoints.read(checkpoint(self.path))
        export_model(content, self.space, Path(output_path) / MODEL, About())

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load the module from a folder that `save` wrote, or from a model of the Hub.

        Raises:
            UsageError: it has no model of this module.
        """
        location = (token, cache_folder, revision, local_files_only)
        config = cls.load_config(model_name_or_path, subfolder, None, *location)
        folder = cls.load_dir_path(model_name_or_path, str(Path(subfolder) / MODEL), *location)
        if folder is None:
            raise UsageError(model_name_or_path, f"the folder {MODEL} is missing", "save the module again")
        return cls(folder, **config)
