"""What a server needs of each index that it serves: the name in its address, the index, and its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .live_index import LiveIndex
from .query_models import ModelRegistry


@dataclass(frozen=True)
class ServedIndex:
    """An index of a server.

    Args:
        name: identifies it in addresses and metrics.
        live: the index as it is now.
        models: embed queries.
    """

    name: str
    live: LiveIndex
    models: ModelRegistry


def choose_names(paths: Sequence[Path]) -> list[str]:
    """A name for each index: that of its file, after the names of its folders where files have the same name.

    >>> choose_names([Path("a/songs.index"), Path("b/songs.index"), Path("films.index")])
    ['a-songs', 'b-songs', 'films']

    Raises:
        UsageError: an index is given twice, or names are equal whatever their folders.
    """
    places = [path.resolve() for path in paths]
    for path, count in zip(paths, map(places.count, places), strict=True):
        if count > 1:
            raise UsageError(path, "this index is given twice", "give it once")
    depths = [1] * len(places)
    while True:
        names = ["-".join([*place.parts[-depth:-1], place.stem]) for place, depth in zip(places, depths, strict=True)]
        names = [name.encode("utf-8", "replace").decode() for name in names]  # a URL has no other bytes
        counts = Counter(names)
        repeated = [at for at, name in enumerate(names) if counts[name] > 1]
        if not repeated:
            return names
        for at in repeated:
            if depths[at] >= len(places[at].parts) - 1:
                raise UsageError(paths[at], f"another index is named {names[at]} too", "rename one of the files")
        depths = [depth + (at in repeated) for at, depth in enumerate(depths)]
