"""`jointembed verify`: whether an index is whole."""

from __future__ import annotations

from ..errors import UsageError
from ..index.index import Index
from ..index.verify import verify as verified
from ..indexing.index_encoder import Model


def verify(index: str, trust: list[str] | None = None) -> None:
    """Read all of an index: its structure, every record, every vector, the caches; and whether the model is the same.

    A cache that is not what the index holds is removed: the next search makes it anew. Exits with 5 if something else
    is damaged, and with 4 if the model is another one now.

    Args:
        index: the index.
        trust: packages whose encoders and readers the model may import.
    """
    whole = verified(index)
    vectors = ", ".join(f"{count} vectors of {column}" for column, count in whole.vectors.items()) or "no vectors"
    print(f"{index}: {whole.rows} rows, {vectors}")
    if whole.files:
        skips = ", ".join(f"{count} {reason}" for reason, count in whole.skips.items())
        print(f"{whole.files} files, {whole.missing} missing, {sum(whole.skips.values())} skipped", end="")
        print(f" ({skips})" if skips else "")
    for cache in whole.removed:
        print(f"{cache}: removed, as this cache was not what the index holds; the next search makes it anew")
    lost = []
    with Index.open(index) as opened:
        columns: list[str | None] = [*opened.columns]
        for column in columns or [None]:
            try:
                model = Model(opened.field_info(column)["model"], trust)
            except UsageError:
                lost.append(column)
            else:
                model.matches(opened, column)
    if lost:
        what = "it" if len(lost) >= len(whole.vectors) else ", ".join(map(str, lost))
        print(f"whole; the model that made {what} is not there, so it was not compared")
    else:
        print("whole, and its model is the one that made it")
