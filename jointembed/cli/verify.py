"""Check an index for damage and for a changed model."""

from __future__ import annotations


def verify(index: str, *, trust: list[str] | None = None) -> None:
    """Read a whole index (structure, records, vectors, caches) and compare its models with those that made it.

    A cache that does not match the index is removed; the next search rebuilds it, but not the graph of an approximate
    search. Exits with 5 if anything else is damaged, and with 4 if a model has changed.

    Args:
        index: the index.
        trust: a package whose encoders and readers the model may import.
    """
    from ..errors import UsageError
    from ..index.graph_cache import REBUILD
    from ..index.index import Index
    from ..index.verify import verify as read_whole
    from ..indexing.index_encoder import IndexEncoder

    report = read_whole(index)
    vectors = ", ".join(f"{count} vectors of {field}" for field, count in report.vectors.items()) or "no vectors"
    print(f"{index}: {report.rows} rows, {vectors}")
    if report.files:
        skips = ", ".join(f"{count} {reason}" for reason, count in report.skips.items())
        line = f"{report.files} files, {report.missing} missing, {sum(report.skips.values())} skipped"
        print(f"{line} ({skips})" if skips else line)
    for cache in report.removed:
        effect = f"build it again with {REBUILD}" if cache.suffix == ".hnsw" else "the next search rebuilds it"
        print(f"{cache}: removed, because this cache did not match the index; {effect}")
    without_model: list[str | None] = []
    with Index.open(index) as opened:
        fields: list[str | None] = [*opened.fields] or [None]
        for field in fields:
            try:
                encoder = IndexEncoder(opened.field_info(field).model, trust, "cpu")
            except UsageError:
                without_model.append(field)
            else:
                encoder.attach(opened, field)
    if without_model:
        names = "it" if len(without_model) >= len(report.vectors) else ", ".join(map(str, without_model))
        print(f"no damage found; the model that made {names} is missing, so it was not compared")
    else:
        print("no damage found; its model is unchanged")
