"""Find the items most similar to given items or files."""

from __future__ import annotations


def similar(
    index: str,
    item: list[str],
    *,
    unlike: list[str] | None = None,
    exclude: list[str] | None = None,
    k: int = 10,
    where: str | None = None,
    one_per: str | None = None,
    diversity: float = 0.0,
    dedupe: bool = False,
    field: str | None = None,
    json_: bool = False,
    m3u: str | None = None,
    root: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Find the items of an index that are most similar to an item or a file, or to the mean of several.

    Args:
        index: the index.
        item: an id, an indexed path, a title (or artist and title) or a file name that only one item has, in any case
            and with or without accents, or a file, which the model embeds. Names that begin with - come last, after --.
        unlike: an item or file that the results should not resemble.
        exclude: an item to leave out of the results.
        k: the number of results.
        where: only items that meet this condition, such as "genre = 'waltz' and tempo > 120".
        one_per: at most one result for each value of this column, such as artist.
        diversity: from 0 (the most similar items) to 1 (items that differ most from one another).
        dedupe: show near-duplicates as one result.
        field: the field of the index to search; the first if not given.
        json_: print JSON.
        m3u: also write the results as a playlist, an .m3u8 or .m3u file.
        root: the folder that the playlist's paths are relative to; / for absolute ones; the playlist's own by default.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from ..index import playlist
    from ..index.index import Index
    from ..index.snapshot import Item
    from ..indexing.query_encoder import find_item, find_item_or_encode
    from .console import name_item, print_hits

    playlist.check(m3u, root)
    with Index.open(index) as opened:

        def find(names: list[str] | None) -> list[Item]:
            items = [(name, find_item_or_encode(opened, name, field, trust, device)) for name in names or []]
            return [name_item(opened, name, item) for name, item in items]

        hits = opened.similar(
            find(item),
            k,
            field,
            where,
            unlike=find(unlike),
            exclude=[name_item(opened, name, find_item(opened, name)) for name in exclude or []],
            one_per=one_per,
            diversity=diversity,
            deduplicate=dedupe,
        )
        print_hits(opened, hits, k, where, field, json_, m3u, root)
