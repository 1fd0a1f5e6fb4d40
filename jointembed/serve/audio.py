"""The sound files of rows and the pictures in them, only from inside the folders that are served."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from starlette.responses import Response

from ..audio.covers import read_cover
from ..audio.formats import AUDIO_EXTENSIONS
from ..files import is_inside, text_to_path
from ..index.backends.base import IndexInfo
from ..index.track import media_fragment

MEDIA_TYPES = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".m4r": "audio/mp4",
    ".mp4": "audio/mp4",
    ".mp2": "audio/mpeg",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "audio/webm",
}


def audio_url(id: str, row: Mapping[str, Any], roots: Sequence[str]) -> str | None:
    """The address of an item's sound, relative to the page; None if its row names none.

    That of a track of a longer file ends with its times.
    """
    if not roots or not _names(row):
        return None
    return "audio?id=" + quote_from_bytes(id.encode("utf-8", "surrogateescape"), safe="") + media_fragment(row)


def find_sound(row: Mapping[str, Any], info: IndexInfo, roots: Sequence[str]) -> str | None:
    """The real path of a row's sound, a regular file that is not hidden; None if it has none.

    It is inside one of the index's folders, or of the further `roots`.
    """
    folders = [*info.folders, *roots]
    names = _names(row) if folders else []
    for path in (
        path
        for name in names
        for path in (info.locate(name, row.get("id", "")), *(text_to_path(name, root) for root in roots))
    ):
        try:
            real = os.path.realpath(path, strict=True)
        except (OSError, ValueError):
            continue
        if os.path.isfile(real) and _is_audio(real) and any(_is_inside(real, folder) for folder in folders):
            return real
    return None


def media_type(path: str) -> str:
    """The media type of a sound file, by its extension."""
    return MEDIA_TYPES.get(os.path.splitext(path)[1].lower(), "application/octet-stream")


def answer_cover(path: str | None, etag: str | None) -> Response:
    """The picture in a sound file, with its version; 204 if it has none, 304 if the client has this version already.

    Args:
        path: the file, if the row has a sound.
        etag: the version that the client has.
    """
    if path is None:
        return Response(status_code=204)
    stat = os.stat(path)
    headers = {"etag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'}
    if etag == headers["etag"]:
        return Response(status_code=304, headers=headers)
    picture = read_cover(path)
    if picture is None:
        return Response(status_code=204, headers=headers)
    return Response(picture.content, headers=headers, media_type=picture.media_type)


def _names(row: Mapping[str, Any]) -> list[str]:
    """The sound files that a row names in its columns `path` and `audio`."""
    cells = (row.get("path"), row.get("audio"))
    first = (cell[0] if isinstance(cell, list) and cell else cell for cell in cells)
    return [cell for cell in first if isinstance(cell, str) and _is_audio(cell)]


def _is_audio(path: str) -> bool:
    return os.path.splitext(path)[1].lower().encode("utf-8", "replace") in AUDIO_EXTENSIONS


def _is_inside(real: str, root: str) -> bool:
    folder = os.path.realpath(root)
    parts = Path(real).relative_to(folder).parts if is_inside(real, folder) else ()
    return bool(parts) and not any(part.startswith(".") for part in parts)  # neither a hidden file nor in such a folder
