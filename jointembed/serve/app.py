"""The routes of the server. Needs the extra `serve`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import IO, Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from ..errors import UserError
from ..web.export import STATIC
from . import audio, docs, schema
from .errors import log_error, public_message, unavailable
from .handlers import Handlers, to_json
from .query_models import MAX_UPLOADS, ModelRegistry
from .security import MAX_BODY_BYTES, error_body
from .workers import Workers

T = TypeVar("T")
_REPEATABLE = {"id", "unlike"}
_UPLOAD_SECONDS = 60.0
_CLIENT_CLOSED_REQUEST = 499  # nobody reads this answer


class _Request(Request):
    """A request whose parameters keep bytes that are not UTF-8 as surrogates, and lack those that are empty."""

    @functools.cached_property
    def query_params(self) -> QueryParams:
        query = self.scope["query_string"].decode("latin-1")
        return QueryParams(parse_qsl(query, errors="surrogateescape"))


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Refuse parameters that are repeated but may not be."""
        handle = super().get_route_handler()

        async def check(request: Request) -> Response:
            request = _Request(request.scope, request.receive)
            for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
                if count > 1 and name not in _REPEATABLE:
                    raise HTTPException(422, f"{name}: this parameter may be given once, but was given {count} times")
            return await handle(request)

        return check


def build_app(handlers: Handlers, models: ModelRegistry, upload_folder: str) -> FastAPI:
    """The app of a server.

    Args:
        handlers: answer questions about the index.
        models: embed queries.
        upload_folder: for files that are sent, until they are embedded.
    """
    searches = Workers("search", 2, 32)
    layouts = Workers("layout", 1, 16)  # a new layout takes long: searches do not wait for it
    uploads = 0

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        yield
        for workers in (searches, layouts, models):
            workers.close()

    app = FastAPI(
        title="jointembed",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        responses={status: {"model": schema.Error} for status in (404, 422, 503)},
    )
    app.router.route_class = _Route
    _handle_errors(app, (handlers.live.path, *handlers.roots))

    @app.get("/healthz", summary="Whether the server is up; open without the token")
    async def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(docs.render(app.openapi()))

    @app.get("/api/info", summary="Summary of the index and available query types", response_model=schema.Info)
    async def info(request: Request, params: Annotated[schema.InfoParams, Query()]) -> Response:
        summary = await _unless_disconnected(request, searches.run(handlers.info, params))
        queries = {name: model.as_json() for name, model in models.models.items()}
        return _json(to_json({**summary, **models.for_field(params.field).as_json(), "queries": queries}))

    @app.get("/api/layout", summary="Positions of all items on a map, (N, 3) float32, little-endian")
    async def layout(request: Request, params: Annotated[schema.LayoutParams, Query()]) -> Response:
        points, version = await _unless_disconnected(request, layouts.run(handlers.layout, params))
        return Response(points, headers={"index-version": version}, media_type="application/octet-stream")

    @app.get("/api/column", summary="One metadata column of all items", response_model=schema.ColumnValues)
    async def column(request: Request, params: Annotated[schema.ColumnParams, Query()]) -> Response:
        return _json(await _unless_disconnected(request, layouts.run(handlers.column, params)))

    @app.get("/api/row", summary="One item", response_model=schema.Row)
    async def row(request: Request, params: Annotated[schema.RowParams, Query()]) -> Response:
        return _json(await _unless_disconnected(request, searches.run(handlers.row, params)))

    @app.get("/api/similar", summary="Items similar to items, and unlike others", response_model=schema.Hits)
    async def similar(request: Request, params: Annotated[schema.SimilarParams, Query()]) -> Response:
        return _json(await _unless_disconnected(request, searches.run(handlers.similar, params)))

    @app.get("/api/path", summary="A path of items from one item to another", response_model=schema.Hits)
    async def path(request: Request, params: Annotated[schema.PathParams, Query()]) -> Response:
        return _json(await _unless_disconnected(request, searches.run(handlers.path, params)))

    @app.get("/api/search", summary="Items that match a text", response_model=schema.Hits)
    async def search(request: Request, params: Annotated[schema.TextParams, Query()]) -> Response:
        model = models.for_field(params.field)
        try:
            vector, note = await _unless_disconnected(request, models.embed_text(model, params.q)), model.why
        except UserError as error:  # the columns may still contain words that the model does not know
            vector, note = None, public_message(error)
        if vector is None:
            return _json(await _unless_disconnected(request, searches.run(handlers.text, params, note)))
        return _json(await _unless_disconnected(request, searches.run(handlers.vector, params, vector, model)))

    body = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

    @app.post(
        "/api/query",
        summary="Items similar to a sound file, which is the body",
        response_model=schema.Hits,
        openapi_extra={"requestBody": body},
    )
    async def query(request: Request, params: Annotated[schema.SearchParams, Query()]) -> Response:
        nonlocal uploads
        model = models.for_field(params.field)
        if model.state == "loading":
            raise unavailable("the model is still loading")
        if not model.as_json()["file"]:
            raise HTTPException(422, "the model of this field embeds no sounds" if model.embedder else model.why)
        if uploads >= MAX_UPLOADS:
            raise unavailable("too many files are sent; try again in a second")
        uploads += 1
        try:
            with tempfile.NamedTemporaryFile(dir=upload_folder) as file:
                await _receive(request, file)
                vector = await _unless_disconnected(request, models.embed_audio(model, file.name))
        finally:
            uploads -= 1
        return _json(await _unless_disconnected(request, searches.run(handlers.vector, params, vector, model)))

    @app.get("/audio", summary="The sound of an item; ranges of bytes are supported", response_class=FileResponse)
    async def sound(request: Request, params: Annotated[schema.RowParams, Query()]) -> Response:
        path = await _unless_disconnected(request, searches.run(handlers.sound, params.id))
        return FileResponse(path, media_type=audio.media_type(path))

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def _unless_disconnected(request: Request, answer: Awaitable[T]) -> T:
    """Await an answer, and cancel it when the client disconnects: what still waits in a queue is then dropped.

    Raises:
        ClientDisconnect: nobody waits for the answer.
    """
    task = asyncio.ensure_future(answer)
    departed = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, departed}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        departed.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _receive(request: Request, file: IO[bytes]) -> None:
    """Write the body of a request into a file."""
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for block in request.stream():
                file.write(block)
                if file.tell() > MAX_BODY_BYTES:
                    raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES >> 20} MB")
    except TimeoutError:
        raise HTTPException(408, f"the body took longer than {_UPLOAD_SECONDS:.0f} s") from None
    file.flush()
    if not file.tell():
        raise HTTPException(422, "the body is empty; send the bytes of a sound file")


def _handle_errors(app: FastAPI, private_paths: tuple[Any, ...]) -> None:
    """Answer every error with its status and one line of JSON."""

    def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
        return Response(error_body(message), status, headers, "application/json")

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        if error.__cause__ is not None:
            log_error(error.__cause__)
        is_default = error.detail == HTTPStatus(error.status_code).phrase
        return answer(error.status_code, error.detail.lower() if is_default else error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return answer(422, _validation_message(error))

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> Response:
        if any(str(path) == error.subject for path in private_paths):
            log_error(error)
            return answer(503, public_message(error, *private_paths), {"retry-after": "1"})
        return answer(422, public_message(error, *private_paths, with_fix=True))

    @app.exception_handler(ClientDisconnect)
    async def disconnected(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return answer(500, "the server failed; see its log")  # the middleware logs it


def _validation_message(error: RequestValidationError) -> str:
    first = error.errors()[0]
    name = ascii(str(first["loc"][1] if len(first["loc"]) > 1 else first["loc"][0]))[1:-1][:40]
    if first["type"] == "extra_forbidden":
        return f"{name}: unknown parameter; see /docs"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}"
