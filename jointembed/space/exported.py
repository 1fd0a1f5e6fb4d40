"""An exported model: a folder of safetensors, JSON and tokenizers, without code, for anybody to load.

- config.json: the configuration of the model, and the checksum of each file below;
- readers.json: what the readers learned: vocabularies, means, edges;
- tokenizers/*.json: the tokenizers, as the tokenizers library reads them;
- model.safetensors: the weights;
- golden.json: a few cells of each column, whose vectors are checked whenever the model is loaded;
- golden.safetensors: the arrays of these cells, and the vectors;
- README.md: the model card.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import files
from ..errors import DamagedError, MismatchError, UsageError, UserError
from . import golden
from .model_folder import (
    CONFIG,
    COPY_AGAIN,
    KEY,
    READERS,
    TABLE,
    TOKENIZERS,
    FolderWriter,
    check_files,
    read_json,
    read_readers,
    to_json,
)

GOLDEN = "golden"
FORMAT = 1
WEIGHTS, CARD = "model.safetensors", "README.md"
REQUIRED = READERS, WEIGHTS, *golden.FILES
PATTERNS = [CONFIG, READERS, WEIGHTS, CARD, *golden.FILES, f"{TOKENIZERS}/*.json"]  # all of its files
ONNX = "onnx"  # in config.json of a folder of graphs


def write(
    folder: Path, content: Mapping[str, Any], columns: Mapping[str, golden.Golden], finish: Callable[[Path], None]
) -> None:
    """Write a folder whole or not at all.

    Args:
        folder: that is written; it must not exist.
        content: of a checkpoint.
        columns: the golden vectors of each column.
        finish: writes further files into the folder that it is given.

    Raises:
        UsageError: the folder exists, or cannot be written.
    """
    check_free(folder)
    part = folder.absolute().parent / f".{folder.name}.{os.getpid()}.part"
    try:
        files.make_dir(part)
        _write_files(part, content, columns)
        finish(part)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
        files.fsync_dir(folder.absolute().parent)
    except UserError as error:
        if not error.subject.startswith(str(part)):
            raise
        raise type(error)(folder, error.problem, error.fix) from error  # nobody knows the name of the part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Raise UsageError if there is a file or a folder with files in the place of a folder that is to be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(folder, "it exists already", "give another path, or remove it")


def _write_files(folder: Path, content: Mapping[str, Any], columns: Mapping[str, golden.Golden]) -> None:
    from safetensors.torch import save as save_tensors

    state, writer = dict(content[KEY]), FolderWriter(folder)
    writer.add_readers(state.pop("readers"), objective_readers=state.pop("objective_readers", None))
    # Clones, because weights that share memory, as tied ones do, are refused.
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in content["state_dict"].items()}
    writer.add(WEIGHTS, save_tensors(weights, {"format": "pt"}))
    golden.write(columns, writer)
    table = {TABLE: content[TABLE]} if content.get(TABLE) else {}
    config = {"library_name": KEY, "format": FORMAT, KEY: state, **table, "files": writer.checksums}
    files.write(folder / CONFIG, to_json(config))


def read(folder: Path) -> dict[str, Any]:
    """The content of an exported model, as a checkpoint has it, and its golden vectors; nothing of it is run.

    Raises:
        UsageError: a file is missing.
        UnsafeError: it names a file outside of the folder.
        DamagedError: a file is not as it was exported.
        MismatchError: it is another kind of folder, or a newer version wrote it.
    """
    config = read_json(folder / CONFIG)
    if ONNX in config:
        fix = f"give the exported model that it belongs to, such as {folder.absolute().parent}"
        raise MismatchError(folder, "it holds ONNX graphs, which only indexes are made and searched with", fix)
    if KEY not in config:
        fix = f"give an exported model; one of Hugging Face becomes a model by: jointembed adopt {folder} model.ckpt"
        raise MismatchError(folder, "jointembed did not export it", fix)
    if not isinstance(config.get("format"), int) or config["format"] > FORMAT:
        raise MismatchError(folder, "a newer version of jointembed exported it", "pip install -U jointembed")
    try:
        check_files(folder, config, REQUIRED)
        content = _read_content(folder, config)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        wrong = f"it is not as it was exported ({type(error).__name__}: {error})"
        raise DamagedError(folder, wrong, COPY_AGAIN) from error
    return content


def _read_content(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    learned = read_readers(folder, config)
    objectives = {} if learned["objective_readers"] is None else {"objective_readers": learned["objective_readers"]}
    table = {TABLE: dict(config[TABLE])} if TABLE in config else {}
    return {
        "state_dict": _read_tensors(folder / WEIGHTS),
        KEY: {**config[KEY], "readers": learned["readers"], **objectives},
        GOLDEN: golden.read(folder),
        **table,
    }


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(path, f"its arrays cannot be read ({error})", COPY_AGAIN) from error
    return tensors
