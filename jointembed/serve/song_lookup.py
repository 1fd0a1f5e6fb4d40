"""The rows of an index by the names that players have for songs: MusicBrainz recordings, and paths of other roots."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from ..index.backends.base import IndexInfo
from ..index.index import Index

RECORDING_COLUMNS = ("musicbrainz_recordingid", "recording_mbid")  # of scanned folders, and in ListenBrainz's tables
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Parts = tuple[str, ...]


class SongLookup:
    """Finds rows of one version of an index.

    Args:
        index: an index; what is needed of it is read at once.
    """

    def __init__(self, index: Index) -> None:
        self.version, info = index.version, index.info
        cells = index.cells(["id", "path", "audio", *RECORDING_COLUMNS], every=True)
        self._recordings: dict[str, str] = {}
        self._files: dict[str, list[tuple[Parts, Parts, str]]] = {}
        for at, id in enumerate(cells["id"]):
            row = {name: cells[name][at] for name in cells}
            if recording := recording_id(row):
                self._recordings.setdefault(recording, id)
            path = next((row[name] for name in ("path", "audio") if isinstance(row.get(name), str)), "")
            relative, absolute = _locate(path, info)
            if relative:
                self._files.setdefault(relative[-1], []).append((relative, absolute, id))

    def find(self, name: str) -> str | None:
        """The id of the row that a name means; None if no row or more than one matches.

        A name is a MusicBrainz recording id (of several rows with the same recording, the first one is meant) or a
        path. Folders differ between programs and containers, so a path matches if it ends with all of the row's path
        within its folder, or if the row's absolute path ends with it, by at least a folder and a file name; a file at
        the top of its folder also matches by its whole path.
        """
        if _UUID.fullmatch(name.lower()):
            return self._recordings.get(name.lower())
        parts = _split(name)
        matches = []
        for relative, absolute, id in self._files.get(parts[-1], []) if parts else []:
            shared = _count_shared(parts, absolute)
            is_match = shared >= len(parts) or shared >= len(relative)
            if parts == relative or (is_match and shared >= 2):
                matches.append((shared, parts == relative, id))
        best = max((match[:2] for match in matches), default=None)
        ids = [id for *rank, id in matches if tuple(rank) == best]
        return ids[0] if len(ids) == 1 else None


def recording_id(row: Mapping[str, Any]) -> str:
    """The MusicBrainz id of a row's recording; "" if it has none."""
    texts = (str(row.get(name) or "").lower() for name in RECORDING_COLUMNS)
    return next((text for text in texts if _UUID.fullmatch(text)), "")


def _locate(path: str, info: IndexInfo) -> tuple[Parts, Parts]:
    """The path of a file within its folder, and its absolute path."""
    root = next((root for root in info.roots if root.label and path.startswith(root.label)), None)
    folder = root.folder if root else next(iter(info.folders), "")
    relative = _split(path.removeprefix(root.label) if root else path)
    return relative, relative if path.startswith("/") else (*_split(folder), *relative)


def _split(path: str) -> Parts:
    """The names in a path, also in one of Windows, in composed characters (NFC)."""
    if re.match(r"[A-Za-z]:\\|\\\\", path):
        path = path.replace("\\", "/")
    return tuple(part for part in unicodedata.normalize("NFC", path).split("/") if part)


def _count_shared(a: Parts, b: Parts) -> int:
    """The number of names that two paths share from their ends."""
    shared = 0
    while shared < min(len(a), len(b)) and a[-1 - shared] == b[-1 - shared]:
        shared += 1
    return shared
