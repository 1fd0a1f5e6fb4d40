"""The answers of the API, computed in worker threads from the index as it is now. Needs the extra `serve`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.exceptions import HTTPException

from ..errors import UsageError
from ..index.hits import Hit
from ..index.index import Index
from ..web import export as page
from . import audio
from .errors import unavailable
from .live_index import LiveIndex
from .query_models import QueryModel
from .schema import (
    ColumnParams,
    InfoParams,
    LayoutParams,
    PathParams,
    RowParams,
    SearchParams,
    SimilarParams,
    TextParams,
)

_MAX_CACHED = 16  # layouts, columns and summaries


@dataclass(frozen=True)
class Handlers:
    """The answers to questions about an index.

    Args:
        live: the index.
        roots: folders that sounds may be in, beside the index's own.
    """

    live: LiveIndex
    roots: tuple[str, ...] = ()
    _cache: dict[Any, Any] = field(default_factory=dict)

    def info(self, params: InfoParams) -> dict[str, Any]:
        """A summary of the index and of one field."""
        with self.live.read() as index:
            _check_field(index, params.field)
            info: dict[str, Any] = self._cached(index, page.page_info, params.field)
            return info

    def layout(self, params: LayoutParams) -> tuple[bytes, str]:
        """The points of the map, and the version that they are of."""
        with self.live.read() as index:
            _check_field(index, params.field)
            return self._cached(index, page.layout_bytes, params.axes, params.field), index.version

    def column(self, params: ColumnParams) -> bytes:
        """One column of all items."""
        with self.live.read() as index:
            _check_field(index, params.field)
            return to_json(
                {**self._cached(index, page.column_values, params.name, params.field), "version": index.version}
            )

    def row(self, params: RowParams) -> bytes:
        """An item, and the terms that it is near."""
        with self.live.read() as index:
            _check_field(index, params.field)
            _check_ids(index, params.id)
            row = index.row(params.id)
            terms = index.nearest_terms([params.id], field=params.field)[0]
            url = self._audio(index, params.id, row)
            return to_json({"id": params.id, "row": row, "terms": terms, "audio": url, "version": index.version})

    def similar(self, params: SimilarParams) -> bytes:
        """The items nearest to some items, and away from others."""

        def search(index: Index) -> list[Hit]:
            _check_ids(index, *params.id, *params.unlike)
            options = _options(params)
            return index.similar(params.id, params.k, params.field, params.where, unlike=params.unlike, **options)

        return self._hits(params, search, method="vector")

    def path(self, params: PathParams) -> bytes:
        """The items between two items."""

        def search(index: Index) -> list[Hit]:
            _check_ids(index, params.start, params.end)
            return index.path_between(params.start, params.end, params.n, params.field, params.where)

        return self._hits(params, search, method="vector")

    def text(self, params: TextParams, note: str | None) -> bytes:
        """The items whose columns contain some words; `note` says why no model was asked."""

        def search(index: Index) -> list[Hit]:
            return index.search_text(params.q, params.k, params.where, params.field)

        return self._hits(params, search, method="text", note=note)

    def vector(self, params: SearchParams, vector: npt.NDArray[np.float32], model: QueryModel) -> bytes:
        """The items nearest to a vector that a model computed."""

        def search(index: Index) -> list[Hit]:
            if index.field_info(params.field).fingerprint != model.fingerprint:
                raise unavailable("the index has just been replaced")
            return index.search(vector, params.k, params.field, params.where, **_options(params))

        return self._hits(params, search, method="model")

    def sound(self, id: str) -> str:
        """The path of an item's sound."""
        with self.live.read() as index:
            _check_ids(index, id)
            path = audio.find_sound(index.row(id), self._all_roots(index))
        if path is None:
            raise HTTPException(404, "this item has no sound file in the folders that are served")
        return path

    def _hits(self, params: InfoParams, search: Callable[[Index], list[Hit]], **more: Any) -> bytes:
        with self.live.read() as index:
            _check_field(index, params.field)
            hits = [
                {
                    "id": hit.id,
                    "rank": rank,
                    "score": hit.score,
                    "row": hit.row,
                    "audio": self._audio(index, hit.id, hit.row),
                    "duplicates": list(hit.duplicates),
                }
                for rank, hit in enumerate(search(index), 1)
            ]
            return to_json(
                {"hits": hits, "version": index.version, **{key: value for key, value in more.items() if value}}
            )

    def _audio(self, index: Index, id: str, row: dict[str, Any]) -> str | None:
        return audio.audio_url(id) if audio.candidate_paths(row, self._all_roots(index)) else None

    def _all_roots(self, index: Index) -> list[str]:
        return [root for root in (index.info.root or index.info.table_root, *self.roots) if root]

    def _cached(self, index: Index, function: Callable[..., Any], *args: Any) -> Any:
        """The result of a function of the index, computed once a version."""
        key = (index.version, function.__name__, args)
        if (result := self._cache.get(key)) is None:
            result = self._cache[key] = function(index, *args)
            for old in list(self._cache)[:-_MAX_CACHED]:
                self._cache.pop(old, None)
        return result


def to_json(answer: Any) -> bytes:
    """JSON in ASCII, so that ids that are not UTF-8 survive as escapes."""
    return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()


def _options(params: SearchParams) -> dict[str, Any]:
    return {"one_per": params.one_per, "diversity": params.diversity, "deduplicate": params.deduplicate}


def _check_field(index: Index, name: str | None) -> None:
    if name is not None and name not in index.fields:
        fields = ", ".join(index.fields)
        raise UsageError("field", "the index has no vectors of this field", f"use one of: {fields}")


def _check_ids(index: Index, *names: str) -> None:
    """Refuse an unknown id with 404, without the slow search for similar ids."""
    for name in names:
        if not index.has(name):
            raise HTTPException(404, "id: the index has no item with this id")
