"""What the routes have in common: the threads that answer, what is remembered, sounds and uploads.

This file needs the extra `serve`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from ..errors import UserError
from ..index.index import Index
from . import audio
from .answers import Answers, checked, text
from .fields import Wrong
from .index_handle import Handle, Shared, Unready, plain
from .limits import BODY, refusal
from .pool import Busy, Pool, give_way
from .query_models import UPLOADS, Model, upload

_BLOCK = 256 << 10  # bytes of a file that are read at once
_LINGER = 0.002  # seconds; a product for eight look-ups takes hardly longer than one for four
_KEPT = 16  # maps, cells and the like that are remembered


class Large(Exception):
    """A body has more bytes than it may have."""


class Server:
    """What the routes have in common.

    Args:
        shared: the index.
        answers: what questions are answered with.
        model: what embeds.
        page: `asset`, `about`, `points` and `cells`, as in `jointembed.web.export`.
        folder: for what is uploaded, while it is decoded.
    """

    def __init__(self, shared: Shared, answers: Answers, model: Model, page: Any, folder: str) -> None:
        self.shared, self.answers, self.model, self.page, self.folder = shared, answers, model, page, folder
        handle = functools.partial(Handle, shared)
        self.lookups = Pool(1, 32, handle, "look-up", linger=_LINGER)  # they never wait for what takes long
        self.searches = Pool(2, 32, handle, "search")
        self.maps = Pool(1, 16, handle, "map")
        self.files = Pool(4, 64, handle, "file")
        self.asset = functools.cache(page.asset)
        self.uploads = 0
        self.kept: dict[Any, Any] = {}
        self.stop = threading.Event()
        self.watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.watcher.start()

    def _watch(self) -> None:
        give_way()
        with Handle(self.shared) as handle:
            handle.watch(self.stop)

    def close(self) -> None:
        """Take no more questions."""
        self.stop.set()
        for pool in (self.lookups, self.searches, self.maps, self.files, self.model):
            pool.close()
        self.watcher.join(1)

    async def file(self, name: str, _: Request) -> Response:
        content, media = self.asset(name)
        return Response(content, media_type=media, headers=FRESH)

    async def about(self, given: dict[str, Any], _: Request) -> Response:
        def about(index: Index, column: str | None) -> dict[str, Any]:
            return dict(self.page.about(index, column))

        known = await self.searches.ask(functools.partial(self._kept, about), (given["column"],), "about")
        queries = {name: one.told for name, one in self.model.columns.items()}
        return reply(text({**known, **self.model.of(given["column"]).told, "queries": queries}))

    async def map(self, given: dict[str, Any], _: Request) -> Response:
        asked = given["axes"], given["column"]
        content = await self.maps.ask(functools.partial(self._kept, self.page.points), asked)
        return Response(content, media_type="application/octet-stream", headers=FRESH)

    async def cells(self, given: dict[str, Any], _: Request) -> Response:
        def cells(index: Index, name: str, column: str | None) -> bytes:
            return text(self.page.cells(index, name, column))

        return reply(await self.maps.ask(functools.partial(self._kept, cells), (given["name"], given["column"])))

    def _kept(self, make: Callable[..., Any], handle: Handle, asked: list[tuple[str | None, ...]]) -> list[Any]:
        """What is made of the index and each of what is asked, a column last, unless it was made of this generation."""
        answers = []
        for one in asked:
            with handle.reading() as index:
                checked(index, one[-1])
                key = (handle.version, make.__name__, one)  # which an index has that is empty yet
                made = self.kept.get(key)
                if made is None:
                    made = self.kept[key] = make(index, *one)
                    for old in list(self.kept)[:-_KEPT]:
                        self.kept.pop(old, None)
                answers.append(made)
        return answers

    async def row(self, given: dict[str, Any], _: Request) -> Response:
        return reply(await self.lookups.ask(self.answers.row, (given["id"], given["column"])))

    async def similar(self, given: dict[str, Any], _: Request) -> Response:
        plainly = not (given["minus"] or given["where"] or given["per"] or given["diverse"] or given["distinct"])
        if plainly and len(given["id"]) == 1:
            lookup = (given["id"][0], given["k"], given["column"])
            return reply(await self.lookups.ask(self.answers.lookups, lookup, ("lookup", given["column"])))
        return reply(await self.searches.ask(self.answers.similar, given))

    async def path(self, given: dict[str, Any], _: Request) -> Response:
        return reply(await self.searches.ask(self.answers.path, given))

    async def search(self, given: dict[str, Any], _: Request) -> Response:
        column = self.model.of(given["column"])
        try:
            vector, note = await self.model.words(column, given["q"]), column.why
        except UserError as error:  # words that it does not know may still stand in a row
            vector, note = None, plain(error)
        if vector is None:
            return reply(await self.searches.ask(self.answers.words, {**given, "note": note}))
        return reply(await self.searches.ask(self.answers.vector, (vector, column.fingerprint, given)))

    async def query(self, given: dict[str, Any], request: Request) -> Response:
        column = self.model.of(given["column"])
        if column.state == "loading":
            raise Unready("the model still loads")
        if not column.told["file"]:
            raise Wrong("the model of this column hears no sounds" if column.embedder else column.why)
        with self._room(), upload(self.folder) as (file, path):
            size = 0
            async for block in request.stream():
                size += len(block)
                if size > BODY:
                    raise Large
                file.write(block)
            file.flush()
            if not size:
                raise Wrong("the body is empty; send the bytes of a sound file")
            vector = await self.model.sound(column, path)
        return reply(await self.searches.ask(self.answers.vector, (vector, column.fingerprint, given)))

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """Room on the disk for one more upload; Busy if there is none, before any of it is read."""
        if self.uploads >= UPLOADS:
            raise Busy
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

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


FRESH = {"cache-control": "no-store"}


def reply(body: bytes, status: int = 200, **headers: str) -> Response:
    return Response(body, status, {**FRESH, **headers}, "application/json")
