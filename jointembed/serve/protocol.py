"""HTTP/1.1 as uvicorn speaks it, with the deadlines and bounds that it lacks.

uvicorn has no time limit for a request that comes slowly: its only one is for the pause between two requests, and every
byte stops that (https://github.com/Kludex/uvicorn/issues/157). This file needs the extra `serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import CONNECTIONS, HEADERS, IDLE, RECEIVE, STALL, STOP, URL, raw
from .security import App

_LINE = URL + 64  # bytes of a request's first line: its method and version beside the URL
_HEAD = _LINE + HEADERS + 1_024


class Bounded(H11Protocol):
    """One connection.

    A request must have come as a whole within RECEIVE seconds, and a client must take something of an answer every
    STALL seconds. Of CONNECTIONS, one that still waits for a request makes room for a new one: of those that never sent
    a whole request, else of all, the one that waits longest. So clients that are slow on purpose, however many, do not
    keep others out. Requests that are sent before an answer has come are not answered: the connection is closed.
    """

    transport: asyncio.Transport
    receive, stall = RECEIVE, STALL

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, if need be in the place of one that waits."""
        assert isinstance(transport, asyncio.Transport)
        self._head = bytearray()
        self._served = False
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.transport = transport
        if len(self.connections) >= CONNECTIONS:
            waiting = [one for one in self.connections if isinstance(one, Bounded) and one._waiting]
            if not waiting:
                self._refuse(503, "the server has as many connections as it takes", (b"retry-after", b"1"))
                return
            first = min(waiting, key=lambda one: (one._served, one._since))
            self.connections.discard(first)
            first.transport.abort()
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # whatever a client has not taken starts the clock
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that has ended."""
        self._still()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and watch how much it is and how long it takes."""
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE:
            if not self._head:
                self._await()
            self._head += data
            if (wrong := _wrong(self._head)) is not None:
                self._refuse(*wrong)
                return
            if b"\r\n\r\n" in self._head:
                self._head.clear()
        super().data_received(data)
        if not self._waiting:
            self._still()
            self._head.clear()
            if self.conn.trailing_data[0] and self.cycle is not None:
                self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._served = True
        super().on_response_complete()
        if self._waiting and self._timer is None and not self.transport.is_closing():
            self._await()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless an answer to it is already on its way."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE, h11.ERROR):
            self._refuse(400, "this is no valid HTTP request")
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Finish the answer that is under way; close at once if there is none."""
        if self.cycle is None or self.cycle.response_complete or self._waiting:
            self.transport.abort()
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """Start the clock of a client that does not take its answer."""
        if self.flow is not None:
            super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.stall, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that clock."""
        if self.flow is not None:
            super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    @property
    def _waiting(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _await(self) -> None:
        self._still()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.receive, self._late)

    def _still(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self._head or self.conn.our_state is h11.SEND_RESPONSE:
            self._refuse(408, f"the request took more than {self.receive:.0f} s")
        else:
            self.transport.abort()

    def _refuse(self, status: int, wrong: str, *more: tuple[bytes, bytes]) -> None:
        self._still()
        self.transport.write(raw(status, wrong, *more))
        self.transport.close()


def _wrong(head: bytearray) -> tuple[int, str] | None:
    """Why what has come of a request's first line and headers is refused; h11 would take lines that end in bare LF."""
    end = head.find(b"\r\n\r\n")
    known = head[: end + 4] if end >= 0 else head
    line = known.find(b"\r\n")
    if (line if line >= 0 else len(known)) > _LINE:
        return 414, f"the URL has more than {URL:,} bytes"
    if len(known) > _HEAD:
        return 431, f"the headers have more than {HEADERS:,} bytes"
    if known.count(b"\n") != known.count(b"\r\n"):
        return 400, "this is no valid HTTP request"
    return None


class _Runner(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs it: uvicorn would end the process by them."""
        yield


def runner(app: App) -> uvicorn.Server:
    """What runs an app; it must not print, for a URL may hold a token."""
    config = uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        loop="asyncio",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=_HEAD,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=STOP,
    )
    return _Runner(config)
