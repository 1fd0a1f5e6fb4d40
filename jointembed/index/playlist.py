"""Results as a playlist: an .m3u8 or .m3u file, as music players read it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from .. import files
from ..errors import UsageError, escape_control
from ..values import items
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
    info = index.info
    start = os.path.abspath(root or os.path.dirname(path) or ".")
    is_absolute = start == os.path.abspath(os.sep)
    head = ["#EXTM3U"] if path.lower().endswith(".m3u8") else ["#EXTM3U", "#EXTENC:UTF-8"]
    lines, count = list(head), 0
    for hit in hits:
        place = next((hit.row[name] for name in ("path", "audio") if isinstance(hit.row.get(name), str)), None)
        if place is None or "\n" in place or "\r" in place:  # a playlist has a line for each
            continue
        names = (", ".join(map(str, items(hit.row.get(name)))) for name in ("artist", "title"))
        label = " - ".join(filter(None, names))
        seconds = hit.row.get("seconds")
        lines.append(
            f"#EXTINF:{round(seconds) if isinstance(seconds, int | float) else -1},{escape_control(label or hit.id)}"
        )
        if (times := track_times(hit.row)) is not None:  # VLC and its like play the track alone, others the file
            lines += [f"#EXTVLCOPT:start-time={times[0]:.3f}", f"#EXTVLCOPT:stop-time={times[1]:.3f}"]
        way = info.locate(place, hit.id)
        with contextlib.suppress(ValueError):  # on Windows there is no way from one drive to another
            way = os.path.abspath(way) if is_absolute else os.path.relpath(way, start)
        count += 1
        lines.append(f"./{way}" if way.startswith("#") else way)  # which would be read as a remark
    if lines == head and hits:
        raise UsageError(
            path, "these rows tell of no sound files", "index a folder, or a table with a column path or audio"
        )
    files.write(path, "\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
    return f"{path}: {count} songs"
