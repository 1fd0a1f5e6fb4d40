"""Search an index by words, an id, a file or a row."""

from __future__ import annotations

from typing import Literal


def search(
    index: str,
    query: str,
    *,
    column: str | None = None,
    k: int = 10,
    where: str | None = None,
    mode: Literal["auto", "vector", "text", "hybrid"] = "auto",
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
    """Find the items of an index that match a query: words, an id, a path, or a row as JSON for a fused column.

    Args:
        index: the index.
        query: a cell of any column of the index's model; lists and rows are written as JSON.
        column: the model's column of the query; if not given, the first text column, or the first one that reads the
            file if the query is a path.
        k: the number of results.
        where: only items that meet this condition, such as "genre = 'waltz' and tempo > 120".
        mode: vector search, full-text search of the columns (needs no model), hybrid, which merges both by rank, or
            auto: vector search, but full-text search for words that the model does not know, as the server does.
        one_per: at most one result for each value of this column, such as artist.
        diversity: from 0 (the best matches) to 1 (items that differ most from one another).
        dedupe: show near-duplicates as one result.
        field: the field of the index to search; the first if not given.
        json_: print JSON.
        m3u: also write the results as a playlist, an .m3u8 or .m3u file.
        root: the folder that the playlist's paths are relative to; / for absolute ones; the playlist's own by default.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    import sys

    from ..errors import UsageError
    from ..index import playlist
    from ..index.hits import describe_text_search
    from ..index.index import Index
    from ..indexing.query_encoder import NoVectorError, QueryEncoder
    from .console import print_hits

    of_vectors = {"--one-per": one_per is not None, "--diversity": diversity != 0, "--dedupe": dedupe}
    of_models = {"--column": column is not None, "--device": device != "auto", "--trust": trust is not None}
    refused = {"hybrid": of_vectors, "text": of_vectors | of_models}.get(mode, {})
    for flag in (flag for flag, value in refused.items() if value):
        raise UsageError(flag, f"cannot be combined with --mode {mode}", "leave one of the two out")
    playlist.check(m3u, root)
    with Index.open(index) as opened:
        if mode == "text":
            hits = opened.search_text(query, k, where, field)
        else:
            try:
                vector = QueryEncoder.open(opened, field, trust, device).encode(query, column)
            except NoVectorError as error:
                if mode != "auto" or column or any(of_vectors.values()):
                    raise
                hits = opened.search_text(query, k, where, field)
                print(f"note: {describe_text_search(error.problem, hits)}", file=sys.stderr)
            else:
                if mode == "hybrid":
                    hits = opened.search_hybrid(vector, query, k, field, where)
                else:
                    hits = opened.search(
                        vector, k, field, where, one_per=one_per, diversity=diversity, deduplicate=dedupe
                    )
        print_hits(opened, hits, k, where, field, json_, m3u, root)
