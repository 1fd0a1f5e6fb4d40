"""What is asked of an index, as an item of it or as a vector by its model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, did_you_mean
from ..index.backends.connection import mend
from ..index.ids import nearest
from ..index.index import Index
from ..values import parse_cell
from .index_encoder import Model

PICTURES = {".png", ".npy", ".bmp", ".webp", ".jpg", ".jpeg"}


def named(index: Index, item: str) -> str:
    """The id that an item is known by; Usage if the index knows nothing of that name."""
    id = index.resolve(item)
    if id is None:
        raise unknown(index, item, "the index has no such id, path or title")
    return id


def unknown(index: Index, item: str, wrong: str) -> UsageError:
    """The complaint of an item that the index does not know, which names one that is alike."""
    with index.reading() as db:
        return UsageError(item, wrong, nearest(db, item))


def embedded(
    index: Index, column: str | None, query: str, trust: list[str] | None, among: str | None = None
) -> NDArray[np.float32]:
    """The vector (D,) of a query by the model that made the first column of an index, or another one.

    Raises:
        MismatchError: the model is no longer the one that made the index.
        UsageError: the query does not fit the column, or is unknown to it.
    """
    if not query.strip():
        raise UsageError("query", "it is empty", "give words, an id or a path")
    place = index.field_info(among)["model"]
    if not place:
        fix = "ask for what is like its items, or --mode text"
        raise UsageError(index.path, "this index names no model, which words and files would need", fix)
    try:
        model = Model(place, trust)
    except UsageError as error:
        wrong = f"the model that made it is not there any more ({place})"
        fix = f"put it back; or, if it lies elsewhere now, run: {mend(index.path)}"
        raise UsageError(index.path, wrong, fix) from error
    model.matches(index, among)
    own = among or next(iter(index.fields), None)
    column = column or guess(model.space, query, index.field_info(among).get("of", own))
    cell = parsed(model.space, column, query)
    if column not in model.space.fusions:
        known(model.space, column, cell)
    vector: NDArray[np.float32] = model.embed(column, [cell])[0]
    return vector


def guess(model: Any, query: str, own: str | None = None) -> str:
    """The column that a query without one is meant for: a file's, else the first one of words, else of ids.

    Of several columns of files it is the index's `own`, if that is one of them.
    """
    from ..audio.formats import AUDIO_EXTENSIONS

    if query.startswith("{") and model.fusions:
        return str(next(iter(model.fusions)))
    ending = Path(query).suffix.lower()
    picture = ending in PICTURES
    if not Path(query).is_file() and (picture or os.fsencode(ending) in AUDIO_EXTENSIONS):
        raise UsageError(
            query, "there is no such file", "correct its path; if these are words, give --column or --mode text"
        )
    if Path(query).is_file():
        readers = {name: model.reader(name) for name in model.columns}
        fits = [name for name, reader in readers.items() if reader.reads_files and picture != bool(reader.sample_rate)]
        fits.sort(key=lambda name: name != own)
    else:
        words = worded(model)
        fits = words + [name for name in model.columns if name not in words and model.reader(name).vocabulary()]
    if fits:
        return str(fits[0])
    if not Path(query).is_file() and all(model.reader(name).reads_files for name in model.columns):
        wrong = "the model has no column of words, and there is no such file"
        fix = "give a file, or index with a model of words too, such as jointembed adopt laion/clap-htsat-unfused"
        raise UsageError(query, wrong, fix)
    raise UsageError(
        "column", "the model has no column for such a query", "give --column: one of " + ", ".join(model.columns)
    )


def worded(model: Any) -> list[str]:
    """The columns of text: first those whose vocabulary can be listed."""
    columns = [name for name in model.columns if model.reader(name).reads_text]
    return sorted(columns, key=lambda name: not model.reader(name).vocabulary())


def parsed(model: Any, column: str, query: str) -> Any:
    """The query as a cell: JSON where it is a list or a row, else the text itself."""
    if column not in model.fusions:
        return model.reader(column).parse(query)
    if query[:1] not in "[{":
        raise UsageError(
            column, "it is made of " + ", ".join(model.fusions[column]), 'give a row, such as \'{"words": "..."}\''
        )
    return parse_cell(query)


def known(model: Any, column: str, cell: Any) -> None:
    """Refuse a cell of unknown ids only; warn about texts without any known word."""
    reader = model.reader(column)
    unknown = reader.unknown(cell)
    if reader.reads_text:
        for text in unknown:
            print(f"warning: the model knows none of these words: {text}", file=sys.stderr)
    elif unknown and len(unknown) == len(reader.elements(cell)):
        fix = did_you_mean(unknown[0], reader.vocabulary())
        raise UsageError(unknown[0], f"the model knows no such {column}", fix)
