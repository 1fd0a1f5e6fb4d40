"""`jointembed path`: a way from one item to another without jumps."""

from __future__ import annotations

from ..index import playlist
from ..index.index import Index
from ..indexing.query_encoder import named
from .results import tell


def path(
    index: str,
    start: str,
    end: str,
    n: int = 10,
    where: str | None = None,
    column: str | None = None,
    json: bool = False,
    m3u: str | None = None,
    root: str | None = None,
) -> None:
    """A list of n items that leads from one to another in small steps; the score is that with the last one.

    Args:
        index: the index.
        start: an id, an indexed path, or a title that only one item has.
        end: the same.
        n: items in all, both ends included.
        where: a condition on the columns of those between, such as "genre = 'waltz' and tempo > 120".
        column: which of the index's columns to search; its first if not given.
        json: print JSON.
        m3u: also write the items as a playlist, an .m3u8 file.
        root: the folder that the playlist's paths start from; that of the playlist if not given.
    """
    playlist.check(m3u, root)
    with Index.open(index) as opened:
        found = opened.path_between(named(opened, start), named(opened, end), n, column, where)
        tell(opened, found, n, where, column, json, m3u, root, ends=2)
