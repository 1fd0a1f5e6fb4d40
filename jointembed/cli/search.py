"""`jointembed search`: what fits a query of any modality."""

from __future__ import annotations

from typing import Literal

from ..errors import UsageError
from ..index import playlist
from ..index.index import Index
from ..indexing.query_encoder import embedded
from .results import tell


def search(
    index: str,
    query: str,
    column: str | None = None,
    k: int = 10,
    where: str | None = None,
    by: Literal["vectors", "text", "both"] = "vectors",
    per: str | None = None,
    diverse: float = 0.0,
    distinct: bool = False,
    among: str | None = None,
    json: bool = False,
    m3u: str | None = None,
    root: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """The items of an index that fit a query: words, an id, a path, or a row as JSON for a fused column.

    Args:
        index: the index.
        query: a cell of any column of the index's model; a list of ids or a row is written as JSON.
        column: the column of the query; the first one of words if not given, or of a file's kind for a path.
        k: how many.
        where: a condition on the columns, such as "genre = 'waltz' and tempo > 120".
        by: what is searched: vectors; text, the words of the columns, for which no model is needed; or both, by ranks.
        per: at most one result for each value of this column, such as artist.
        diverse: from 0, the nearest, to 1, those that differ most.
        distinct: show near-duplicates as one.
        among: which of the index's columns to search; its first if not given.
        json: print JSON.
        m3u: also write the results as a playlist, an .m3u8 file.
        root: the folder that the playlist's paths start from; that of the playlist if not given.
        trust: packages whose encoders and readers the model may import.
    """
    of_vectors = {"--per": per is not None, "--diverse": diverse != 0, "--distinct": distinct}
    of_models = {"--column": column is not None, "--trust": trust is not None}
    refused = {"vectors": {}, "both": of_vectors, "text": of_vectors | of_models}[by]
    for flag in (flag for flag, given in refused.items() if given):
        raise UsageError(flag, f"this means nothing with --by {by}", "leave one of the two out")
    playlist.check(m3u, root)
    with Index.open(index) as opened:
        if by == "text":
            found = opened.search_text(query, k, where, among)
        else:
            vector = embedded(opened, column, query, trust, among)
            if by == "both":
                found = opened.search_hybrid(vector, query, k, among, where)
            else:
                found = opened.search(vector, k, among, where, one_per=per, diversity=diverse, deduplicate=distinct)
        tell(opened, found, k, where, among, json, m3u, root)
