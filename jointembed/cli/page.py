"""Export an index as one self-contained HTML page."""

from __future__ import annotations


def page(
    index: str,
    out: str,
    *,
    k: int = 20,
    map_: str = "pca2",
    field: str | None = None,
    root: str | None = None,
    covers: float = 4.0,
    waveforms: bool = False,
) -> None:
    """Write an HTML page of an index that opens from disk in any browser, without a server or a network.

    The page holds a map, the columns of all items, and the exact nearest neighbors of each, and can be sent to others.

    Args:
        index: the index.
        out: the .html file to write.
        k: the number of neighbors per item.
        map_: the first map to show: pca2, pca3, umap2, umap3, or two or three numeric columns, such as year,price.
        field: the field of the index to show; the first if not given.
        root: the folder of the items' sound files, which the page plays from there.
        covers: the megabytes of small covers from these files that the page may hold, about 3 kB each; the first items
            have theirs; 0 for none.
        waveforms: draw the sounds of up to ten minutes in the player, 400 bytes each. This decodes them all, as a page
            without a server cannot read the files that it plays.
    """
    from ..errors import UsageError
    from ..index.index import Index
    from ..web.export import export

    with Index.open(index) as opened:
        if not 0 <= covers <= 1_000:
            raise UsageError("--covers", f"must be between 0 and 1000 megabytes, got {covers:g}", "use 0 for none")
        size = export(opened, out, k, map_, field, root, round(covers * 1e6), waveforms)
        print(f"{out}: {len(opened.ids(field)):,} items by {field or opened.fields[0]}, {size / 1e6:.1f} MB")
