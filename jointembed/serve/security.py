"""What is refused before any route sees it, and what every answer carries."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from ..errors import UsageError
from .limits import BODY, HEADERS, JSON, SAFE, URL, refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_BLOCK = 256 << 10  # bytes that are sent at once
_AGAIN = 10.0  # seconds after which the same failure is told again
_said = ("", "", 0.0)
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")


def loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Doors:
    """Who may come in.

    Args:
        host: where the server listens.
        port: its port.
        token: what a client must show; anyone on this machine may come in if there is none.

    Raises:
        UsageError: others than this machine could come in without a token, or it is too easily guessed.
    """

    host: str
    port: int
    token: str | None = None
    secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    def __post_init__(self) -> None:
        if self.token is None and not loopback(self.host):
            fix = "add --token with 16 or more letters and digits, or leave --host out"
            raise UsageError("--host", f"others could reach a server at {self.host}, so it needs a token", fix)
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            fix = "use 16 to 200 letters, digits and . _ ~ -"
            raise UsageError("--token", "it is too short, or has signs that an address cannot hold", fix)

    @property
    def cookie(self) -> bytes:
        """What a browser shows that has shown the token once: it is worth nothing after this process."""
        pass_ = hmac.digest(self.secret, (self.token or "").encode(), hashlib.sha256).hex()
        return f"jointembed{self.port}={pass_}".encode()

    def hosts(self) -> frozenset[bytes] | None:
        """The names by which it may be called; any, where a token tells friend from foe."""
        if not loopback(self.host):
            return None
        names = ("localhost", "127.0.0.1", "[::1]")
        return frozenset(f"{name}{end}".encode() for name in names for end in (f":{self.port}", "")[: self._ends])

    @property
    def _ends(self) -> int:
        return 2 if self.port == 80 else 1

    def shown(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request shows the token, or the cookie that stands for it."""
        if self.token is None:
            return True
        bearer = headers.get(b"authorization", b"")
        if bearer[:7].lower() == b"bearer ":
            return self.same(bearer[7:].strip())
        cookies = (part.strip() for part in headers.get(b"cookie", b"").split(b";"))
        return any([hmac.compare_digest(part, self.cookie) for part in cookies])

    def same(self, token: bytes) -> bool:
        """Whether this is the token, in a time that does not tell how much of it is right."""
        return self.token is not None and hmac.compare_digest(token, self.token.encode())


class Guard:
    """An app behind its doors: requests that are foreign, too large or ambiguous get no further.

    Args:
        app: what answers the others. Its HEAD comes as GET with `head` in the scope.
        doors: who may come in.
    """

    def __init__(self, app: App, doors: Doors) -> None:
        self.app, self.doors, self.hosts = app, doors, doors.hosts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begun = False

        async def safely(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message.get("headers", ()), *SAFE]}
                # What is left of a body is passed over, so that the answer is read, unless nobody knows how much it is.
                if message["status"] >= 400 and b"transfer-encoding" in dict(scope["headers"]):
                    message["headers"].append((b"connection", b"close"))
            body = message.get("body", b"")
            for at in range(0, len(body) - _BLOCK, _BLOCK):  # the clock of a slow client starts anew with each
                await send({"type": "http.response.body", "body": body[at : at + _BLOCK], "more_body": True})
                message = {**message, "body": body[at + _BLOCK :]}
            await send(message)

        try:
            known = dict(scope["headers"])
            if (wrong := self.refused(scope, known)) is not None:
                await refuse(safely, *wrong)
            elif not self.doors.shown(known):
                await self.welcome(scope, safely)
            else:
                head = scope["method"] == "HEAD"
                await self.app({**scope, "method": "GET", "head": True} if head else scope, receive, safely)
        except Exception as error:
            if not begun:
                await refuse(safely, 500, "the server failed at this; its own messages say how")
            log(error)
            if begun:
                raise  # the connection is closed, so that half an answer is not taken for a whole one

    def refused(self, scope: Scope, known: dict[bytes, bytes]) -> tuple[int, str, Headers] | None:
        """Why a request is refused whoever sends it: status, what is wrong, and headers."""
        close = [(b"connection", b"close")]
        names = [name for name, _ in scope["headers"]]
        if len(scope["raw_path"]) + len(scope["query_string"]) > URL:
            return 414, f"the URL has more than {URL:,} bytes", close
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > HEADERS:
            return 431, f"the headers have more than {HEADERS:,} bytes", close
        if any(names.count(name) > 1 for name in (b"host", b"origin", b"content-length", b"authorization")):
            return 400, "a header is there twice that may be there once", close
        if b"transfer-encoding" in known and b"content-length" in known:
            return 400, "it is not clear where the body ends", close
        if self.hosts is not None and known.get(b"host", b"").lower() not in self.hosts:
            return 403, "this server answers to localhost only", close
        if not _own(scope, known):
            return 403, "this comes from a page of another site", close
        method = scope["method"]
        if method not in ("GET", "HEAD", "POST"):
            return 405, "there is no such method here", [(b"allow", b"GET, HEAD, POST"), *close]
        length = known.get(b"content-length", b"0")
        if method != "POST" and (length.strip(b"0") or b"transfer-encoding" in known):
            return 400, f"a {method} has no body", close
        if len(length) > 18 or int(length) > BODY:
            return 413, f"the body has more than {BODY >> 20} MB", close
        return None

    async def welcome(self, scope: Scope, send: Send) -> None:
        """Let a browser in that shows the token in the address of the page, and hide it from that address."""
        shown = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=8)).get("token", "")
        if scope["path"] == "/" and scope["method"] == "GET" and self.doors.same(shown.encode()):
            cookie = self.doors.cookie + b"; Path=/; HttpOnly; SameSite=Strict"
            headers = [(b"location", b"/"), (b"set-cookie", cookie), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            wrong = "this needs the token: open the address that the server printed, or send it as a bearer"
            await refuse(send, 401, wrong, [(b"www-authenticate", b"Bearer")])


def _own(scope: Scope, known: dict[bytes, bytes]) -> bool:
    """Whether a request comes from the server's own page, or from no page at all.

    A link to the page on another site may be followed; nothing else may be fetched, shown or sent from there. A browser
    tells so itself (https://www.w3.org/TR/fetch-metadata/).
    """
    origin = known.get(b"origin")
    if origin is not None and origin.lower() != b"http://" + known.get(b"host", b"").lower():
        return False
    site = known.get(b"sec-fetch-site", b"none")
    followed = scope["method"] in ("GET", "HEAD") and known.get(b"sec-fetch-mode") == b"navigate"
    return site in (b"none", b"same-origin") or followed and known.get(b"sec-fetch-dest", b"document") == b"document"


async def refuse(send: Send, status: int, wrong: str, more: Headers | None = None) -> None:
    """Send what is wrong, as JSON."""
    body = refusal(wrong)
    headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def log(error: BaseException) -> None:
    """Say on stderr in one line what failed, and where; not the same again and again."""
    global _said
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    words = " ".join(ascii(f"{type(error).__name__}: {error}")[1:-1].split())
    now = time.monotonic()
    if (words, place) != _said[:2] or now - _said[2] > _AGAIN:
        _said = words, place, now
        print(f"jointembed: {words[:500]}{place}", file=sys.stderr, flush=True)
