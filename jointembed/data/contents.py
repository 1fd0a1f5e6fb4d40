"""Sounds and images that stand in the cells of a table: each becomes a file, and its cell the path of that file."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..audio import is_decoder, to_wav
from ..readers.image_file import is_image, to_png
from ..values import is_content, missing, present

_UNUSUAL = re.compile(r"[^\w.-]+")
MAX_NAME_CHARACTERS = 60


class ContentFolder:
    """A folder of files, each named by its content, so that equal contents are one file.

    Args:
        folder: of the files; a temporary one, which is removed with this object, if not given.
        relative: give paths within the folder.
    """

    def __init__(self, folder: Path | None = None, relative: bool = False) -> None:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="jointembed-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder, self.relative = folder, relative

    def replace_all(self, cells: Iterable[Any]) -> list[Any]:
        """A column of cells; see `replace`."""
        return [self.replace(cell) for cell in cells]

    def replace(self, cell: Any) -> Any:
        """A cell with the path of a file in place of each content within it: bytes, an image, a decoder of a sound."""
        if is_content(cell):
            content, path = cell["bytes"], cell["path"]
            return path if content is None else self.write(content, path or "")
        if isinstance(cell, bytes):
            return self.write(cell)
        if is_image(cell):
            return self.write(to_png(cell), "image.png")
        if is_decoder(cell) or (isinstance(cell, dict) and set(cell) >= {"array", "sampling_rate"}):
            return self.write(to_wav(cell), "sound.wav")
        if isinstance(cell, list | tuple):
            return [self.replace(item) for item in cell]
        return cell

    @staticmethod
    def is_needed(cells: Iterable[Any]) -> bool:
        """Whether a column has cells that `replace` changes; the first one that is not missing decides."""
        first = next((cell for cell in cells if not missing(cell)), None)
        item = next(iter(present(first)), None) if isinstance(first, list | tuple) else first
        return isinstance(item, bytes) or is_content(item) or is_image(item) or is_decoder(item)

    def write(self, content: bytes, name: str = "") -> str:
        """Write a content, unless it is there; return the path.

        Args:
            content: of the file.
            name: what it was called; its end stays as it is, and it is never used as a path.
        """
        digest = hashlib.blake2b(content, digest_size=12).hexdigest()
        name = _UNUSUAL.sub("_", re.split(r"[/\\]", name)[-1]).lstrip(".")[-MAX_NAME_CHARACTERS:]
        path = self.folder / (f"{digest}-{name}" if name else digest)
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            part.write_bytes(content)
            part.replace(path)
        return path.name if self.relative else str(path)
