"""Arrays on disk that are computed once for each cell of a table."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files, values
from ..errors import UsageError, UserError
from .cache_folder import warn_if_large
from .cache_use import CacheUse

Array = NDArray[Any]
Record = tuple[int, int, tuple[int, ...]]  # CRC-32 of the array, its offset in the file in float32 values, its shape


class ArrayCache(ABC):
    """Float32 arrays in one append-only file that is memory-mapped for reading, with a list beside it.

    An array is found by a hash of what it was computed from. It is listed after it has been written, so a process that
    dies loses only the last one, and it is used only if its checksum is right. Several processes may read, and take
    turns to write.

    Args:
        folder: the folder of the files.
        name: of the files: all arrays under one name are computed in the same way.
        content: what the arrays are, for `jointembed cache`.
        row_bytes: every array begins at a multiple of it, so that arrays of one width are rows of one matrix.
    """

    reads_files = True  # a text is the path of a file, whose content counts

    def __init__(self, folder: Path, name: str, content: str, row_bytes: int = 4) -> None:
        self.data, self.list, self.row_bytes = folder / f"{name}.bin", folder / f"{name}.list", row_bytes
        self._hashes: dict[str, str] = {}
        self._records: dict[str, Record] = {}
        self._intact: set[str] = set()  # keys of arrays whose checksum this process has verified
        self._damaged: set[Record] = set()
        self._map: Array | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._use = CacheUse(self.data)
        about = self.data.with_suffix(".about")
        if not about.exists():
            files.write(about, content)
        self._refresh()

    @abstractmethod
    def compute(self, elements: Sequence[Any]) -> Generator[Array]:
        """The arrays of elements, in their order."""

    def _refresh(self) -> None:
        size = self.data.stat().st_size // 4 if self.data.exists() else 0
        self._records = dict(self._read_list(size))
        self._map = np.memmap(self.data, np.float32, "r", shape=(size,)) if size else None

    def _read_list(self, size: int) -> Iterator[tuple[str, Record]]:
        """The records in the list, without truncated lines, damaged arrays and those beyond `size`."""
        for line in self.list.read_text("utf-8").splitlines(keepends=True) if self.list.exists() else ():
            key, *numbers = line.split() or [""]
            if line.endswith("\n") and len(numbers) > 1 and all(number.isdecimal() for number in numbers):
                checksum, offset, *shape = map(int, numbers)
                record = checksum, offset, tuple(shape)
                if offset + math.prod(shape) <= size and record not in self._damaged:
                    yield key, record

    def _drop_missing(self) -> None:
        """Drop list entries without intact data: new records will be appended at their offsets."""
        lines = "".join(_format_line(key, record) for key, record in self._records.items())
        if self.list.exists() and len(lines) != self.list.stat().st_size:
            files.write(self.list, lines)

    def key(self, element: Any) -> str:
        """A hash of the content of a file, or of a value; the path does not matter."""
        if not (self.reads_files and isinstance(element, str | Path)):
            return f"{values.key(element):x}"
        path = str(element)
        if path not in self._hashes:
            try:
                with open(path, "rb") as file:
                    self._hashes[path] = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
            except FileNotFoundError as error:
                raise UsageError(path, "the file does not exist", "correct the path, or put the file there") from error
            except OSError as error:
                fix = "correct the path, or its permissions"
                raise UsageError(path, f"it cannot be read ({error.strerror})", fix) from error
        return self._hashes[path]

    def get(self, key: str) -> Array | None:
        """The array of a key; None if it is not there, or is damaged."""
        record = self._records.get(key)
        if record is None or self._map is None:
            return None
        checksum, offset, shape = record
        array = np.asarray(self._map[offset : offset + math.prod(shape)]).reshape(shape)
        if key not in self._intact:
            if zlib.crc32(array.data) != checksum:
                self._damaged.add(self._records.pop(key))
                return None
            self._intact.add(key)
        return array

    def fill(
        self, elements: Sequence[Any], title: str = "Reading", failures: dict[str, UserError] | None = None
    ) -> None:
        """Compute the arrays that are not there yet, with a progress bar; an interrupted call can be resumed.

        Args:
            elements: elements of cells.
            title: of the progress bar.
            failures: collects the error of each file that cannot be read, by its path; without it, the first one is
                raised.
        """
        keyed: dict[str, list[Any]] = {}  # equal files have one key
        for element in elements:
            try:
                keyed.setdefault(self.key(element), []).append(element)
            except UserError as error:
                _collect(error, [element], failures)
        if all(key in self._records for key in keyed):
            return
        from rich.progress import Progress

        lock = files.lock(self.data.with_name(self.data.name + ".lock"), wait=True)
        with lock, open(self.data, "ab") as data:
            self._refresh()
            self._drop_missing()
            new = {key: equal for key, equal in keyed.items() if key not in self._records}
            with open(self.list, "a", encoding="utf-8", newline="\n") as list_file, Progress() as progress:
                task = progress.add_task(title, total=len(new))
                for key, array in self._compute_readable(new, failures):
                    progress.advance(task)
                    content = np.ascontiguousarray(array, np.float32)
                    data.seek(0, os.SEEK_END)
                    data.write(bytes(-data.tell() % self.row_bytes))  # align after a truncated array
                    offset = data.tell() // 4
                    data.write(content.tobytes())
                    data.flush()
                    list_file.write(_format_line(key, (zlib.crc32(content.data), offset, content.shape)))
        self._refresh()
        warn_if_large(self.data.parent)

    def _compute_readable(
        self, elements: Mapping[str, list[Any]], failures: dict[str, UserError] | None
    ) -> Iterator[tuple[str, Array]]:
        """The keys of equal elements and their arrays, without the files that cannot be read; see `fill`."""
        keys = list(elements)
        while keys:
            done = 0
            with closing(self.compute([elements[key][0] for key in keys])) as arrays:
                try:
                    for array in arrays:
                        yield keys[done], array
                        done += 1
                except UserError as error:
                    _collect(error, elements[keys[done]], failures)
            keys = keys[done + 1 :]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._refresh()


def _collect(error: UserError, elements: Sequence[Any], failures: dict[str, UserError] | None) -> None:
    """Keep the error of equal files in `failures`; raise it without them, or for elements that are not files."""
    if failures is None or not all(isinstance(element, str | Path) for element in elements):
        raise error
    failures.update((str(element), error) for element in elements)


def _format_line(key: str, record: Record) -> str:
    checksum, offset, shape = record
    return " ".join(map(str, [key, checksum, offset, *shape])) + "\n"
