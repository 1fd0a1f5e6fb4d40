"""The app of a server: the routes of its index, or those of each index below `/indexes/NAME`. Needs the extra `serve`.

With several indexes, `/indexes` lists them, and `/` leads to the page of the first that can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ..errors import UserError
from . import docs, index_routes, opensubsonic, schema
from .map_data import to_response
from .metrics import MEDIA_TYPE, RequestMetrics, render
from .page_files import PageFiles
from .pools import Pools
from .route import Route
from .served_index import ServedIndex
from .subsonic_protocol import Credentials

_INDEXES = "/indexes"


def build_app(
    indexes: Sequence[ServedIndex],
    roots: Sequence[str],
    pools: Pools,
    metrics: RequestMetrics,
    wait_for_layout: Callable[[Path, str | None, str], None],
    credentials: Callable[[], Credentials] | None = None,
) -> FastAPI:
    """The app of a server.

    Args:
        indexes: the indexes.
        roots: folders that sounds may be in, beside those of the indexes.
        pools: the threads that answer.
        metrics: of the requests so far.
        wait_for_layout: waits for a layout of an index and a field if it is already being computed.
        credentials: returns those of music players, which get routes of their own for a single index; None for no such
            routes.
    """
    app, page = _new_app(), PageFiles()
    names = [served.name for served in indexes]
    _add_server_routes(app, indexes, pools, metrics)
    if len(indexes) == 1:
        index_routes.add_routes(app, indexes[0], roots, pools, names, wait_for_layout)
        if credentials is not None:
            opensubsonic.add_routes(app, indexes[0].live, pools.searches, pools.covers, roots, credentials)
        app.mount("/", page)
        return app
    apps = {}
    for served in indexes:
        apps[served.name] = _new_app()
        index_routes.add_routes(apps[served.name], served, roots, pools, names, wait_for_layout)
    _add_list(app, indexes, pools)
    _describe(app, apps)
    app.router.default = _raise_no_index
    for each in apps.values():
        each.mount("/", page)
    app.mount(_INDEXES, _ByName(apps))
    return app


def index_address(name: str) -> str:
    """The address of one of several indexes, relative to that of the server."""
    return f"{_INDEXES[1:]}/{quote(name, safe='')}/"


def _new_app() -> FastAPI:
    app = FastAPI(
        title="jointembed",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={status: {"model": schema.Error} for status in (404, 422, 503)},
    )
    app.router.route_class = Route
    app.router.default = _raise_not_found

    @app.get("/docs", include_in_schema=False)
    async def documentation(_: Request) -> HTMLResponse:
        return HTMLResponse(docs.render(app.openapi()))

    return app


async def _raise_not_found(*_: Any) -> None:
    raise HTTPException(404)


async def _raise_no_index(*_: Any) -> None:
    raise HTTPException(404, f"not found; each index of this server has its own address, see {_INDEXES}")


def _add_server_routes(app: FastAPI, indexes: Sequence[ServedIndex], pools: Pools, metrics: RequestMetrics) -> None:
    @app.get("/healthz", summary="Whether the server is up; open without the token", response_model=dict[str, bool])
    async def healthz(_: Request) -> Response:
        return to_response({"ok": True})

    @app.get(
        "/metrics",
        summary="Requests, queues, and the size and version of each index, for Prometheus",
        response_class=PlainTextResponse,
    )
    async def state(request: Request) -> Response:
        sizes = await pools.monitor.run(request, render_indexes)
        lengths = [({"queue": workers.name}, workers.queue_length) for workers in pools.queues]
        queued = render("jointembed_queue_length", "gauge", "Requests that wait for a thread.", lengths)
        return Response(metrics.render() + queued + sizes, media_type=MEDIA_TYPE)

    def render_indexes() -> str:
        up, rows, info = [], [], []
        for served in indexes:
            label = {"index": served.name}
            try:
                with served.live.read() as index:
                    rows.append((label, len(index)))
                    info.append(({**label, "version": index.version}, 1))
                up.append((label, 1))
            except (HTTPException, UserError):
                up.append((label, 0))
        return (
            render("jointembed_index_up", "gauge", "Whether the index can be read.", up)
            + render("jointembed_index_rows", "gauge", "Rows of the index.", rows)
            + render("jointembed_index_info", "gauge", "The version of the index.", info)
        )


def _add_list(app: FastAPI, indexes: Sequence[ServedIndex], pools: Pools) -> None:
    """The routes of a server of several indexes."""

    @app.get(_INDEXES, summary="The indexes of the server", response_model=schema.Indexes)
    @pools.searches.in_thread
    def list_indexes() -> Response:
        return to_response({"indexes": [_summarize(served) for served in indexes]})

    def find_readable() -> str:
        return next((served.name for served in indexes if _summarize(served)["rows"] is not None), indexes[0].name)

    @app.get("/", include_in_schema=False)
    async def enter(request: Request) -> Response:
        name = await pools.searches.run(request, find_readable)
        return RedirectResponse(f"{request.scope['root_path']}/{index_address(name)}", 303)


def _summarize(served: ServedIndex) -> dict[str, Any]:
    try:
        with served.live.read() as index:
            rows = len(index)
    except HTTPException as error:
        return {"name": served.name, "address": index_address(served.name), "rows": None, "error": error.detail}
    return {"name": served.name, "address": index_address(served.name), "rows": rows}


def _describe(app: FastAPI, apps: Mapping[str, FastAPI]) -> None:
    """Describe the routes of all indexes, which are the same, with the name of the index as a parameter."""
    whole, part = app.openapi(), next(iter(apps.values())).openapi()
    parameter = {
        "name": "index",
        "in": "path",
        "required": True,
        "description": "the name of the index",
        "schema": {"type": "string", "enum": list(apps)},
    }
    for path, methods in part["paths"].items():
        whole["paths"][f"{_INDEXES}/{{index}}{path}"] = {
            method: {**operation, "parameters": [parameter, *operation.get("parameters", [])]}
            for method, operation in methods.items()
        }
    whole["components"]["schemas"] |= part["components"]["schemas"]


class _ByName:
    """An app that passes each request on to that of the index in its address."""

    def __init__(self, apps: Mapping[str, FastAPI]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        name, slash, _ = scope["path"].removeprefix(scope["root_path"] + "/").partition("/")
        app = self._apps.get(name)
        if app is None:
            raise HTTPException(404, "the server has no such index; see /indexes")
        scope["root_path"] += f"/{name}"
        if slash:
            await app.router(scope, receive, send)
        else:  # the addresses on the page are relative
            await RedirectResponse(quote(scope["root_path"]) + "/", 307)(scope, receive, send)
