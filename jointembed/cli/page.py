"""`jointembed page`: the map of an index, its search and its neighbours, as one HTML file."""

from __future__ import annotations

from ..index.index import Index


def page(
    index: str,
    out: str,
    k: int = 20,
    map: str = "pca2",
    column: str | None = None,
    root: str | None = None,
) -> None:
    """Write a page of an index that opens in any browser, from disk, with no server and no network.

    It holds a map, the cells, and the exact neighbours of every item; it can be sent to others as it is.

    Args:
        index: the index.
        out: the .html file to write.
        k: how many neighbours of each item to write into it.
        map: the map to begin with: pca2, pca3, umap2, umap3, or two or three cells of numbers, such as year,price.
        column: which of the index's columns; its first if not given.
        root: the folder that the items' sounds lie in; the page plays them from there.
    """
    from ..web.export import export

    with Index.open(index) as opened:
        size = export(opened, out, k, map, column, root)
        print(f"{out}: {len(opened.ids(column)):,} items by {column or opened.columns[0]}, {size / 1e6:.1f} MB")
