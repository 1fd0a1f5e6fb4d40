"""The files of the page, which are few and small, from memory: reading them again costs three times as much."""

from __future__ import annotations

import hashlib
import mimetypes

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..web.export import STATIC


class PageFiles:
    """An app that answers with the files of the page; a browser that has a file already is told that it is the same."""

    def __init__(self) -> None:
        self._answers: dict[str, Response] = {}
        for path in STATIC.iterdir():
            content = path.read_bytes()
            headers = {"etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
            kind = mimetypes.guess_type(path.name)[0]
            self._answers[f"/{path.name}"] = Response(content, headers=headers, media_type=kind)
        self._answers["/"] = self._answers["/index.html"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405)
        answer = self._answers.get(scope["path"].removeprefix(scope["root_path"]))
        if answer is None:
            raise HTTPException(404)
        if Headers(scope=scope).get("if-none-match") == answer.headers["etag"]:
            answer = Response(status_code=304, headers={"etag": answer.headers["etag"]})
        await answer(scope, receive, send)
