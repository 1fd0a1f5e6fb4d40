"""`jointembed similar`: what is like an item or a file, or like several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..index import playlist, rerank
from ..index.index import Index
from ..indexing.query_encoder import embedded, named, unknown
from .results import tell


def similar(
    index: str,
    item: str,
    plus: list[str] | None = None,
    minus: list[str] | None = None,
    exclude: list[str] | None = None,
    k: int = 10,
    where: str | None = None,
    per: str | None = None,
    diverse: float = 0.0,
    distinct: bool = False,
    column: str | None = None,
    json: bool = False,
    m3u: str | None = None,
    root: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """The items of an index that are nearest to one of them, or to a file; to several: similar INDEX A +B -C.

    Args:
        index: the index.
        item: an id, an indexed path, a title that only one item has, or a file, which the model of the index embeds;
            after --, last, one that begins with + or -.
        plus: another item that the results should be like; also written +ITEM.
        minus: an item that they should not be like; also written -ITEM.
        exclude: an item that is not wanted.
        k: how many.
        where: a condition on the columns, such as "genre = 'waltz' and tempo > 120".
        per: at most one result for each value of this column, such as artist.
        diverse: from 0, the nearest, to 1, those that differ most.
        distinct: show near-duplicates as one.
        column: which of the index's columns to search; its first if not given.
        json: print JSON.
        m3u: also write the results as a playlist, an .m3u8 file.
        root: the folder that the playlist's paths start from; that of the playlist if not given.
        trust: packages whose encoders and readers the model may import.
    """
    playlist.check(m3u, root)
    with Index.open(index) as opened:
        known: list[str] = []

        def points(items: list[str]) -> NDArray[np.float64]:
            found = [point(opened, one, column, trust, known) for one in items]
            return np.concatenate(found) if found else np.empty((0, 0))

        vector = rerank.blend(points([item, *(plus or [])]), points(minus or []))
        known += [named(opened, one) for one in exclude or []]
        found = opened.search(vector, k, column, where, known, one_per=per, diversity=diverse, deduplicate=distinct)
        tell(opened, found, k, where, column, json, m3u, root)


def point(
    index: Index, item: str, column: str | None, trust: list[str] | None, known: list[str]
) -> NDArray[np.float64]:
    """The vector (1, D) of an item or a file; the id of an item is added to those that are known.

    Raises:
        UsageError: there is neither such an item nor such a file.
    """
    id = index.resolve(item)
    if id is not None:
        known.append(id)
        return index.get_vectors([id], column)
    if Path(item).is_file():
        return embedded(index, None, item, trust, column)[None].astype(np.float64)
    raise unknown(index, item, "the index has no such id, path or title, and there is no such file")
