"""Results as a playlist: an .m3u8 or .m3u file, as music players read it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .. import files
from ..errors import UsageError, escape_control
from ..values import items
from .backends.base import IndexInfo
from .hits import Hit
from .index import Index
from .track import track_times


def check(path: str | None, root: str | None) -> None:
    """Raise UsageError if the playlist or its root cannot be used; called before the search."""
    if path is None:
        if root is not None:
            raise UsageError("--root", "this is of a playlist, and none is written", "give --m3u, or no --root")
        return
    files.check_writable(path, "a playlist", ".m3u8", ".m3u")


def write(path: str, index: Index, hits: Sequence[Hit], root: str | None = None) -> str:
    """Write a playlist of hits and say so.

    Args:
        path: the .m3u8 file, or an .m3u file, which says that it is UTF-8.
        index: the index that they were found in.
        hits: what was found, in the order of the list.
        root: the folder that the paths start from; that of the playlist if not given. Those from / are absolute.

    Raises:
        UsageError: the index tells of no sound files, or the playlist cannot be written there.
    """
    start = os.path.abspath(root or os.path.dirname(path) or ".")
    lines, count = render([(hit.id, hit.row) for hit in hits], partial(locate, index.info), start)
    if not count and hits:
        raise UsageError(
            path, "these rows tell of no sound files", "index a folder, or a table with a column path or audio"
        )
    head = ["#EXTM3U"] if path.lower().endswith(".m3u8") else ["#EXTM3U", "#EXTENC:UTF-8"]
    files.write(path, encode([*head, *lines]))
    return f"{path}: {count} songs"


def locate(info: IndexInfo, id: str, row: Mapping[str, Any]) -> str | None:
    """The sound file of a row of an index; None if the row tells of none."""
    place = next((row[name] for name in ("path", "audio") if isinstance(row.get(name), str)), None)
    return None if place is None else info.locate(place, id)


def render(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    locate: Callable[[str, Mapping[str, Any]], str | None],
    start: str,
) -> tuple[list[str], int]:
    """The lines of a playlist of some ids and rows, and the number of its songs. Rows without a sound are left out.

    Args:
        rows: the id and the cells of each.
        locate: gives the path of the sound of a row, None if it has none.
        start: the absolute path of the folder that the paths start from; those from / are absolute.
    """
    is_absolute = start == os.path.abspath(os.sep)
    lines, count = [], 0
    for id, row in rows:
        way = locate(id, row)
        if way is None or "\n" in way or "\r" in way:  # a playlist has a line for each
            continue
        names = (", ".join(map(str, items(row.get(name)))) for name in ("artist", "title"))
        label = " - ".join(filter(None, names))
        seconds = row.get("seconds")
        lines.append(
            f"#EXTINF:{round(seconds) if isinstance(seconds, int | float) else -1},{escape_control(label or id)}"
        )
        if (times := track_times(row)) is not None:  # VLC and its like play the track alone, others the file
            lines += [f"#EXTVLCOPT:start-time={times[0]:.3f}", f"#EXTVLCOPT:stop-time={times[1]:.3f}"]
        with contextlib.suppress(ValueError):  # on Windows there is no way from one drive to another
            way = os.path.abspath(way) if is_absolute else os.path.relpath(way, start)
        count += 1
        lines.append(f"./{way}" if way.startswith("#") else way)  # which would be read as a remark
    return lines, count


def encode(lines: Sequence[str]) -> bytes:
    """The lines of a playlist as the bytes of its file; names of files that are not UTF-8 keep their bytes."""
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
