"""`jointembed similar`: what is like an item, or like a file."""

from __future__ import annotations

from pathlib import Path

from ..errors import Usage, closest
from ..find.index import Index
from . import show


def similar(
    index: str,
    item: str,
    k: int = 10,
    where: str | None = None,
    column: str | None = None,
    json: bool = False,
    trust: list[str] | None = None,
) -> None:
    """The items of an index that are nearest to one of them, or to a file.

    Args:
        index: the index.
        item: an id, an indexed path, a title that only one item has, or a file, which the model of the index embeds.
        k: how many.
        where: a condition on the columns, such as "genre = 'waltz' and tempo > 120".
        column: which of the index's columns to search; its first if not given.
        json: print JSON.
        trust: packages whose encoders and readers the model may import.
    """
    with Index.open(index) as opened:
        known = opened.resolve(item)
        if known is not None:
            found = opened.similar(known, k, column, where)
        elif Path(item).is_file():
            from .search import embedded

            vector = embedded(opened, column or opened.columns[0], item, trust)
            found = opened.search(vector, k, column, where)
        else:
            raise Usage(
                item, "the index has no such id, path or title, and there is no such file", closest(item, opened.ids())
            )
        print(show.hits(found, json))
