"""A route as FastAPI describes it, without FastAPI's own machinery, which costs more than an answer from the index."""

from __future__ import annotations

from typing import Any, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send


class Route(APIRoute):
    """A route whose function gets the request and, if it declares `params`, the parameters of the URL, checked."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._model: type[BaseModel] | None = get_type_hints(endpoint).get("params")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match HEAD as GET; the server sends no body then."""
        return super().matches({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        params = () if self._model is None else (parse(self._model, scope["query_string"]),)
        response = await self.endpoint(Request(scope, receive), *params)
        await response(scope, receive, send)


def parse(model: type[BaseModel], query: bytes) -> BaseModel:
    """The parameters of a URL: bytes that are not UTF-8 become surrogates, and an empty value counts as absent.

    Raises:
        HTTPException: 422, a parameter is unknown, missing, repeated or out of its range.
    """
    values: dict[str, Any] = {}
    for name, value in parse_qsl(query.decode("latin-1"), errors="surrogateescape"):
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise HTTPException(422, f"{_quote(name)}: this parameter may be given only once")
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "unknown parameter; see /docs"
        raise HTTPException(422, f"{_quote(str(first['loc'][0]))}: {message[:1].lower()}{message[1:]}") from None


def _quote(name: str) -> str:
    return ascii(name)[1:-1][:40]
