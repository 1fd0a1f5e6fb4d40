"""What an exported page has of the files of its rows: their addresses, and small pictures and outlines in the page."""

from __future__ import annotations

import base64
import io
import os
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .. import audio, files
from ..audio.covers import read_cover
from ..errors import UsageError, UserError
from ..index.track import media_fragment

COVER_SIDE = 96  # pixels: a cover is shown 46 wide, on screens with two pixels each
_QUALITY = 80  # of a JPEG
_OUTLINE_PARTS, _OUTLINE_RATE, _MAX_OUTLINE_SECONDS = 300, 8_000, 600  # the last as in waveform.js


def find_files(cells: Mapping[str, Sequence[Any]], root: Path, field: str | None) -> list[Path | None]:
    """The file of each row in a folder; None for a row without one.

    Raises:
        UsageError: the folder does not exist.
    """
    if not root.is_dir():
        raise UsageError(root, "this folder does not exist", "give the folder of the rows' files")
    names = [cells[name] for name in dict.fromkeys([field or "", "path", "audio", "id"]) if name in cells]
    return [_find(root.resolve(), row) for row in zip(*names, strict=True)]


def link_files(paths: Sequence[Path | None], cells: Mapping[str, Sequence[Any]], out: Path) -> list[str]:
    """The address of each file, relative to the page, with the times of a track; "" for None."""
    base = out.resolve().parent
    times = zip(*(cells.get(name, [None] * len(paths)) for name in ("start", "seconds")), strict=True)
    fragments = (media_fragment({"start": start, "seconds": seconds}) for start, seconds in times)
    return [
        path and "./" + quote(os.fsencode(Path(os.path.relpath(path, base)).as_posix())) + fragment or ""
        for path, fragment in zip(paths, fragments, strict=True)
    ]


def embed_covers(paths: Sequence[Path | None], max_bytes: int) -> dict[str, Any]:
    """The pictures in sound files as data URLs, each once, of the first files that have room.

    Returns:
        `{"values": [...], "of": [...]}`: the pictures, and for each file the position of its own, -1 if it has none.
    """
    left = max_bytes

    def read(path: Path) -> str | None:
        nonlocal left
        cover = read_cover(str(path)) if left > 0 else None
        url = None if cover is None else _shrink(cover.content)
        if url is None or (url not in urls and len(url) > left):
            return None
        left -= 0 if url in urls else len(url)
        urls.add(url)
        return url

    urls: set[str] = set()
    return _collect(paths, read)


def embed_outlines(paths: Sequence[Path | None]) -> dict[str, Any]:
    """The outlines of sounds of up to ten minutes: the peaks of 300 parts in 8 bits, as base64; see `embed_covers`."""

    def read(path: Path) -> str | None:
        try:
            samples = np.abs(audio.read(path, _OUTLINE_RATE))
        except UserError:
            return None
        most = samples.max(initial=0)
        if not most or len(samples) > _MAX_OUTLINE_SECONDS * _OUTLINE_RATE:
            return None
        parts = np.array_split(samples, _OUTLINE_PARTS)
        peaks = np.array([part.max(initial=0) for part in parts]) / most
        return base64.b64encode(np.round(255 * peaks).astype(np.uint8).tobytes()).decode()

    return _collect(paths, read)


def _collect(paths: Sequence[Path | None], read: Callable[[Path], str | None]) -> dict[str, Any]:
    """What is read of each file, of several rows once, as distinct values and their positions."""
    results = {path: read(path) for path in dict.fromkeys(paths) if path is not None}
    values = list(dict.fromkeys(value for value in results.values() if value is not None))
    position = {value: at for at, value in enumerate(values)}
    of_rows = (None if path is None else results[path] for path in paths)
    return {"values": values, "of": [-1 if value is None else position[value] for value in of_rows]}


def _shrink(content: bytes) -> str | None:
    """A picture as a small JPEG in a data URL; None if it cannot be decoded."""
    from PIL import Image

    shrunk = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a picture of very many pixels is only warned of
            with Image.open(io.BytesIO(content), formats=["JPEG", "PNG", "WEBP"]) as image:
                image.draft("RGB", (COVER_SIDE, COVER_SIDE))
                image.thumbnail((COVER_SIDE, COVER_SIDE))
                image.convert("RGB").save(shrunk, "JPEG", quality=_QUALITY)
    except Exception:  # the parsers raise anything; the row has no picture then
        return None
    return "data:image/jpeg;base64," + base64.b64encode(shrunk.getvalue()).decode()


def _find(root: Path, names: tuple[Any, ...]) -> Path | None:
    spellings = {unicodedata.normalize("NFC", name): name for name in names[-1:] if isinstance(name, str)}  # of the id
    for name in names:
        name = spellings.get(name, name) if isinstance(name, str) else name
        if isinstance(name, str) and name and "\0" not in name and len(name) < 4096:
            try:
                path = Path(files.text_to_path(name, str(root))).resolve()
                if path.is_relative_to(root) and path.is_file():
                    return path
            except (OSError, ValueError):
                continue  # no file can have this name
    return None
