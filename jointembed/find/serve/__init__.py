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
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import Usage, extra
from ..index import Index
from .model import Embedder

__all__ = ["Embedder", "serve"]


def serve(
    path: Path | str,
    host: str = "127.0.0.1",
    port: int = 8765,
    roots: Sequence[str] = (),
    token: str | None = None,
    load: Callable[[Path], Embedder] | None = None,
    page: Any = None,
    say: Callable[[str], None] = print,
) -> int:
    """Serve an index until a signal comes; the number of that signal is returned.

    Args:
        path: the index.
        host: where to listen; anything but loopback needs a token.
        port: which port; 0 for any that is free.
        roots: folders that sounds may lie in, beside the one that the index is of.
        token: what clients must show.
        load: loads what embeds, given the index; it is called in a thread.
        page: `asset`, `about`, `points` and `cells`; those of `jointembed.find.page` if not given.
        say: is told the address once it can be asked.

    Raises:
        Usage: the extra is not installed, the index or a root is not there, the port is taken, or others than this
            machine could ask without a token.
    """
    try:
        import uvicorn

        from .app import Server, build
        from .protocol import settings
    except ImportError as error:
        raise extra("serve", "fastapi") from error
    from .answers import Answers
    from .guard import Doors, Guard
    from .handle import Shared
    from .model import Model

    for root in roots:
        if not os.path.isdir(root):
            raise Usage(root, "there is no such folder to serve sounds from", "correct --root")
    with Index.open(path) as index:
        count = len(index)
    Doors(host, port, token)
    listening = _listening(host, port)
    port = listening.getsockname()[1]
    doors = Doors(host, port, token)
    with tempfile.TemporaryDirectory(prefix="jointembed-") as folder:
        model = Model(load)
        shared = Shared(Path(path), model.follow)
        server = Server(
            shared,
            Answers(doors.secret, tuple(map(os.path.abspath, roots))),
            model,
            page or importlib.import_module("...page", __name__),
            folder,
        )
        running = uvicorn.Server(uvicorn.Config(**settings(Guard(build(server), doors))))
        with _signals(running) as caught, contextlib.closing(server):
            shown = f"[{host}]" if ":" in host else host
            key = f"?token={token}" if token else ""
            say(f"{Path(path).name}: {count:,} items at http://{shown}:{port}/{key} (Ctrl-C stops the server)")
            running.run(sockets=[listening])
    return caught[0] if caught else 0


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything else is begun."""
    if not 0 <= port <= 65_535:
        raise Usage("--port", f"there is no port {port}", "use one from 1 to 65535")
    try:
        [(family, kind, number, _, place), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.socket(family, kind, number)
    except OSError as error:
        raise Usage("--host", f"{host} is no address of this machine", "leave it out") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        wrong = f"{host}:{port} cannot be listened at ({os.strerror(error.errno or 0).lower()})"
        raise Usage("--port", wrong, "choose another port, or stop what uses this one") from error
    return listening


@contextlib.contextmanager
def _signals(running: Any) -> Iterator[list[int]]:
    """Stop the server at a signal, and tell which it was; uvicorn itself would end the process by it."""
    caught: list[int] = []

    def stop(number: int, _: Any) -> None:
        running.force_exit = bool(caught)
        caught.append(number)
        running.should_exit = True

    running.capture_signals = contextlib.nullcontext
    try:
        old = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: whoever started it stops it
        old = {}
    try:
        yield caught
    finally:
        for one, handler in old.items():
            signal.signal(one, handler)
        sys.stderr.flush()
