"""The words that an index explains itself in: points of its model's own text space, kept with its vectors."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np

from ..index.index import Index
from .index_encoder import Model
from .query_encoder import worded

MOST = 4_000  # words that a bag of words tells
READ = 500  # words that a network must read, one by one
SHORT = 3  # letters of a Latin word below which it rarely says anything by itself


def learn(model: Model, index: Index, column: str) -> None:
    """Keep the words of the model with a column of an index, unless that was done.

    They are the ids of label columns (genres, tags), then the known words of columns of words; of a model that reads
    sub-words, the words that the rows of the index hold most often.
    """
    meta = index.meta()
    if meta["spaces"].get(column, meta).get("told"):  # of this column, not of the first one
        return
    for of, words in _words(model.space, index).items():
        known, vectors = index.vocabulary(column)
        fresh = [word for word in words if word not in set(known)]
        if fresh:
            index.set_vocabulary([*known, *fresh], np.concatenate([vectors, model.embed(of, fresh)]), column)
    # Also where the model has none, so that it is not loaded to be asked again.
    index.set_meta({"told": "words"}, column)


def _words(space: Any, index: Index) -> dict[str, list[str]]:
    """Words by the column of the model that they are cells of."""
    found: dict[str, list[str]] = {}
    readers = {name: space.reader(name) for name in space.columns if name not in space.pools}
    for name, reader in readers.items():
        labels = [] if reader.reads_text else reader.vocabulary()
        if len(labels) <= MOST and not all(label.isdigit() for label in labels):
            found[name] = list(labels)
    for name in [name for name in worded(space) if name in readers][:1]:
        words = readers[name].vocabulary()
        found[name] = [word for word in words if _telling(word)][:MOST] if words else _often(index)
    return found


def _often(index: Index) -> list[str]:
    counts: Counter[str] = Counter()
    with index.reading() as db:
        for (columns,) in db.execute("SELECT columns FROM rows"):
            cells = [cell for name, cell in json.loads(columns).items() if name != "path"]
            texts = [one for cell in cells for one in (cell if isinstance(cell, list) else [cell])]
            counts.update(
                {word for one in texts if isinstance(one, str) for word in re.findall(r"[^\W\d_]+", one.lower())}
            )
    return [word for word, count in counts.most_common(READ) if count > 1 and _telling(word)]


def _telling(word: str) -> bool:
    return len(word) >= SHORT or not word.isascii()
