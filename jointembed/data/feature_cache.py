"""A cache of preprocessed arrays on disk, so that a sound is decoded once and not in every epoch."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files, values
from ..errors import UsageError
from ..readers import Reader

Array = NDArray[Any]
Record = tuple[int, tuple[int, ...]]  # offset in the file in float32 values, shape


class FeatureCache:
    """The arrays of one reader's `preprocess`, in one append-only file that is memory-mapped for reading.

    The file is named by a hash of the reader's settings, and an array is found by a hash of the content of its sound
    or image. An array is listed after it has been written, so a process that dies loses only the last one. Several
    processes may read, and take turns to write.

    Args:
        folder: the folder of the files.
        reader: the reader whose arrays are cached.
    """

    def __init__(self, folder: Path, reader: Reader) -> None:
        config = json.dumps(reader.preprocess_config(), sort_keys=True)
        name = f"{type(reader).__name__}-{hashlib.sha256(config.encode()).hexdigest()[:16]}"
        self.reader = reader
        self.data, self.list = folder / f"{name}.bin", folder / f"{name}.list"
        self._hashes: dict[str, str] = {}
        self._records: dict[str, Record] = {}
        self._map: Array | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._refresh()

    def _refresh(self) -> None:
        size = self.data.stat().st_size // 4 if self.data.exists() else 0
        self._records = dict(self._read_list(size))
        self._map = np.memmap(self.data, np.float32, "r", shape=(size,)) if size else None

    def _read_list(self, size: int) -> Iterator[tuple[str, Record]]:
        """The records in the list, without a truncated line and records beyond the `size` of the arrays."""
        for line in self.list.read_text().splitlines(keepends=True) if self.list.exists() else ():
            key, *numbers = line.split() or [""]
            if line.endswith("\n") and numbers and all(number.isdecimal() for number in numbers):
                offset, *shape = map(int, numbers)
                if offset + math.prod(shape) <= size:
                    yield key, (offset, tuple(shape))

    def _drop_missing(self) -> None:
        """Drop list entries whose data is missing: new records will be appended at their offsets."""
        lines = "".join(_format_line(key, *record) for key, record in self._records.items())
        if self.list.exists() and len(lines) != self.list.stat().st_size:
            files.write(self.list, lines)

    def key(self, element: Any) -> str:
        """A hash of the content of a file, or of an array; the path does not matter."""
        if not isinstance(element, str | Path):
            return f"{values.key(element):x}"
        path = str(element)
        if path not in self._hashes:
            try:
                with open(path, "rb") as file:
                    self._hashes[path] = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
            except OSError as error:
                fix = "correct the path, or put the file there"
                raise UsageError(path, f"it cannot be read ({error.strerror})", fix) from error
        return self._hashes[path]

    def fill(self, elements: Sequence[Any], title: str = "", workers: int | None = None) -> None:
        """Preprocess the elements that are not cached yet, with a progress bar; an interrupted call can be resumed."""
        if all(self.key(element) in self._records for element in elements):
            return
        from rich.progress import track

        workers = workers or files.available_cores()
        lock = files.lock(self.data.with_name(self.data.name + ".lock"), wait=True)
        with lock, open(self.data, "ab") as data, ThreadPoolExecutor(workers) as pool:
            self._refresh()
            self._drop_missing()
            keyed = {self.key(element): element for element in elements}
            new = [(key, element) for key, element in keyed.items() if key not in self._records]
            arrays = pool.map(lambda pair: self.reader.preprocess(pair[1]), new)
            try:
                with open(self.list, "a") as list_file:
                    for (key, _), array in zip(new, track(arrays, title or "Reading", total=len(new)), strict=True):
                        data.seek(0, os.SEEK_END)
                        data.write(bytes(-data.tell() % 4))  # align after a truncated array
                        offset = data.tell() // 4
                        data.write(np.ascontiguousarray(array, np.float32).tobytes())
                        data.flush()
                        list_file.write(_format_line(key, offset, array.shape))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self._refresh()

    def __call__(self, reader: Reader, element: Any) -> Array:
        """The array of `reader.preprocess(element)`, from the cache if it is there."""
        record = self._records.get(self.key(element))
        if record is None or self._map is None:
            return reader.preprocess(element)
        offset, shape = record
        return np.asarray(self._map[offset : offset + int(np.prod(shape))]).reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._refresh()


def _format_line(key: str, offset: int, shape: tuple[int, ...]) -> str:
    return " ".join(map(str, [key, offset, *shape])) + "\n"
