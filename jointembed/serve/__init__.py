"""A server over indexes, safe by default: for this machine only, and bounded in size and time.

`security` decides who may ask, `schema` what can be asked, `app` and `index_routes` what is answered, `pools` how much
at once; `opensubsonic` answers music players in their `subsonic_protocol`, and `song_lookup` finds the songs they name;
`live_index` picks up new versions of the index, `query_models` embeds queries, and `metrics` counts. The extra `serve`
is needed only to start a server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError, UserError, missing_extra
from ..index.index import Index

__all__ = ["RunningServer", "open_server", "serve"]

_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
_STOP_SECONDS = 4  # for requests that are being answered when the server stops
_MAX_HEAD_BYTES = 32_768  # of a request, while it is incomplete


@dataclass(frozen=True)
class RunningServer:
    """A server that listens.

    Args:
        address: its address, with the token if there is one.
        port: its port.
        summary: the indexes with their numbers of items and the addresses of their pages, a line each.
        run: answers requests until the server is stopped.
        stop: finishes the current requests, for a few seconds; called twice, stops at once.
        reload: opens the indexes again, retries the models that could not be loaded, and takes a new token and a new
            `USER:PASSWORD` of music players; requests that are being answered go on. UsageError as of `open_server`.
    """

    address: str
    port: int
    summary: str
    run: Callable[[], None]
    stop: Callable[[], None]
    reload: Callable[[str | None, str | None], None]


def serve(
    paths: Path | str | Sequence[Path | str],
    on_ready: Callable[[str], None] = print,
    read_secrets: Callable[[], tuple[str | None, str | None]] = lambda: (None, None),
    **options: Any,
) -> int:
    """Serve indexes until a signal comes, and return its number.

    SIGHUP reads the indexes and the secrets again, unless it says that the terminal of this process has been closed.

    Args:
        paths: an index, or several.
        on_ready: called with the addresses, a line for each index, once the server listens, and with a line after each
            reload.
        read_secrets: reads the `token` and `opensubsonic` of `open_server`.
        options: see `open_server`, also for what is raised.
    """
    received: list[int] = []
    token, opensubsonic = read_secrets()
    with open_server(paths, token=token, opensubsonic=opensubsonic, **options) as server:

        def stop(number: int, _: Any) -> None:  # uvicorn handles signals itself while it runs, then raises them again
            received.append(number)
            server.stop()

        def reload() -> None:
            from .errors import log_error

            try:
                server.reload(*read_secrets())
                on_ready("the indexes and the token have been read again")
            except UserError as error:  # everything stays as it was
                log_error(error)

        has_terminal = _HANGUP is not None and signal.getsignal(_HANGUP) != signal.SIG_IGN and _has_terminal()

        def hang_up(number: int, frame: Any) -> None:
            if has_terminal and not _has_terminal():
                stop(number, frame)
            else:  # in a thread: what a handler prints could come into the midst of what the main thread prints
                threading.Thread(target=reload, name="reload").start()

        handlers = {signal.SIGINT: stop, signal.SIGTERM: stop} | ({} if _HANGUP is None else {_HANGUP: hang_up})
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            on_ready(f"{server.summary} (Ctrl-C stops the server)")
            server.run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    return received[0] if received else 0


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal, which has not been closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def open_server(
    paths: Path | str | Sequence[Path | str],
    host: str = "127.0.0.1",
    port: int = 8765,
    roots: Sequence[str] = (),
    token: str | None = None,
    load: Callable[[Path, str], Any] | None = None,
    root_path: str = "",
    access_log: bool = False,
    precompute: bool = False,
    opensubsonic: str | None = None,
) -> Iterator[RunningServer]:
    """A server that listens, and is closed at the end of the block.

    Args:
        paths: an index, which has the addresses of the server, or several, each below `/indexes/NAME`; see
            `choose_names`.
        host: the address to listen at; anything but loopback needs a token.
        port: the port; 0 for any free one.
        roots: folders that sounds may be in, beside the indexed folder.
        token: what clients must present.
        load: loads the `Embedder` of a field, given the index and the field's name; it is called in a thread.
        root_path: the prefix of all addresses behind a proxy, such as `/songs`.
        access_log: whether to print each request on stderr, in the common log format.
        precompute: whether to compute the UMAP layouts of a small index while the server is idle.
        opensubsonic: `USER:PASSWORD`, to answer music players under `/rest`; the token is their API key.

    Raises:
        UsageError: the extra is not installed, an index or a root does not exist, the port is taken, other machines
            could ask without a token, the password of music players is easy to guess, or they are given several
            indexes.
    """
    try:
        import uvicorn

        from .app import build_app, index_address
    except ImportError as error:
        raise missing_extra("serve", "fastapi") from error
    from .layout_precompute import LayoutPrecomputer
    from .live_index import LiveIndex
    from .metrics import RequestMetrics
    from .pools import Pools
    from .query_models import ModelRegistry
    from .security import AccessPolicy, SecurityMiddleware
    from .served_index import ServedIndex, choose_names
    from .subsonic_protocol import Credentials

    for root in roots:
        if not os.path.isdir(root):
            raise UsageError(root, "this folder does not exist", "correct --root")
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    names, counts = choose_names(files), []
    for path in files:
        with Index.open(path) as index:
            counts.append(len(index))
    if opensubsonic is not None and len(files) > 1:
        problem = f"music players get the songs of a single index, and {len(files)} are given"
        raise UsageError("--opensubsonic", problem, "serve one index with it, and the others at another --port")
    credentials = None if opensubsonic is None else Credentials.parse(opensubsonic, token)
    policy = AccessPolicy(host, port, token, root_path, opensubsonic is not None)  # refused before anybody can connect
    pools, metrics = Pools(), RequestMetrics()
    indexes = []
    for name, path in zip(names, files, strict=True):
        models = ModelRegistry(load, pools)
        indexes.append(ServedIndex(name, LiveIndex(path, models.sync), models))
    precomputer = LayoutPrecomputer(
        [served.live for served in indexes], lambda: time.monotonic() - metrics.last_request
    )
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(_listen(host, port)))
        stack.callback(pools.close)
        for served in indexes:
            stack.callback(served.live.close)
        stack.callback(precomputer.close)
        policy = replace(policy, port=listener.getsockname()[1])

        def get_credentials() -> Credentials:
            assert credentials is not None
            return credentials

        get = None if credentials is None else get_credentials
        app = build_app(indexes, [*map(os.path.abspath, roots)], pools, metrics, precomputer.wait, get)
        # Without FastAPI's own middleware, which costs time.
        security = SecurityMiddleware(app.router, policy, metrics, access_log)
        config = uvicorn.Config(
            security,
            http="h11",
            ws="none",
            loop="asyncio",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,  # its log would contain the token of the page's address
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        server = uvicorn.Server(config)

        def run() -> None:
            server.run(sockets=[listener])

        def stop() -> None:
            server.force_exit, server.should_exit = server.should_exit, True

        def reload(token: str | None, opensubsonic: str | None) -> None:
            nonlocal credentials
            policy = replace(security.policy, token=token)
            if credentials is not None and opensubsonic is not None:
                credentials = Credentials.parse(opensubsonic, token)
            security.policy = policy
            for served in indexes:
                served.live.reload()
                served.models.retry()

        for served in indexes:
            served.live.start()
        if precompute:
            precomputer.start()
        address = f"http://{f'[{host}]' if ':' in host else host}:{policy.port}{root_path}/"
        entry = address + (f"?token={token}" if token else "")
        facts = [f"{path.name}: {count:,} items" for path, count in zip(files, counts, strict=True)]
        if len(files) == 1:
            summary = f"{facts[0]} at {entry}"
        else:
            lines = [f"{fact} at {address}{index_address(name)}" for fact, name in zip(facts, names, strict=True)]
            summary = "\n".join([*lines, f"{len(files)} indexes at {entry}"])
        yield RunningServer(entry, policy.port, summary, run, stop, reload)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything else is started."""
    if not 0 <= port <= 65_535:
        raise UsageError("--port", f"the port must be between 0 and 65535, got {port}", "choose another port")
    family, is_dual = (socket.AF_INET6, socket.has_dualstack_ipv6()) if ":" in host else (socket.AF_INET, False)
    try:
        listener = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=is_dual)
    except OSError as error:
        reason = str(error.strerror).split(" (")[0].lower()
        fix = "choose another port, stop the program that uses it, or leave --host out"
        raise UsageError("--port", f"cannot listen at {host}:{port} ({reason})", fix) from error
    # Connections inherit it. Without it, the body of an answer waits up to 40 ms for the client to confirm the headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
