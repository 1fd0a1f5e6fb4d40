"""`jointembed search`: what fits a query of any modality."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import Usage, closest
from ..find.index import Index
from ..find.sqlite import mend
from . import playlist, show
from .model import Model


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
    with Index.open(index) as opened:
        if by != "vectors" and (per or diverse or distinct):
            raise Usage("by", "--per, --diverse and --distinct are of vectors only", "leave --by out")
        if by == "text":
            found = opened.text(query, k, where)
        else:
            vector = embedded(opened, column, query, trust, among)
            if by == "both":
                found = opened.fused(vector, query, k, among, where)
            else:
                found = opened.search(vector, k, among, where, per=per, diverse=diverse, distinct=distinct)
        print(show.hits(found, json, opened.describe([hit.id for hit in found], column=among)))
        if m3u:
            print(playlist.write(m3u, opened, found, root))


def embedded(
    index: Index, column: str | None, query: str, trust: list[str] | None, among: str | None = None
) -> NDArray[np.float32]:
    """The vector (D,) of a query by the model that made the first column of an index, or another one.

    Raises:
        Mismatch: the model is no longer the one that made the index.
        Usage: the query does not fit the column, or is unknown to it.
    """
    if not query.strip():
        raise Usage("query", "it is empty", "give words, an id or a path")
    try:
        model = Model(index.space(among)["model"], trust)
    except Usage as error:
        wrong = f"the model that made it is not there any more ({index.space(among)['model']})"
        fix = f"put it back; or, if it lies elsewhere now, run: {mend(index.path)}"
        raise Usage(index.path, wrong, fix) from error
    model.matches(index, among)
    column = column or guess(model.space, query)
    cell = parsed(model.space, column, query)
    if column not in model.space.fused:
        known(model.space, column, cell)
    vector: NDArray[np.float32] = model.embed(column, [cell])[0]
    return vector


def guess(model: Any, query: str) -> str:
    """The column that a query without one is meant for: a file's, else the first one of words, else of ids."""
    from ..learn.readers import Ids, Tokens, Words

    if query.startswith("{") and model.fused:
        return str(next(iter(model.fused)))
    if Path(query).is_file():
        picture = Path(query).suffix.lower() in {".png", ".npy", ".bmp", ".webp", ".jpg", ".jpeg"}
        fits = [name for name in model.columns if model.reader(name).files and model.reader(name).parts != picture]
    else:
        fits = [name for kind in (Words, Tokens, Ids) for name in model.columns if isinstance(model.reader(name), kind)]
    if fits:
        return str(fits[0])
    if not Path(query).is_file() and all(model.reader(name).files for name in model.columns):
        wrong = "the model has no column of words, and there is no such file"
        fix = "give a file, or index with a model of words too, such as jointembed adopt laion/clap-htsat-unfused"
        raise Usage(query, wrong, fix)
    raise Usage(
        "column", "the model has no column for such a query", "give --column: one of " + ", ".join(model.columns)
    )


def parsed(model: Any, column: str, query: str) -> Any:
    """The query as a cell: JSON where it is a list or a row, else the text itself."""
    if query[:1] not in "[{":
        if column in model.fused:
            raise Usage(
                column, "it is made of " + ", ".join(model.fused[column]), 'give a row, such as \'{"words": "..."}\''
            )
        return query
    try:
        return jsonlib.loads(query)
    except ValueError as error:
        raise Usage("query", f"it begins like JSON but is none ({error})", "correct it") from error


def known(model: Any, column: str, cell: Any) -> None:
    """Refuse an id that the model does not know; say so of words."""
    from ..learn.readers import Ids, Words

    reader = model.reader(column)
    if isinstance(reader, Ids):
        names = [reader.name(one) for one in reader.elements(cell)]
        strange = [name for name in names if name not in reader]
        if len(strange) == len(names):
            raise Usage(strange[0], f"the model knows no such {column}", closest(strange[0], reader.known))
    if isinstance(reader, Words):
        for text in reader.elements(cell):
            if all(number == reader.size for number in reader.numbers(text)):
                print(f"warning: the model knows none of these words: {text}", file=sys.stderr)
