"""The files of an exported model, each with its checksum in config.json; read and written without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import files
from ..errors import DamagedError, UnsafeError, UsageError

KEY = "jointembed"
TABLE = "TableData"  # how the table of the model was read
CONFIG, READERS = "config.json", "readers.json"
TOKENIZERS = "tokenizers"
TOKENIZER = "tokenizer"  # what the state of a reader of subwords has
COPY_AGAIN = "copy or download the model again"


class FolderWriter:
    """Writes files into a folder, and remembers their checksums.

    Args:
        folder: it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checksums: dict[str, str] = {}

    def add(self, name: str, data: bytes) -> None:
        """Write a file."""
        files.write(self.folder / name, data)
        self.note(name)

    def note(self, name: str) -> None:
        """Remember the checksum of a file that has been written."""
        self.checksums[name] = files.sha256(self.folder / name)

    def add_readers(self, readers: Mapping[str, Mapping[str, Any]], **further: Any) -> None:
        """Write what readers learned, by their names, and the tokenizers among it as files of their own."""
        plain = {name: dict(state) for name, state in readers.items()}
        for name, state in plain.items():
            if isinstance(state.get(TOKENIZER), str):
                path = f"{TOKENIZERS}/{quote(name, safe='')}.json"
                self.add(path, state[TOKENIZER].encode())
                state[TOKENIZER] = {"file": path}
        self.add(READERS, to_json({"readers": plain, **further}))


def is_exported(folder: Path) -> bool:
    """Whether a folder is a model that jointembed exported, or its graphs."""
    path = folder / CONFIG
    return path.is_file() and read_json(path).get("library_name") == KEY


def check_files(folder: Path, config: Mapping[str, Any], required: tuple[str, ...]) -> None:
    """Check that the files that config.json names, and the required ones, lie in the folder as they were written.

    Raises:
        UsageError: a file is missing.
        UnsafeError: it names a file outside of the folder.
        DamagedError: a file has another checksum.
    """
    names = dict(config["files"])
    for name in names:
        _check_name(folder, name)
    for name in dict.fromkeys((*required, *names)):
        path = folder / name
        if not path.is_file():
            raise UsageError(path, "the file does not exist, so the model is incomplete", COPY_AGAIN)
        if files.sha256(path) != names.get(name):
            raise DamagedError(path, "it is not as it was exported (its checksum does not match)", COPY_AGAIN)


def read_readers(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What `FolderWriter.add_readers` wrote.

    Raises:
        DamagedError: it is not JSON.
        UnsafeError: a tokenizer is not one of the files of the folder.
    """
    learned = read_json(folder / READERS)
    for state in learned["readers"].values():
        if isinstance(state.get(TOKENIZER), dict):
            name = state[TOKENIZER]["file"]
            if name not in config["files"]:
                raise UnsafeError(folder / READERS, f"it names {name!r}, which is not a file of it", COPY_AGAIN)
            state[TOKENIZER] = (folder / name).read_text(encoding="utf-8")
    return learned


def to_json(value: Any) -> bytes:
    """A value as JSON.

    Raises:
        UsageError: a number in it is not finite.
    """
    try:
        return json.dumps(value, indent=1, allow_nan=False).encode()
    except ValueError as error:
        fix = "train the model again on numbers that are finite"
        raise UsageError("export", f"JSON cannot hold what a reader learned ({error})", fix) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        DamagedError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"it is not JSON ({error})", COPY_AGAIN) from error
    if not isinstance(value, dict):
        raise DamagedError(path, "it is not a JSON object", COPY_AGAIN)
    return value


def _check_name(folder: Path, name: str) -> None:
    """Refuse a name that leaves the folder, on any system."""
    if set(name) & set("\\:\0") or any(part in ("", ".", "..") for part in name.split("/")):
        wrong = f"it names {name!r}, which may lie outside of the folder"
        raise UnsafeError(folder / CONFIG, wrong, "do not use this model, or get it from its maker again")
