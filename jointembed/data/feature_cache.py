"""Loaded arrays kept on the disk, so that a sound is decoded once and not in every epoch."""

from __future__ import annotations

import fcntl
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

from .. import files
from .. import values as table_cells
from ..errors import UsageError
from ..readers import Reader

Array = NDArray[Any]


class FeatureCache:
    """The arrays that one reader's `preprocess` gave, in one file that only grows, memory-mapped for reading.

    A record is found by what decides it: the reader's settings name the file, the content of a sound its place. The
    list of places is written after the arrays, so that a process which dies in between loses only what it had not
    listed; several processes may read, and take turns to write.

    Args:
        folder: where the files lie.
        reader: whose arrays they are.
    """

    def __init__(self, folder: Path, reader: Reader) -> None:
        recipe = json.dumps(reader.preprocess_config(), sort_keys=True)
        name = f"{type(reader).__name__}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
        self.reader = reader
        self.data, self.list = folder / f"{name}.bin", folder / f"{name}.list"
        self._content: dict[str, str] = {}
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._map: Array | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._refresh()

    def _refresh(self) -> None:
        size = self.data.stat().st_size // 4 if self.data.exists() else 0
        self._places = dict(self._listed(size))
        self._map = np.memmap(self.data, np.float32, "r", shape=(size,)) if size else None

    def _listed(self, size: int) -> Iterator[tuple[str, tuple[int, tuple[int, ...]]]]:
        """The places in the list, without a line that was cut off and places beyond the `size` of the arrays."""
        for line in self.list.read_text().splitlines(keepends=True) if self.list.exists() else ():
            key, *numbers = line.split() or [""]
            if line.endswith("\n") and numbers and all(number.isdecimal() for number in numbers):
                offset, *shape = map(int, numbers)
                if offset + math.prod(shape) <= size:
                    yield key, (offset, tuple(shape))

    def _mend(self) -> None:
        """Take out of the list what the arrays do not hold: the next ones will lie in that place."""
        lines = "".join(f"{_line(key, *place)}\n" for key, place in self._places.items())
        if self.list.exists() and len(lines) != self.list.stat().st_size:
            files.write(self.list, lines)

    def key(self, element: Any) -> str:
        """What a thing is, whatever it is called: a hash of its file's content, or of the array."""
        if not isinstance(element, str | Path):
            return f"{table_cells.key(element):x}"
        path = str(element)
        if path not in self._content:
            try:
                with open(path, "rb") as file:
                    self._content[path] = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
            except OSError as error:
                raise UsageError(
                    path, f"it cannot be read ({error.strerror})", "correct the path, or put the file there"
                ) from error
        return self._content[path]

    def fill(self, elements: Sequence[Any], title: str = "", workers: int | None = None) -> None:
        """Load what is not there yet, under a progress bar; it may be interrupted and goes on where it stopped."""
        if all(self.key(element) in self._places for element in elements):
            return
        from rich.progress import track

        workers = workers or files.available_cores()
        with open(self.data, "ab") as data, ThreadPoolExecutor(workers) as pool:
            fcntl.flock(data, fcntl.LOCK_EX)
            self._refresh()
            self._mend()
            keyed = {self.key(element): element for element in elements}
            fresh = [(key, element) for key, element in keyed.items() if key not in self._places]
            loads = pool.map(lambda pair: self.reader.preprocess(pair[1]), fresh)
            try:
                with open(self.list, "a") as listed:
                    for (key, _), array in zip(fresh, track(loads, title or "Reading", total=len(fresh)), strict=True):
                        data.seek(0, os.SEEK_END)
                        data.write(bytes(-data.tell() % 4))  # of an array that was cut off
                        offset = data.tell() // 4
                        data.write(np.ascontiguousarray(array, np.float32).tobytes())
                        data.flush()
                        listed.write(_line(key, offset, array.shape) + "\n")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self._refresh()

    def __call__(self, reader: Reader, element: Any) -> Array:
        """What `reader.preprocess(element)` gives, from the disk if it is there."""
        place = self._places.get(self.key(element))
        if place is None or self._map is None:
            return reader.preprocess(element)
        offset, shape = place
        return np.asarray(self._map[offset : offset + int(np.prod(shape))]).reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._refresh()


def _line(key: str, offset: int, shape: tuple[int, ...]) -> str:
    return " ".join(map(str, [key, offset, *shape]))
