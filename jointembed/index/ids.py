"""How an item of an index can be named: by its id, an indexed path, or a title."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ..errors import UsageError
from .backends.base import View
from .titles import fold, nearest_spellings

MAX_SUGGESTIONS = 3
MAX_IDS_LISTED = 8


def require_key(view: View, id: str) -> int:
    """The key of a row; UsageError with a suggestion if there is no such id."""
    key = view.key(id)
    if key is None:
        raise UsageError(id, "this id is not in the index", suggest(view, id))
    return key


def suggest(view: View, name: str) -> str:
    """A fix that names the ids and titles nearest to a mistyped one, by edit distance over all of them."""
    spellings = [(*label, fold(text)) for label, text in _iter_labels(view)]
    nearest = nearest_spellings(fold(name), [spelling for _, _, spelling in spellings], 4 * MAX_SUGGESTIONS)
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
    spelling = fold(name)
    ids = [id for id, title, artist in _iter_names(view) if spelling in (fold(title), fold(f"{artist} {title}"))]
    return _single(name, ids) if spelling else None


def _iter_names(view: View) -> Iterator[tuple[str, str, str]]:
    """The id, title and artist of each row; "" where a row has none."""
    for id, text in zip(view.ids(), view.cells(["title", "artist"]), strict=True):
        title, artist = (cell if isinstance(cell, str) else "" for cell in json.loads(text)[:2])
        yield id, title, artist


def _iter_labels(view: View) -> Iterator[tuple[tuple[str, str], str]]:
    """The id of each row with a text that it is shown by, and what a user may write for it."""
    for id, title, artist in _iter_names(view):
        yield (id, id), id
        if title:
            yield (id, title), title
            if artist:
                yield (id, title), f"{artist} {title}"


def _single(name: str, ids: Sequence[str]) -> str | None:
    if len(ids) > 1:
        raise UsageError(name, f"{len(ids)} items have this title or path", "use an id: " + _list(ids))
    return ids[0] if ids else None


def _list(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MAX_IDS_LISTED]) + (", ..." if len(ids) > MAX_IDS_LISTED else "")
