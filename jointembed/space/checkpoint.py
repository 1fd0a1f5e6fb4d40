"""Checkpoints: written whole or not at all, recognised when damaged, and loaded without running anything of theirs."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from .. import files
from ..config import from_config, to_config
from ..errors import DamagedError, MismatchError, UnsafeError, UsageError

if TYPE_CHECKING:
    from .space import JointEmbedding

KEY = "jointembed"
VERSION = 1


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint that is either whole or not there, without a second copy of it in memory.

    Lightning's own goes through memory and the folder for temporary files, and is not flushed to the disk.
    """
    with files.atomic_write(path) as file:
        torch.save(content, file)


class SafeIO(TorchCheckpointIO):
    """Lightning's door to our checkpoints."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see `write`."""
        write(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; see `read`."""
        return read(Path(path), map_location)


def read(path: Path, map_location: Any = None) -> dict[str, Any]:
    """The content of a checkpoint: tensors and plain data alone.

    Raises:
        UsageError: there is no such file.
        UnsafeError: it holds code.
        DamagedError: it is broken.
        MismatchError: it is no model of ours.
    """
    if not path.is_file():
        raise UsageError(path, "there is no such checkpoint", "give a .ckpt file or a run folder")
    advice = "use another checkpoint of the run, or train again"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise DamagedError(path, "the checkpoint is damaged (a checksum does not fit)", advice)
        content = torch.load(path, map_location=map_location or "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(
            path,
            "it holds more than tensors and plain data, and will not be loaded",
            "get the model as a jointembed checkpoint",
        ) from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise DamagedError(path, "the checkpoint is damaged or is none", advice) from error
    if not isinstance(content, dict) or KEY not in content:
        raise MismatchError(path, "it is no checkpoint of jointembed", "use one that `jointembed fit` wrote")
    if int(content[KEY].get("version", 0)) > VERSION:
        raise MismatchError(path, "it was written by a newer jointembed", "pip install -U jointembed")
    return content


def card(model: JointEmbedding) -> dict[str, Any]:
    """What makes a model besides its weights, as plain data."""
    readers = {name: reader.state() for name, (reader, _) in model.readers().items()}
    return {"version": VERSION, "model": to_config(model), "readers": readers, "note": model.note}


def restore(model: JointEmbedding, content: dict[str, Any]) -> None:
    """Give a model's readers what they knew, then build it; a second time changes nothing.

    Raises:
        MismatchError: the checkpoint belongs to a model with other columns.
    """
    states = content[KEY]["readers"]
    readers = model.readers()
    if set(states) != set(readers):
        raise MismatchError(
            "checkpoint",
            f"it holds readers for {sorted(states)}, the recipe {sorted(readers)}",
            "use the recipe it was trained with",
        )
    if not model.built:
        for name, (reader, _) in readers.items():
            reader.restore(states[name])
        model.configure_model()


def load(path: str | Path, trust: Collection[str] = ()) -> JointEmbedding:
    """The model of a checkpoint or run folder; see `JointEmbedding.load`."""
    from .space import JointEmbedding

    file = files.checkpoint(path)
    content = read(file)
    model = from_config(content[KEY]["model"], trust, str(file))
    if not isinstance(model, JointEmbedding):
        raise MismatchError(file, "it describes no JointEmbedding", "use a checkpoint that `jointembed fit` wrote")
    restore(model, content)
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise DamagedError(file, "its weights do not fit the model that it describes", "train again") from error
    bad = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise DamagedError(file, f"the weights {bad[0]} are not finite", "use an earlier checkpoint of the run")
    return model.eval()


def fingerprint(model: JointEmbedding) -> str:
    """SHA-256 of all that decides a vector: weights, preprocessing, vocabulary, pooling, metric; 16 digits of it."""
    whole = card(model)
    words = whole["model"]["init_args"]
    names = ("dim", "encoders", "columns", "pools", "fused", "mix", "metric")
    decisive = {name: words[name] for name in names if name in words}
    readers = {name: state for name, state in whole["readers"].items() if not name.startswith("objective.")}
    digest = hashlib.sha256(json.dumps([decisive, readers], sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("objectives."):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(_bytes(value))
    return digest.hexdigest()[:16]


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
