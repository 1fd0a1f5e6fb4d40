"""The words that explain the items of an index: points of the model's own space, stored with its vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np

from ..index.index import Index
from ..index.selection import iter_rows
from ..words import find_words
from .index_encoder import IndexEncoder
from .query_encoder import text_columns

MAX_LISTED_WORDS = 4_000  # of a vocabulary that the reader lists
MAX_COUNTED_WORDS = 500  # of a network that reads tokens, which embeds them one by one
MAX_SHARE = 0.5  # of the rows; a word in more of them, such as "the" or "melody", does not distinguish them
MIN_LETTERS = 3  # a shorter Latin word rarely says anything by itself


def store_vocabulary(encoder: IndexEncoder, index: Index, field: str) -> None:
    """Store words and their vectors with a field of an index, unless that was done before.

    They are the ids of label columns (genres, tags), and the vocabulary of the first text column; if that cannot be
    listed, the words that the rows of the index contain most often.
    """
    if index.field_info(field).has_vocabulary:
        return
    for column, words in _words(encoder.space, index, field).items():
        stored, vectors = index.vocabulary(field)
        new = [word for word in words if word not in set(stored)]
        if new:
            index.set_vocabulary([*stored, *new], np.concatenate([vectors, encoder.embed(column, new)]), field)
    # Also if the model has no words, so that it is not loaded again to look for them.
    index.set_field_info(field, has_vocabulary=True)


def _words(space: Any, index: Index, field: str) -> dict[str, list[str]]:
    """Words by the model's column that they are cells of."""
    words: dict[str, list[str]] = {}
    readers = {name: space.reader(name) for name in space.columns if name not in space.pools}
    for name, reader in readers.items():
        labels = [] if reader.reads_text else reader.vocabulary()
        if len(labels) <= MAX_LISTED_WORDS and not all(label.isdigit() for label in labels):
            words[name] = list(labels)
    for name in [name for name in text_columns(space) if name in readers][:1]:
        files = {column for column, reader in readers.items() if reader.reads_files}
        counts, rows = _count_words(index, field, files)
        listed = readers[name].vocabulary()
        frequent = [word for word, count in counts.most_common() if count > 1]
        telling = [
            word for word in listed or frequent if _is_telling(word) and counts[word] <= max(1, MAX_SHARE * rows)
        ]
        words[name] = telling[: MAX_LISTED_WORDS if listed else MAX_COUNTED_WORDS]
    return words


def _count_words(index: Index, field: str, files: Collection[str]) -> tuple[Counter[str], int]:
    """The number of rows that each word occurs in, except in the paths of files, and the number of all rows."""
    counts: Counter[str] = Counter()
    ids = index.ids(field)
    for row in iter_rows(index, ids):
        cells = [cell for name, cell in row.items() if name not in {"id", "path", *files}]
        texts = [text for cell in cells for text in (cell if isinstance(cell, list) else [cell])]
        counts.update(
            {
                word
                for text in texts
                if isinstance(text, str)
                for word in find_words(text.lower())
                if not any(map(str.isdigit, word))
            }
        )
    return counts, len(ids)


def _is_telling(word: str) -> bool:
    return len(word) >= MIN_LETTERS or not word.isascii()
