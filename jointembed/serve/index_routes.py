"""The routes of an index, and their answers from the index as it is now. Needs the extra `serve`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from ..errors import UsageError, UserError
from ..index import playlist
from ..index.hits import Hit, describe_text_search
from ..index.index import Index
from ..web import export as page
from . import audio, map_data, schema
from .errors import public_message, unavailable
from .map_data import VersionCache, to_response
from .pools import Pools
from .query_models import QueryModel
from .security import MAX_BODY_BYTES
from .served_index import ServedIndex

_UPLOAD_SECONDS = 60.0
_IMMUTABLE = "private, max-age=604800, immutable"
_MAX_CACHED = 16  # layouts, columns and summaries
_BODY = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}

_IDS = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"ids": {"type": "array", "items": {"type": "string"}}},
                    "required": ["ids"],
                }
            }
        }
    }
}
_MAX_IDS_BYTES = 16 << 20


def add_routes(
    app: FastAPI,
    served: ServedIndex,
    roots: Sequence[str],
    pools: Pools,
    names: Sequence[str],
    wait_for_layout: Callable[[Path, str | None, str], None],
) -> None:
    """Add the routes of an index.

    Args:
        app: the app.
        served: the index.
        roots: folders that sounds may be in, beside the index's own.
        pools: the threads that answer.
        names: those of all indexes of the server.
        wait_for_layout: waits for a layout of an index and a field if it is already being computed.
    """
    live, models, searches = served.live, served.models, pools.searches
    cache = VersionCache(_MAX_CACHED)

    def all_roots(index: Index) -> list[str]:
        return [*index.info.folders, *roots]

    def answer_hits(index: Index, hits: list[Hit], offset: int, field: str | None, **more: Any) -> Response:
        folders = all_roots(index)
        positions = index.positions([hit.id for hit in hits], field)
        listed = [
            {
                "id": hit.id,
                "rank": rank,
                "score": hit.score,
                "row": hit.row,
                "position": positions[rank - 1],
                "audio": audio.audio_url(hit.id, hit.row, folders),
                "duplicates": list(hit.duplicates),
            }
            for rank, hit in enumerate(hits[offset:], offset + 1)
        ]
        return to_response({"hits": listed, "version": index.version, **more})

    @app.get("/api/info", summary="Summary of the index and available query types", response_model=schema.Info)
    @searches.in_thread
    def info(params: Annotated[schema.InfoParams, Query()]) -> Response:
        with live.read(params.field) as index:
            summary = cache.get(index, page.page_info, params.field)
        queries = {name: model.as_json() for name, model in models.models.items()}
        more = {"name": served.name, "indexes": names, "queries": queries}
        return to_response({**summary, **models.for_field(params.field).as_json(), **more})

    map_data.add_routes(app, live, cache, pools, roots, wait_for_layout)

    @app.get("/api/row", summary="One item", response_model=schema.Row)
    @searches.in_thread
    def row(params: Annotated[schema.RowParams, Query()]) -> Response:
        with live.read(params.field) as index:
            _check_ids(index, params.id)
            row = index.row(params.id)
            terms = index.nearest_terms([params.id], field=params.field)[0]
            url = audio.audio_url(params.id, row, all_roots(index))
            position = index.positions([params.id], params.field)[0]
            answer = {"id": params.id, "row": row, "position": position, "terms": terms, "audio": url}
            return to_response({**answer, "version": index.version})

    @app.get("/api/similar", summary="Items similar to items, and unlike others", response_model=schema.Hits)
    async def similar(request: Request, params: Annotated[schema.SimilarParams, Query()]) -> Response:
        if len(params.id) == 1 and params.model_fields_set <= {"id", "k", "offset", "field"}:
            return await pools.lookups.run(request, look_up, (params.field, params.k, params.offset), params.id[0])
        return await searches.run(request, search_similar, params)

    def search_similar(params: schema.SimilarParams) -> Response:
        with live.read(params.field) as index:
            _check_ids(index, *params.id, *params.unlike)
            options = _options(params)
            count = params.offset + params.k
            hits = index.similar(params.id, count, params.field, params.where, unlike=params.unlike, **options)
            return answer_hits(index, hits, params.offset, params.field, method="vector")

    def look_up(key: tuple[str | None, int, int], ids: list[str]) -> list[Response | Exception]:
        field, k, offset = key
        count = offset + k
        with live.read(field) as index:
            if len(ids) > 1 and all(map(index.has, ids)):
                with contextlib.suppress(UsageError):  # an item has no vector in this field: the others have answers
                    batch = index.similar_batch(ids, count, field)
                    return [answer_hits(index, hits, offset, field, method="vector") for hits in batch]
            answers: list[Response | Exception] = []
            for id in ids:
                try:
                    _check_ids(index, id)
                    answers.append(answer_hits(index, index.similar(id, count, field), offset, field, method="vector"))
                except (HTTPException, UsageError) as error:
                    answers.append(error)
            return answers

    @app.get("/api/path", summary="A path of items from one item to another", response_model=schema.Hits)
    @searches.in_thread
    def path(params: Annotated[schema.PathParams, Query()]) -> Response:
        with live.read(params.field) as index:
            _check_ids(index, params.start, params.end)
            hits = index.path_between(params.start, params.end, params.n, params.field, params.where)
            return answer_hits(index, hits, 0, params.field, method="vector")

    @app.get("/api/search", summary="Items that match a text", response_model=schema.Hits)
    async def search(request: Request, params: Annotated[schema.TextParams, Query()]) -> Response:
        model = models.for_field(params.field)
        try:
            vector, note = await models.embed_text(request, model, params.q), model.why
        except UserError as error:  # the columns may still contain words that the model does not know
            vector, note = None, public_message(error)
        if vector is None:
            return await searches.run(request, search_text, params, note)
        return await searches.run(request, search_vector, params, vector, model)

    def search_text(params: schema.TextParams, note: str) -> Response:
        with live.read(params.field) as index:
            hits = index.search_text(params.q, params.offset + params.k, params.where, params.field)
            notes = [describe_text_search(note, hits)] if note else []
            notes += [f"{name} is of searches by vectors" for name, value in _options(params).items() if value]
            more = {"note": "; ".join(notes)} if notes else {}
            return answer_hits(index, hits, params.offset, params.field, method="text", **more)

    def search_vector(params: schema.SearchParams, vector: npt.NDArray[np.float32], model: QueryModel) -> Response:
        with live.read(params.field) as index:
            if index.field_info(params.field).fingerprint != model.fingerprint:
                raise unavailable("the index has just been replaced")
            count = params.offset + params.k
            hits = index.search(vector, count, params.field, params.where, **_options(params))
            return answer_hits(index, hits, params.offset, params.field, method="model")

    @app.post(
        "/api/query",
        summary="Items similar to a sound file, which is the body",
        response_model=schema.Hits,
        openapi_extra=_BODY,
    )
    async def query(request: Request, params: Annotated[schema.SearchParams, Query()]) -> Response:
        model = models.for_field(params.field)
        if model.state == "loading":
            raise unavailable("the model is still loading")
        if not model.as_json()["file"]:
            raise HTTPException(422, "the model of this field embeds no sounds" if model.embedder else model.why)
        if pools.uploads.locked():
            raise unavailable("too many files are being uploaded; try again in a second")
        async with pools.uploads:
            with tempfile.TemporaryDirectory(prefix="jointembed-", ignore_cleanup_errors=True) as folder:
                path = os.path.join(folder, "sound")
                with open(path, "wb") as file:  # Windows opens no file a second time
                    await _receive(request, file)
                vector = await models.embed_audio(request, model, path)
        return await searches.run(request, search_vector, params, vector, model)

    @app.post(
        "/api/playlist",
        summary="A playlist (.m3u8) of items, with absolute paths for a client on the server's own machine, else with "
        "paths relative to the first folder of the index",
        response_class=PlainTextResponse,
        openapi_extra=_IDS,
    )
    async def save_playlist(request: Request) -> Response:
        return await searches.run(request, render_playlist, await _receive_ids(request), _is_local(request))

    def render_playlist(ids: list[str], is_local: bool) -> Response:
        with live.read() as index:
            _check_ids(index, *ids)
            start = os.path.abspath(os.sep if is_local else index.info.folders[0] if index.info.folders else ".")
            info = index.info
            rows = [(id, index.row(id)) for id in ids]
            lines, count = playlist.render(rows, lambda _, row: audio.find_sound(row, info, roots), start)
        if not count:
            raise HTTPException(422, "none of these items has a sound file in the folders that are served")
        return Response(playlist.encode(["#EXTM3U", *lines]), media_type="audio/x-mpegurl")

    @app.get("/audio", summary="The sound of an item; ranges of bytes are supported", response_class=FileResponse)
    @searches.in_thread
    def sound(params: Annotated[schema.RowParams, Query()]) -> Response:
        with live.read() as index:
            _check_ids(index, params.id)
            path = audio.find_sound(index.row(params.id), index.info, roots)
        if path is None:
            raise HTTPException(404, "this item has no sound file in the folders that are served")
        return FileResponse(path, media_type=audio.media_type(path))

    @app.get(
        "/api/cover",
        summary="The picture in the sound of an item: JPEG, PNG or WebP; 204 without one",
        response_class=Response,
    )
    async def cover(request: Request, params: Annotated[schema.CoverParams, Query()]) -> Response:
        return await pools.covers.run(request, read_picture, params, request.headers.get("if-none-match"))

    def read_picture(params: schema.CoverParams, etag: str | None) -> Response:
        with live.read() as index:
            _check_ids(index, params.id)
            path = audio.find_sound(index.row(params.id), index.info, roots)
            is_current = params.version == index.version
        answer = audio.answer_cover(path, etag)
        if is_current:
            answer.headers["cache-control"] = _IMMUTABLE
        return answer


def _options(params: schema.SearchParams) -> dict[str, Any]:
    return {"one_per": params.one_per, "diversity": params.diversity, "deduplicate": params.deduplicate}


def _check_ids(index: Index, *names: str) -> None:
    """Refuse an unknown id with 404, without the slow search for similar ids."""
    for name in names:
        if not index.has(name):
            raise HTTPException(404, "id: the index has no item with this id")


def _is_local(request: Request) -> bool:
    return request.client is not None and request.client.host in ("127.0.0.1", "::1")


async def _receive_ids(request: Request) -> list[str]:
    """The ids in the body of a request, in which those that are not UTF-8 have escaped surrogates."""
    body = io.BytesIO()
    await _receive(request, body, _MAX_IDS_BYTES)
    with contextlib.suppress(ValueError, RecursionError):
        match json.loads(body.getvalue()):
            case {"ids": [*ids]} if ids and all(isinstance(id, str) for id in ids):
                return ids
    raise HTTPException(422, 'the body must be JSON such as {"ids": ["a", "b"]}')


async def _receive(request: Request, file: IO[bytes], limit: int = MAX_BODY_BYTES) -> None:
    """Write the body of a request into a file."""
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for block in request.stream():
                file.write(block)
                if file.tell() > limit:
                    raise HTTPException(413, f"the body is larger than {limit >> 20} MB")
    except TimeoutError:
        raise HTTPException(408, f"the body took longer than {_UPLOAD_SECONDS:.0f} s") from None
    file.flush()
    if not file.tell():
        raise HTTPException(422, "the body is empty; see /docs")
