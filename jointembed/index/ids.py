"""How an item of an index can be named: by its id, an indexed path, or a title."""

from __future__ import annotations

import itertools
import json
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import UsageError
from .backends.base import View
from .titles import fold, nearest_spellings

MAX_SUGGESTIONS = 3
MAX_IDS_LISTED = 8
MIN_LETTERS_OF_PART = 3  # of a title that is suggested because it contains what was typed


def require_key(view: View, id: str) -> int:
    """The key of a row; UsageError with a suggestion if there is no such id."""
    key = view.key(id)
    if key is None:
        raise UsageError(id, "this id is not in the index", suggest(view, id))
    return key


def suggest(view: View, name: str) -> str:
    """A fix that names the ids and titles nearest to a mistyped one, by edit distance, then those that contain it."""
    spellings, spelling = [(*label, fold(text)) for label, text in _iter_labels(view)], fold(name)
    nearest = nearest_spellings(spelling, [text for _, _, text in spellings], 4 * MAX_SUGGESTIONS)
    if len(spelling) >= MIN_LETTERS_OF_PART:
        parts = (position for position, (*_, text) in enumerate(spellings) if f" {spelling}" in f" {text}")
        nearest += itertools.islice(parts, 4 * MAX_SUGGESTIONS)
    labels: dict[str, str] = {}
    for position in nearest:
        id, label, _ = spellings[position]
        labels.setdefault(id, label)
    texts = [label if label == id else f"{label} ({id})" for id, label in labels.items()]
    if texts:
        return f"did you mean {' or '.join(texts[:MAX_SUGGESTIONS])}?"
    return f"use one of {_list(view.ids())}" if view.count() else "nothing to choose from exists"


def resolve(view: View, name: str) -> str | None:
    """The id of an item; see `Index.resolve`."""
    if view.key(name) is not None:
        return name
    return _single(name, view.find_named(name))


def resolve_spelling(view: View, name: str) -> str | None:
    """The id of an item; see `Index.resolve_spelling`."""
    if not (spelling := fold(name)):
        return None
    titles: dict[str, None] = {}
    files: dict[str, None] = {}
    for (id, label), text in _iter_labels(view):
        if fold(text) == spelling:
            (files if label == id else titles)[id] = None
    return _single(name, list(titles or files))


def _iter_labels(view: View) -> Iterator[tuple[tuple[str, str], str]]:
    """The id of each row with a text that it is shown by, and what a user may write for it."""
    for id, text in zip(view.ids(), view.cells(["title", "name", "artist"]), strict=True):
        titles, names, artists = (_texts(cell) for cell in json.loads(text)[:3])
        for title in titles + names:
            for name in [title, *(f"{artist} {title}" for artist in artists)]:
                yield (id, title), name
        file = posixpath.basename(id)
        for name in dict.fromkeys([id, file, posixpath.splitext(file)[0]]):
            yield (id, id), name


def _texts(cell: Any) -> list[str]:
    """What a title or an artist is called: the text or number of a cell, or, of a list, those in it."""
    cells = cell if isinstance(cell, list) else [cell]
    return [str(text) for text in cells if isinstance(text, str | int | float) and text != ""]


def _single(name: str, ids: Sequence[str]) -> str | None:
    if len(ids) > 1:
        raise UsageError(name, f"{len(ids)} items have this title or path", "use an id: " + _list(ids))
    return ids[0] if ids else None


def _list(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MAX_IDS_LISTED]) + (", ..." if len(ids) > MAX_IDS_LISTED else "")
