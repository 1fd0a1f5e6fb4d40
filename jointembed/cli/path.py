"""Find a smooth path from one item of an index to another."""

from __future__ import annotations


def path(
    index: str,
    start: str,
    end: str,
    *,
    n: int = 10,
    where: str | None = None,
    field: str | None = None,
    json_: bool = False,
    m3u: str | None = None,
    root: str | None = None,
) -> None:
    """List items that lead from one item to another in small steps; each score is the similarity to the last item.

    Args:
        index: the index.
        start: an id, an indexed path, or a title (or artist and title) that only one item has.
        end: another item.
        n: the number of items, including both ends.
        where: a condition on the items between the ends, such as "genre = 'waltz' and tempo > 120".
        field: the field of the index to search; the first if not given.
        json_: print JSON.
        m3u: also write the items as a playlist, an .m3u8 or .m3u file.
        root: the folder that the playlist's paths are relative to; / for absolute ones; the playlist's own by default.
    """
    from ..index import playlist
    from ..index.index import Index
    from ..indexing.query_encoder import find_item
    from .console import name_item, print_hits

    playlist.check(m3u, root)
    with Index.open(index) as opened:
        first, last = (name_item(opened, name, find_item(opened, name)) for name in (start, end))
        hits = opened.path_between(first, last, n, field, where)
        print_hits(opened, hits, n, where, field, json_, m3u, root, ends=2)
