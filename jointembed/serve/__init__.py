"""A server over an index that is safe by default: for this machine only, and bounded in size and time.

`limits` says how much one request may ask for, `guard` who may come in, `protocol` how long a request may take, `pool`
how many are answered at once, `handle` how a new generation or another file is taken up, `audio` which files are heard.
The extra `serve` is asked for only once a server starts.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, missing_extra
from ..index.index import Index
from .query_models import Embedder

__all__ = ["Embedder", "Ready", "ready", "serve"]


@dataclass(frozen=True)
class Ready:
    """A server that listens.

    Args:
        address: where, with the token if there is one.
        port: its port.
        count: how many items it has.
        run: answers until it is stopped.
        stop: finishes what is under way, for some seconds at most; called twice, at once.
    """

    address: str
    port: int
    count: int
    run: Callable[[], None]
    stop: Callable[[], None]


def serve(path: Path | str, say: Callable[[str], None] = print, **how: Any) -> int:
    """Serve an index until a signal comes; the number of that signal is returned.

    Args:
        path: the index.
        say: is told the address once it can be asked.
        how: see `ready`.

    Raises:
        UsageError: see `ready`.
    """
    caught: list[int] = []
    with ready(path, **how) as server:

        def stop(number: int, _: Any) -> None:
            caught.append(number)
            server.stop()

        old = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            say(f"{Path(path).name}: {server.count:,} items at {server.address} (Ctrl-C stops the server)")
            server.run()
        finally:
            for one, handler in old.items():
                signal.signal(one, handler)
    return caught[0] if caught else 0


@contextlib.contextmanager
def ready(
    path: Path | str,
    host: str = "127.0.0.1",
    port: int = 8765,
    roots: Sequence[str] = (),
    token: str | None = None,
    load: Callable[[Path, str], Embedder] | None = None,
    page: Any = None,
) -> Iterator[Ready]:
    """A server over an index that listens, and is cleared away in the end.

    Args:
        path: the index.
        host: where to listen; anything but loopback needs a token.
        port: which port; 0 for any that is free.
        roots: folders that sounds may lie in, beside the one that the index is of.
        token: what clients must show.
        load: loads what embeds, given the index and a column of it; it is called in a thread.
        page: `asset`, `about`, `points` and `cells`; those of `jointembed.web.export` if not given.

    Raises:
        UsageError: the extra is not installed, the index or a root is not there, the port is taken, or others than this
            machine could ask without a token.
    """
    try:
        from .app import build
        from .protocol import runner
        from .server import Server
    except ImportError as error:
        raise missing_extra("serve", "fastapi") from error
    from .answers import Answers
    from .index_handle import Shared
    from .query_models import Model
    from .security import Doors, Guard

    for root in roots:
        if not os.path.isdir(root):
            raise UsageError(root, "there is no such folder to serve sounds from", "correct --root")
    with Index.open(path) as index:
        count = len(index)
    Doors(host, port, token)  # who may come in is settled before anyone can
    listening = _listening(host, port)
    doors = Doors(host, listening.getsockname()[1], token)
    with tempfile.TemporaryDirectory(prefix="jointembed-") as folder:
        model = Model(load)
        answers = Answers(doors.secret, tuple(map(os.path.abspath, roots)))
        page = page or importlib.import_module("..web.export", __name__)
        server = Server(Shared(Path(path), model.follow), answers, model, page, folder)
        running = runner(Guard(build(server), doors))

        def run() -> None:
            running.run(sockets=[listening])

        def stop() -> None:
            running.force_exit, running.should_exit = running.should_exit, True

        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{doors.port}/" + (f"?token={token}" if token else "")
        with contextlib.closing(listening), contextlib.closing(server):
            yield Ready(address, doors.port, count, run, stop)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything else is begun."""
    if not 0 <= port <= 65_535:
        raise UsageError("--port", f"there is no port {port}", "use one from 1 to 65535")
    try:
        [(family, kind, number, _, place), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.socket(family, kind, number)
    except OSError as error:
        raise UsageError("--host", f"{host} is no address of this machine", "leave it out") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        wrong = f"{host}:{port} cannot be listened at ({os.strerror(error.errno or 0).lower()})"
        raise UsageError("--port", wrong, "choose another port, or stop what uses this one") from error
    return listening
