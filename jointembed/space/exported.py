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

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import Tensor

from .. import files
from ..errors import DamagedError, MismatchError, UnsafeError, UsageError
from . import golden

KEY = "jointembed"  # what describes the model, beside the weights in `state_dict`
TABLE = "TableData"  # how its table was read
GOLDEN = "golden"
FORMAT = 1
CONFIG, READERS, WEIGHTS, CARD = "config.json", "readers.json", "model.safetensors", "README.md"
GOLDEN_CELLS, GOLDEN_ARRAYS = "golden.json", "golden.safetensors"
REQUIRED = READERS, WEIGHTS, GOLDEN_CELLS, GOLDEN_ARRAYS
TOKENIZERS = "tokenizers"
PATTERNS = [CONFIG, READERS, WEIGHTS, CARD, GOLDEN_CELLS, GOLDEN_ARRAYS, f"{TOKENIZERS}/*.json"]  # all of its files
TOKENIZER = "tokenizer"  # what the state of a reader of subwords has


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
    part = files.make_dir(folder.absolute().parent / f".{folder.name}.{os.getpid()}.part")
    try:
        _write_files(part, content, columns)
        finish(part)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
        files.fsync_dir(folder.absolute().parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Raise UsageError if there is a file or a folder with files in the place of a folder that is to be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(folder, "it exists already", "give another path, or remove it")


def _write_files(folder: Path, content: Mapping[str, Any], columns: Mapping[str, golden.Golden]) -> None:
    from safetensors.numpy import save as save_arrays
    from safetensors.torch import save as save_tensors

    state = dict(content[KEY])
    readers = {name: dict(reader) for name, reader in state.pop("readers").items()}
    objective_readers = state.pop("objective_readers", None)
    written = {}

    def add(name: str, data: bytes) -> None:
        files.write(folder / name, data)
        written[name] = files.sha256(folder / name)

    for name, reader in readers.items():
        if isinstance(reader.get(TOKENIZER), str):
            path = f"{TOKENIZERS}/{quote(name, safe='')}.json"
            add(path, reader[TOKENIZER].encode())
            reader[TOKENIZER] = {"file": path}
    add(READERS, _to_json({"readers": readers, "objective_readers": objective_readers}))
    # Clones, because weights that share memory, as tied ones do, are refused.
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in content["state_dict"].items()}
    add(WEIGHTS, save_tensors(weights, {"format": "pt"}))
    cells, arrays = golden.to_plain(columns)
    add(GOLDEN_CELLS, _to_json(cells))
    add(GOLDEN_ARRAYS, save_arrays(arrays))
    table = {TABLE: content[TABLE]} if content.get(TABLE) else {}
    config = {"library_name": KEY, "format": FORMAT, KEY: state, **table, "files": written}
    files.write(folder / CONFIG, _to_json(config))


def _to_json(value: Any) -> bytes:
    try:
        return json.dumps(value, indent=1, allow_nan=False).encode()
    except ValueError as error:
        fix = "train the model again on numbers that are finite"
        raise UsageError("export", f"JSON cannot hold what a reader learned ({error})", fix) from error


def read(folder: Path) -> dict[str, Any]:
    """The content of an exported model, as a checkpoint has it, and its golden vectors; nothing of it is run.

    Raises:
        UsageError: a file is missing.
        UnsafeError: it names a file outside of the folder.
        DamagedError: a file is not as it was exported.
        MismatchError: it is another kind of folder, or a newer version wrote it.
    """
    config = _read_json(folder / CONFIG)
    if KEY not in config:
        fix = f"give an exported model; one of Hugging Face becomes a model by: jointembed adopt {folder} model.ckpt"
        raise MismatchError(folder, "jointembed did not export it", fix)
    if not isinstance(config.get("format"), int) or config["format"] > FORMAT:
        raise MismatchError(folder, "a newer version of jointembed exported it", "pip install -U jointembed")
    try:
        names = dict(config["files"])
        for name in names:
            _check_name(folder, name)
        for name in dict.fromkeys((*REQUIRED, *names)):
            _check_file(folder / name, names.get(name))
        content = _read_content(folder, config, set(names))
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        wrong = f"it is not as it was exported ({type(error).__name__}: {error})"
        raise DamagedError(folder, wrong, golden.COPY_AGAIN) from error
    return content


def _read_content(folder: Path, config: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    learned = _read_json(folder / READERS)
    for reader in learned["readers"].values():
        if isinstance(reader.get(TOKENIZER), dict):
            name = reader[TOKENIZER]["file"]
            if name not in names:
                raise UnsafeError(folder / READERS, f"it names {name!r}, which is not a file of it", golden.COPY_AGAIN)
            reader[TOKENIZER] = (folder / name).read_text(encoding="utf-8")
    objectives = {} if learned["objective_readers"] is None else {"objective_readers": learned["objective_readers"]}
    arrays = {name: value.numpy() for name, value in _read_tensors(folder / GOLDEN_ARRAYS).items()}
    table = {TABLE: dict(config[TABLE])} if TABLE in config else {}
    return {
        "state_dict": _read_tensors(folder / WEIGHTS),
        KEY: {**config[KEY], "readers": learned["readers"], **objectives},
        GOLDEN: golden.from_plain(_read_json(folder / GOLDEN_CELLS), arrays),
        **table,
    }


def _check_name(folder: Path, name: str) -> None:
    """Refuse a name that leaves the folder, on any system."""
    if set(name) & set("\\:\0") or any(part in ("", ".", "..") for part in name.split("/")):
        wrong = f"it names {name!r}, which may lie outside of the folder"
        raise UnsafeError(folder / CONFIG, wrong, "do not use this model, or get it from its maker again")


def _check_file(path: Path, checksum: str | None) -> None:
    if not path.is_file():
        raise UsageError(path, "the file does not exist, so the model is incomplete", golden.COPY_AGAIN)
    if files.sha256(path) != checksum:
        raise DamagedError(path, "it is not as it was exported (its checksum does not match)", golden.COPY_AGAIN)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"it is not JSON ({error})", golden.COPY_AGAIN) from error
    if not isinstance(value, dict):
        raise DamagedError(path, "it is not a JSON object", golden.COPY_AGAIN)
    return value


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(path, f"its arrays cannot be read ({error})", golden.COPY_AGAIN) from error
    return tensors
