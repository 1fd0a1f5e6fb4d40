"""Checkpoints, as files or exported folders: atomic, checked for damage, and loaded without executing their code."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import files
from ..errors import DamagedError, DivergedError, MismatchError, UnsafeError, UsageError, UserError
from . import exported, golden, model_folder, packed_lists

KEY = model_folder.KEY  # what describes the model, beside Lightning's own keys and the weights in `state_dict`
VERSION, OLDEST_VERSION = 3, 2  # version 2 held vocabularies as lists
INDEX_HEADER = b"SQLite format 3\0"


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all, without a second copy of it in memory.

    Lightning's own writer goes through memory and a temporary folder, and does not flush to the disk.

    Raises:
        DivergedError: a weight is not finite; nothing is written.
    """
    for state in (content["state_dict"], content.get("current_model_state", {})):
        name = find_non_finite(state)
        if name is not None:
            wrong = f"the weights {name} are not finite, so the checkpoint is not written"
            raise DivergedError(path, wrong, "train with a lower learning rate, from an earlier checkpoint")
    with files.atomic_write(path) as file:
        torch.save({**content, KEY: packed_lists.pack(content[KEY])}, file)


def read(path: Path, map_location: Any = None) -> dict[str, Any]:
    """The content of a checkpoint, or of an exported model (its folder or config.json): tensors and plain data only.

    Raises:
        UsageError: the file does not exist.
        UnsafeError: it holds code, or names files outside of its folder.
        DamagedError: it is damaged.
        MismatchError: jointembed did not write it, or another version did.
    """
    path = path / model_folder.CONFIG if path.is_dir() else path
    if not path.is_file():
        raise UsageError(path, "the checkpoint does not exist", "give a .ckpt file or a run folder")
    content = exported.read(path.parent) if path.name == model_folder.CONFIG else _read_file(path, map_location)
    version = content[KEY].get("version", 0) if isinstance(content[KEY], dict) else 0
    if not isinstance(version, int) or version > VERSION:
        raise MismatchError(path, "a newer version of jointembed wrote it", "pip install -U jointembed")
    if version < OLDEST_VERSION:
        raise MismatchError(path, "an older version of jointembed wrote it", "train the model again")
    return content


def _read_file(path: Path, map_location: Any) -> dict[str, Any]:
    advice = "use another checkpoint of the run, or train again"
    with path.open("rb") as file:
        if file.read(len(INDEX_HEADER)) == INDEX_HEADER:
            raise MismatchError(path, "this is an index, not a model", "give the checkpoint that made the index")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise DamagedError(path, "the checkpoint is damaged (a checksum does not match)", advice)
        content = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        if isinstance(content, dict) and KEY in content:
            content[KEY] = packed_lists.unpack(content[KEY])
    except pickle.UnpicklingError as error:
        raise UnsafeError(
            path,
            "it holds more than tensors and plain data, so it is not loaded",
            "use a checkpoint written by `jointembed fit`",
        ) from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise DamagedError(path, "it is damaged, or not a checkpoint", advice) from error
    if not isinstance(content, dict) or KEY not in content:
        raise MismatchError(path, "it is not a jointembed checkpoint", "use one that `jointembed fit` wrote")
    weights = content.get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise DamagedError(path, "it holds no weights", advice)
    return content


@contextmanager
def describing(file: Path) -> Iterator[None]:
    """Report what a file gets wrong about the model that it describes as damage of the file.

    Raises:
        DamagedError: a setting, or what a reader learned, is missing or has another form.
    """
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:  # that of a broken tokenizer has no class of its own
        wrong = f"it does not describe a model ({type(error).__name__}: {error})"
        raise DamagedError(file, wrong, "get the model from its maker again") from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load the weights of a checkpoint into a module that has been built.

    Raises:
        DamagedError: they do not fit the module, or are not finite.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise DamagedError(file, "its weights do not fit the model that it describes", "train again") from error
    name = find_non_finite(module.state_dict())
    if name is not None:
        raise DamagedError(file, f"the weights {name} are not finite", "use an earlier checkpoint of the run")


def check_golden(space: Any, content: Mapping[str, Any], file: Path) -> None:
    """Compare the vectors of a loaded `Space` with the golden ones that an exported model has; see `golden.check`."""
    golden.check(space, content.get(exported.GOLDEN, {}), file)


def find_non_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The name of the first weights that are not finite; None if all are."""
    return next((name for name, value in weights.items() if not value.isfinite().all()), None)
