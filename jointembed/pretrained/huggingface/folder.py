"""The folder of a Hugging Face model: its settings and weights, read without running any code of the model."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DamagedError, UnsafeError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

CODE_KEYS = ("auto_map", "custom_pipelines")  # settings that name code in the folder of a model
STATIC_EMBEDDING = "StaticEmbedding"
FETCH_AGAIN = "get the model from its maker again"


class ModelFolder:
    """A folder that `save_pretrained` wrote, of transformers or sentence-transformers.

    Its properties raise what `read_json` raises.

    Args:
        path: the folder, with config.json and model.safetensors or its shards.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings of the network."""
        if not self.modules and not (self.path / "config.json").is_file():
            fix = (
                "give a folder that `save_pretrained` wrote (config.json, model.safetensors), one of"
                " sentence-transformers (modules.json), a model on the Hub (owner/name), music, or torchvision/NAME"
            )
            raise UsageError(self.path, "the model is incomplete: it has neither config.json nor modules.json", fix)
        return self.read_json("config.json")

    @cached_property
    def model_type(self) -> str:
        """The family of the network, as transformers names it, or `StaticEmbedding`, which has no network."""
        if self.modules and self.modules[0][0] == STATIC_EMBEDDING:
            return STATIC_EMBEDDING
        model_type = self.config.get("model_type")
        if not isinstance(model_type, str) or not model_type:
            fix = "give a folder that transformers or sentence-transformers saved, whose config.json names it"
            raise UsageError(self.path / "config.json", "model_type, the family of the network, is missing", fix)
        return model_type

    @property
    def architecture(self) -> str:
        """The class of the network, as the folder names it."""
        if self.model_type == STATIC_EMBEDDING:
            return STATIC_EMBEDDING
        return str((self.config.get("architectures") or [self.model_type])[0])[:60]

    @cached_property
    def modules(self) -> list[tuple[str, str]]:
        """The class and the folder of each module of sentence-transformers in their order; empty without modules.json.

        Raises:
            UnsafeError: a module is code of the model, or lies outside of the folder.
            DamagedError: the file does not list modules.
        """
        path = self.path / "modules.json"
        if not path.is_file():
            return []
        try:
            modules = [(str(module["type"]), str(module["path"])) for module in json.loads(path.read_text("utf-8"))]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedError(path, "it is not a list of modules", FETCH_AGAIN) from error
        if not modules:
            raise DamagedError(path, "it lists no module", FETCH_AGAIN)
        for name, place in modules:
            if not name.startswith("sentence_transformers."):
                wrong = f"it names code of its own ({name}), which is never run"
                raise UnsafeError(path, wrong, "adopt a model whose modules are part of sentence-transformers")
            if place != "." and (Path(place).name != place or place == ".."):
                raise UnsafeError(path, f"it names the folder {place} outside of the model", FETCH_AGAIN)
        return [(name.rpartition(".")[2], place) for name, place in modules]

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
        except (ValueError, RecursionError) as error:
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
