"""The routes: what is asked of whom, and how it is answered. This file needs the extra `serve`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import UserError
from . import docs, fields
from .answers import text
from .fields import Field, Wrong
from .index_handle import Unknown, Unready, plain
from .limits import BODY, refusal
from .pool import Busy
from .security import log
from .server import FRESH, Large, Server, reply

Answer = Callable[[Request], Awaitable[Response]]
Asked = Callable[[dict[str, Any], Request], Awaitable[Response]]


def _failed(error: Exception, secrets: Sequence[Any]) -> Response:
    """What an exception becomes."""
    match error:
        case Wrong():
            return reply(refusal(str(error)), 422)
        case Unknown():
            return reply(refusal(str(error)), 404)
        case Busy():
            return reply(refusal("too many questions wait; ask again in a second"), 503, **{"retry-after": "1"})
        case Unready():
            if error.__cause__ is not None:
                log(error.__cause__)
            return reply(refusal(str(error)), 503, **{"retry-after": "1"})
        case Large():
            return reply(refusal(f"the body has more than {BODY >> 20} MB"), 413)
        case UserError():
            if any(str(secret) == error.subject for secret in secrets):
                log(error)
                return reply(refusal(plain(error, *secrets)), 503, **{"retry-after": "1"})
            return reply(refusal(plain(error, *secrets, fix=True)), 422)
    log(error)
    return reply(refusal("the server failed at this; its own messages say how"), 500)


def build(server: Server) -> FastAPI:
    """The app of a server."""
    app = FastAPI(
        title="jointembed", version="1", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    secrets = (server.shared.path, *server.answers.roots)

    def route(
        path: str, about: str, answer: Answer, asked: Sequence[Field] = (), method: str = "GET", **more: Any
    ) -> None:
        async def safely(request: Request) -> Response:
            try:
                return await answer(request)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:
                return _failed(error, secrets)

        extra = {"parameters": [field.openapi for field in asked], **more}
        app.add_api_route(
            path, safely, methods=[method], summary=about, openapi_extra=extra, name=path, response_class=Response
        )

    def api(
        path: str, about: str, answer: Asked, asked: Sequence[Field] = (), method: str = "GET", **more: Any
    ) -> None:
        async def read(request: Request) -> Response:
            return await answer(fields.read(request.scope["query_string"], asked), request)

        route(path, about, read, asked, method, **more)

    async def healthy(_: Request) -> Response:
        return reply(b'{"ok":true}')

    async def openapi(_: Request) -> Response:
        return reply(text(app.openapi()))

    async def documented(_: Request) -> Response:
        return Response(docs.page(app.openapi()), media_type="text/html; charset=utf-8", headers=FRESH)

    narrow = (fields.WHERE, fields.PER, fields.DIVERSE, fields.DISTINCT)
    for path, name in (
        ("/", "page.html"),
        ("/page.css", "page.css"),
        ("/page.js", "page.js"),
        ("/icon.svg", "icon.svg"),
    ):
        route(path, "a file of the page", functools.partial(server.file, name))
    route("/healthz", "whether the server is up", healthy)
    route("/openapi.json", "this description", openapi)
    route("/docs", "this description, to be read", documented)
    about = "a sound, by the name that answers give it; one range of bytes is honoured"
    route("/audio/{opaque}", about, server.sound, [fields.OPAQUE])
    of = (fields.COLUMN,)
    api("/api/about", "what the index holds, and what can be asked of each of its columns", server.about, of)
    api("/api/map", "(N, 3) float32, little-endian: where the items lie on a map", server.map, (fields.AXES, *of))
    api("/api/cells", "one cell of all items, in the order of the map", server.cells, (fields.NAME, *of))
    api("/api/row", "an item", server.row, (fields.ID, *of))
    asked: tuple[Field, ...] = (fields.IDS, fields.MINUS, fields.K, *of, *narrow)
    api("/api/similar", "the items that are like some and unlike others", server.similar, asked)
    asked = (fields.START, fields.END, fields.N, *of, fields.WHERE)
    api("/api/path", "the items on the way from one to another", server.path, asked)
    api("/api/search", "the items that fit words", server.search, (fields.Q, fields.K, *of, *narrow))
    body = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    api(
        "/api/query",
        "the items that are like a sound file",
        server.query,
        (fields.K, *of, *narrow),
        "POST",
        requestBody=body,
    )

    @app.exception_handler(HTTPException)
    async def unrouted(_: Request, error: HTTPException) -> Response:
        wrong = {404: "there is nothing here", 405: "this cannot be asked for in this way"}
        return reply(
            refusal(wrong.get(error.status_code, str(error.detail))), error.status_code, **(error.headers or {})
        )

    return app
