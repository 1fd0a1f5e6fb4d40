"""The routes: what is asked of whom, and how it is answered. This file needs the extra `serve`."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Send

from ...errors import Failure
from ..index import Index
from . import audio, docs, fields
from .answers import Answers, text
from .fields import Field, Wrong
from .guard import log
from .handle import Handle, Shared, Unknown, Unready, plain
from .limits import BODY, refusal
from .model import Model, upload
from .pool import Busy, Pool

_BLOCK = 256 << 10  # bytes of a file that are read at once
_KEPT = 16  # maps, cells and the like that are remembered

Answer = Callable[[Request], Awaitable[Response]]
Asked = Callable[[dict[str, Any], Request], Awaitable[Response]]


class Large(Exception):
    """A body has more bytes than it may have."""


class Server:
    """What the routes have in common.

    Args:
        shared: the index.
        answers: what questions are answered with.
        model: what embeds.
        page: `asset`, `about`, `points` and `cells`, as in `jointembed.find.page`.
        folder: for what is uploaded, while it is decoded.
    """

    def __init__(self, shared: Shared, answers: Answers, model: Model, page: Any, folder: str) -> None:
        self.shared, self.answers, self.model, self.page, self.folder = shared, answers, model, page, folder
        handle = functools.partial(Handle, shared)
        self.searches = Pool(2, 32, handle, "search")
        self.maps = Pool(1, 16, handle, "map")
        self.files = Pool(4, 64, handle, "file")
        self.asset = functools.cache(page.asset)
        self.kept: dict[Any, Any] = {}
        self.stop = threading.Event()
        self.watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.watcher.start()

    def _watch(self) -> None:
        with Handle(self.shared) as handle:
            handle.watch(self.stop)

    def close(self) -> None:
        """Take no more questions."""
        self.stop.set()
        for pool in (self.searches, self.maps, self.files, self.model):
            pool.close()
        self.watcher.join(1)

    async def file(self, name: str, _: Request) -> Response:
        content, media = self.asset(name)
        return Response(content, media_type=media, headers=_FRESH)

    async def about(self, _: dict[str, Any], __: Request) -> Response:
        def about(index: Index, _: str) -> dict[str, Any]:
            return dict(self.page.about(index))

        known = await self.searches.ask(functools.partial(self._kept, about), "", "about")
        known = {**known, "text": self.model.state, "file": self.model.hears}
        return _json(text({**known, "why": self.model.why} if self.model.why else known))

    async def map(self, given: dict[str, Any], _: Request) -> Response:
        content = await self.maps.ask(functools.partial(self._kept, self.page.points), given["axes"])
        return Response(content, media_type="application/octet-stream", headers=_FRESH)

    async def cells(self, given: dict[str, Any], _: Request) -> Response:
        def cells(index: Index, name: str) -> bytes:
            return text(self.page.cells(index, name))

        return _json(await self.maps.ask(functools.partial(self._kept, cells), given["name"]))

    def _kept(self, make: Callable[[Index, str], Any], handle: Handle, asked: list[str]) -> list[Any]:
        """What is made of the index and each name, unless it was made of this generation before."""
        answers = []
        for one in asked:
            with handle.reading() as index:
                known = handle.known()
                key = (known.file, known.generation, make.__name__, one)
                made = self.kept.get(key)
                if made is None:
                    made = self.kept[key] = make(index, one)
                    for old in list(self.kept)[:-_KEPT]:
                        self.kept.pop(old, None)
                answers.append(made)
        return answers

    async def row(self, given: dict[str, Any], _: Request) -> Response:
        return _json(await self.searches.ask(self.answers.row, given["id"]))

    async def similar(self, given: dict[str, Any], _: Request) -> Response:
        plainly = not (given["minus"] or given["where"] or given["per"] or given["diverse"] or given["distinct"])
        if plainly and len(given["id"]) == 1:
            lookup = (given["id"][0], given["k"], given["column"])
            return _json(await self.searches.ask(self.answers.lookups, lookup, ("lookup", given["column"])))
        return _json(await self.searches.ask(self.answers.similar, given))

    async def path(self, given: dict[str, Any], _: Request) -> Response:
        return _json(await self.searches.ask(self.answers.path, given))

    async def search(self, given: dict[str, Any], _: Request) -> Response:
        try:
            vector, note = await self.model.words(given["q"]), self.model.why
        except Failure as error:  # words that it does not know may still stand in a row
            vector, note = None, plain(error)
        if vector is None:
            return _json(await self.searches.ask(self.answers.words, {**given, "note": note}))
        return _json(await self.searches.ask(self.answers.vector, (vector, given)))

    async def query(self, given: dict[str, Any], request: Request) -> Response:
        if self.model.state == "loading":
            raise Unready("the model still loads")
        if not self.model.hears:
            raise Wrong(self.model.why or "the model of this index hears no sounds")
        with upload(self.folder) as (file, path):
            size = 0
            async for block in request.stream():
                size += len(block)
                if size > BODY:
                    raise Large
                file.write(block)
            file.flush()
            if not size:
                raise Wrong("the body is empty; send the bytes of a sound file")
            vector = await self.model.sound(path, given.pop("column"))
        return _json(await self.searches.ask(self.answers.vector, (vector, given)))

    async def sound(self, request: Request) -> Response:
        handle, media = await self.files.ask(self.answers.file, request.path_params["opaque"])
        try:
            about = os.fstat(handle)
            tag = f'"{about.st_ino:x}-{about.st_mtime_ns:x}-{about.st_size:x}"'
            same = request.headers.get("if-range", tag) == tag
            asked = request.headers.get("range", "").encode("latin-1") if same else None
            part = audio.part(asked, about.st_size)
            headers = {"accept-ranges": "bytes", "etag": tag, "cache-control": "private, max-age=3600"}
            if part.status == 416:
                os.close(handle)
                headers |= {"content-range": f"bytes */{about.st_size}"}
                return Response(refusal("the file has no such bytes"), 416, headers, "application/json")
            headers["content-length"] = str(part.stop - part.start)
            if part.status == 206:
                headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{about.st_size}"
            if request.scope.get("head"):
                os.close(handle)
                return Response(None, part.status, headers, media)
        except BaseException:
            os.close(handle)
            raise
        return _Sound(self._blocks(handle, part), part.status, headers, media)

    async def _blocks(self, handle: int, part: audio.Part) -> AsyncGenerator[bytes]:
        """The bytes of a part, read by a thread: a disk of the network may hang."""

        def read(_: Handle, asked: list[tuple[int, int]]) -> list[bytes]:
            return [os.pread(handle, size, at) for at, size in asked]

        try:
            at = part.start
            while at < part.stop:
                block = await self.files.ask(read, (at, min(_BLOCK, part.stop - at)))
                if not block:
                    raise OSError("a sound file has become shorter while it was sent")
                at += len(block)
                yield block
        finally:
            os.close(handle)


class _Sound(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        """Send the blocks, and close the file at once however that ends."""
        async with contextlib.aclosing(self._opened):
            await super().stream_response(send)

    def __init__(self, blocks: AsyncGenerator[bytes], *how: Any) -> None:
        self._opened = blocks
        super().__init__(blocks, *how)


_FRESH = {"cache-control": "no-store"}


def _json(body: bytes, status: int = 200, **headers: str) -> Response:
    return Response(body, status, {**_FRESH, **headers}, "application/json")


def _failed(error: Exception, secrets: Sequence[Any]) -> Response:
    """What an exception becomes."""
    match error:
        case Wrong():
            return _json(refusal(str(error)), 422)
        case Unknown():
            return _json(refusal(str(error)), 404)
        case Busy():
            return _json(refusal("too many questions wait; ask again in a second"), 503, **{"retry-after": "1"})
        case Unready():
            if error.__cause__ is not None:
                log(error.__cause__)
            return _json(refusal(str(error)), 503, **{"retry-after": "1"})
        case Large():
            return _json(refusal(f"the body has more than {BODY >> 20} MB"), 413)
        case Failure():
            if any(str(secret) == error.subject for secret in secrets):
                log(error)
                return _json(refusal(plain(error, *secrets)), 503, **{"retry-after": "1"})
            return _json(refusal(plain(error, *secrets, fix=True)), 422)
    log(error)
    return _json(refusal("the server failed at this; its own messages say how"), 500)


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
        return _json(b'{"ok":true}')

    async def openapi(_: Request) -> Response:
        return _json(text(app.openapi()))

    async def documented(_: Request) -> Response:
        return Response(docs.page(app.openapi()), media_type="text/html; charset=utf-8", headers=_FRESH)

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
    api("/api/about", "what the index holds, and what can be asked", server.about)
    api("/api/map", "(N, 3) float32, little-endian: where the items lie on a map", server.map, [fields.AXES])
    api("/api/cells", "one cell of all items, in the order of the map", server.cells, [fields.NAME])
    api("/api/row", "an item", server.row, [fields.ID])
    asked: tuple[Field, ...] = (fields.IDS, fields.MINUS, fields.K, fields.COLUMN, *narrow)
    api("/api/similar", "the items that are like some and unlike others", server.similar, asked)
    asked = (fields.START, fields.END, fields.N, fields.COLUMN, fields.WHERE)
    api("/api/path", "the items on the way from one to another", server.path, asked)
    api("/api/search", "the items that fit words", server.search, (fields.Q, fields.K, *narrow))
    body = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    asked = (fields.HEARD, fields.K, *narrow)
    api("/api/query", "the items that are like a sound file", server.query, asked, "POST", requestBody=body)

    @app.exception_handler(HTTPException)
    async def unrouted(_: Request, error: HTTPException) -> Response:
        wrong = {404: "there is nothing here", 405: "this cannot be asked for in this way"}
        return _json(
            refusal(wrong.get(error.status_code, str(error.detail))), error.status_code, **(error.headers or {})
        )

    return app
