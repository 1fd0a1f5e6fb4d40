"""Routes for what the page shows of all items: their places on the map, their columns, and items by position."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from starlette.exceptions import HTTPException

from ..index.index import Index
from ..web import export as page
from . import audio, schema
from .live_index import LiveIndex
from .pools import Pools

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode  # ASCII: ids that are not UTF-8 are escaped


def to_response(answer: dict[str, Any]) -> Response:
    """An answer as JSON."""
    return Response(_to_json(answer), media_type="application/json")


class VersionCache:
    """Results of functions of the index, each computed once a version.

    Args:
        size: the number of results that are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: dict[Any, Any] = {}

    def get(self, index: Index, function: Callable[..., Any], *args: Any) -> Any:
        """The result of a function of the index and further arguments."""
        key = (index.version, function.__name__, args)
        if (result := self._results.get(key)) is None:
            result = self._results[key] = function(index, *args)
            for old in list(self._results)[: -self._size]:
                self._results.pop(old, None)
        return result


def add_routes(
    app: FastAPI,
    live: LiveIndex,
    cache: VersionCache,
    pools: Pools,
    roots: Sequence[str],
    wait_for_layout: Callable[[Path, str | None, str], None],
) -> None:
    """Add the routes.

    Args:
        app: the app.
        live: the index.
        cache: of layouts and columns.
        pools: the threads that answer.
        roots: folders that sounds may be in, beside the index's own.
        wait_for_layout: waits for a layout of an index and a field if it is already being computed.
    """

    @app.get("/api/layout", summary="Positions of all items on a map, (N, 3) float32, little-endian")
    async def layout(request: Request, params: Annotated[schema.LayoutParams, Query()]) -> Response:
        return await pools.layouts.run(request, read_layout, params, request.headers.get("if-none-match"))

    def read_layout(params: schema.LayoutParams, etag: str | None) -> Response:
        wait_for_layout(live.path, params.field, params.axes)
        with live.read(params.field) as index:
            return answer_bytes(index, etag, page.layout_bytes, params.axes, params.field, int(params.bits))

    @app.get("/api/column", summary="One metadata column of all items", response_model=schema.ColumnValues)
    async def column(request: Request, params: Annotated[schema.ColumnParams, Query()]) -> Response:
        return await pools.columns.run(request, read_column, params, request.headers.get("if-none-match"))

    def read_column(params: schema.ColumnParams, etag: str | None) -> Response:
        with live.read(params.field) as index:
            if params.format == "packed":
                return answer_bytes(index, etag, page.column_bytes, params.name, params.field)
            values = cache.get(index, page.column_values, params.name, params.field)
            return to_response({**values, "version": index.version})

    def answer_bytes(index: Index, etag: str | None, function: Callable[..., bytes], *args: Any) -> Response:
        """What is as large as the index: a browser that has it already is told that it is the same."""
        headers = {"etag": f'"{index.version}"', "index-version": index.version}
        if etag == headers["etag"]:
            return Response(status_code=304, headers=headers)
        content = cache.get(index, function, *args)
        return Response(content, headers=headers, media_type="application/octet-stream")

    @app.get("/api/items", summary="The items at some positions of the layout", response_model=schema.Items)
    @pools.searches.in_thread
    def items(params: Annotated[schema.ItemsParams, Query()]) -> Response:
        with live.read(params.field) as index:
            if not 0 <= min(params.position) <= max(params.position) < index.count(field=params.field):
                raise HTTPException(404, "position: the layout has no such position")
            folders = [*index.info.folders, *roots]
            rows = index.rows_at(params.position, params.field)
            listed = [
                {"id": row["id"], "row": row, "position": at, "audio": audio.audio_url(row["id"], row, folders)}
                for at, row in zip(params.position, rows, strict=True)
            ]
            return to_response({"items": listed, "version": index.version})
