"""How an item of an index can be named: by its id, an indexed path, or a title."""

from __future__ import annotations

from ..errors import UsageError, did_you_mean
from .backends.base import View

_MAX_SUGGESTIONS_READ = 2_000


def require_key(view: View, id: str) -> int:
    """The key of a row; UsageError with a suggestion if there is no such id."""
    key = view.key(id)
    if key is None:
        raise UsageError(id, "this id is not in the index", suggest(view, id))
    return key


def suggest(view: View, name: str) -> str:
    """A fix that names the id or title most similar to a mistyped one, of those with about its length."""
    return did_you_mean(name, view.known_names(len(name), _MAX_SUGGESTIONS_READ))


def resolve(view: View, name: str) -> str | None:
    """The id of an item; see `Index.resolve`."""
    if view.key(name) is not None:
        return name
    matches = view.find_named(name)
    if len(matches) > 1:
        listed = ", ".join(matches[:8]) + (", ..." if len(matches) > 8 else "")
        raise UsageError(name, f"{len(matches)} items have this title or path", f"use an id: {listed}")
    return matches[0] if matches else None
