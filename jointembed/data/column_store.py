"""Arrays on disk that are computed once for a column of a table, and memory-mapped afterwards."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import files, values
from ..errors import DiskFullError
from .cache_use import CacheUse

Array = NDArray[Any]

MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 22
FORMAT = 1  # raised when the meaning of the files changes


class ArrayWriter:
    """Writes the arrays of an entry, in parts, and keeps their checksums.

    Args:
        folder: an empty folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, IO[bytes]] = {}
        self._records: dict[str, dict[str, Any]] = {}

    def append(self, name: str, part: Array) -> None:
        """Append a part (n, ...) to an array; all parts of an array have one type and shape but for their length."""
        if name not in self._files:
            self._files[name] = open(self.folder / name, "wb")
            self._records[name] = {"dtype": part.dtype.str, "shape": [0, *part.shape[1:]], "crc": 0}
        content, record = np.ascontiguousarray(part), self._records[name]
        self._files[name].write(content.data if content.size else b"")
        record["crc"] = zlib.crc32(content.data, record["crc"]) if content.size else record["crc"]
        record["shape"][0] += len(content)

    def append_text(self, name: str, text: str) -> None:
        """Append a part of a text."""
        self.append(name, np.frombuffer(text.encode(), np.uint8))

    def close(self, about: Mapping[str, Any]) -> None:
        """Write the manifest, with further plain data."""
        for file in self._files.values():
            file.close()
        text = json.dumps({"arrays": self._records, "about": about})
        (self.folder / MANIFEST).write_text(json.dumps({"crc": zlib.crc32(text.encode()), "content": text}))


class Entry:
    """The arrays of one computation, memory-mapped; another process maps the same files.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.use: CacheUse | None = None  # of the store, while the arrays may be mapped
        manifest = json.loads((folder / MANIFEST).read_text())
        if zlib.crc32(manifest["content"].encode()) != manifest["crc"]:
            raise ValueError("the manifest is damaged")
        content = json.loads(manifest["content"])
        self._records: dict[str, Any] = content["arrays"]
        self.about: dict[str, Any] = content["about"]

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def array(self, name: str) -> Array:
        """An array, memory-mapped."""
        record = self._records[name]
        shape = tuple(record["shape"])
        if 0 in shape:
            return np.zeros(shape, record["dtype"])
        # Copy on write, because torch refuses read-only arrays; nothing writes to it.
        return np.memmap(self.folder / name, record["dtype"], "c", shape=shape)

    def read(self, name: str, first: int, last: int) -> Array:
        """A part of an array, copied from its file."""
        record = self._records[name]
        dtype, width = np.dtype(record["dtype"]), math.prod(record["shape"][1:])
        part = np.fromfile(self.folder / name, dtype, (last - first) * width, offset=first * width * dtype.itemsize)
        return part.reshape(-1, *record["shape"][1:])

    def text(self, name: str) -> str:
        """A text."""
        return (self.folder / name).read_text("utf-8")

    def check(self) -> None:
        """Compare all files with their checksums, without mapping them.

        Raises:
            ValueError: a file is damaged.
            OSError: a file is missing.
        """
        with ThreadPoolExecutor(2) as pool:
            if not all(pool.map(self._is_intact, self._records)):
                raise ValueError("an array is damaged")

    def _is_intact(self, name: str) -> bool:
        record, checksum, size = self._records[name], 0, 0
        with open(self.folder / name, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                checksum, size = zlib.crc32(block, checksum), size + len(block)
        expected = int(np.prod(record["shape"], dtype=np.int64)) * np.dtype(record["dtype"]).itemsize
        return bool(checksum == record["crc"] and size == expected)


class ColumnStore:
    """Entries of arrays in a folder, each under a key that says what it was computed from.

    An entry is complete or absent: it is written beside its place and then renamed. One that a power failure or
    another program has damaged does not match its checksums, and is computed again.

    Args:
        folder: of the entries.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files.make_dir(folder.parent)
        self._use = CacheUse(folder)
        self._entries: dict[str, Entry] = {}

    def get(self, key: Mapping[str, Any], compute: Callable[[ArrayWriter], Mapping[str, Any]]) -> Entry:
        """The entry of a key, computed if it is not there.

        Args:
            key: plain data that decides what the arrays are.
            compute: writes the arrays, and returns plain data about them.
        """
        text = json.dumps([FORMAT, sys.byteorder, key], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:24]
        if name not in self._entries:
            files.make_dir(self.folder)
            # Processes of one training ask at the same time.
            with files.lock(self.folder / f"{name}.lock", wait=True):
                self._entries[name] = self._open(name) or self._compute(name, compute)
            self._entries[name].use = self._use
        return self._entries[name]

    def _open(self, name: str) -> Entry | None:
        try:
            entry = Entry(self.folder / name)
            entry.check()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return entry

    def _compute(self, name: str, compute: Callable[[ArrayWriter], Mapping[str, Any]]) -> Entry:
        part, place = self.folder / f"{name}.part", self.folder / name
        for folder in (part, place):  # of a process that has died, and of a damaged entry
            shutil.rmtree(folder, ignore_errors=True)
        part.mkdir()
        try:
            writer = ArrayWriter(part)
            writer.close(compute(writer))
            os.replace(part, place)
        except BaseException as error:
            shutil.rmtree(part, ignore_errors=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                fix = "free some space, or give another folder with data.cache"
                raise DiskFullError(self.folder, "no space is left on the disk", fix) from error
            raise
        return Entry(place)


def code_hash(type_: type) -> str:
    """A hash of the modules of a class and its bases, so that what other code computed is not used."""
    digest = hashlib.sha256()
    for name in dict.fromkeys([base.__module__ for base in type_.__mro__[:-1]] + [values.__name__]):
        path = getattr(sys.modules[name], "__file__", None)
        digest.update(Path(path).read_bytes() if path else name.encode())
    return digest.hexdigest()[:16]
