"""The folder of a Hugging Face model: its settings and weights, read without running any code of the model."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import DamagedError, UnsafeError, UsageError

CODE_KEYS = ("auto_map", "custom_pipelines")  # settings that name code in the folder of a model
FETCH_AGAIN = "get the model from its maker again"


class ModelFolder:
    """A folder that `save_pretrained` wrote.

    Args:
        path: the folder, with config.json and model.safetensors or its shards.

    Raises:
        UsageError: a file is missing.
        UnsafeError: the settings name code.
        DamagedError: a file cannot be parsed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = self.read_json("config.json", "give a folder that `save_pretrained` wrote")
        self.model_type = str(self.config.get("model_type"))

    def read_json(self, name: str, fix: str = FETCH_AGAIN) -> dict[str, Any]:
        """The settings in a file of the folder.

        Args:
            name: its path in the folder.
            fix: what helps if the file does not exist.

        Raises:
            UsageError: the file does not exist.
            UnsafeError: the settings name code of the model, at any depth.
            DamagedError: the file does not contain settings.
        """
        path = self.path / name
        if not path.is_file():
            raise UsageError(path, "the file does not exist, so the model is incomplete", fix)
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DamagedError(path, f"it is not JSON ({error})", FETCH_AGAIN) from error
        if not isinstance(settings, dict):
            raise DamagedError(path, "it does not contain settings", FETCH_AGAIN)
        _refuse_code(path, settings)
        return settings

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """All weights under their names, from safetensors only.

        Raises:
            UsageError: there are none.
            UnsafeError: they are pickled, or lie outside of the folder.
            DamagedError: they cannot be read.
        """
        names = ["model.safetensors"]
        index = self.path / "model.safetensors.index.json"
        if index.is_file():
            names = sorted({str(name) for name in self.read_json(index.name).get("weight_map", {}).values()})
            if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
                raise UnsafeError(index, "it names files outside of the folder", FETCH_AGAIN)
        return {key: value for name in names for key, value in load_weights(self.path / name).items()}


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a safetensors file; see `ModelFolder.weights` for what is raised."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        convert = "convert them where you trust them: AutoModel.from_pretrained(NAME).save_pretrained(FOLDER)"
        if any(path.parent.glob("*.bin")) or any(path.parent.glob("*.pt*")):
            raise UnsafeError(path.parent, "its weights are pickled, which may run code, and are not read", convert)
        raise UsageError(path, "the file does not exist; weights are read from safetensors only", convert)
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(path, f"the weights are damaged ({error})", FETCH_AGAIN) from error
    return weights


def _refuse_code(path: Path, settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if key in CODE_KEYS:
            wrong = f"it names code of its own ({key}), which is never run"
            raise UnsafeError(path, wrong, "adopt a model whose classes are part of transformers")
        if isinstance(value, dict):
            _refuse_code(path, value)
