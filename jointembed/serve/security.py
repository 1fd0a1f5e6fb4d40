"""Access control and security headers, as ASGI middleware.

A page of another site can send requests to a server on this machine; the checks of Host, Origin and Sec-Fetch-Site
refuse them (DNS rebinding and cross-site requests). Starlette's TrustedHostMiddleware ignores the port and breaks
`[::1]`. Slow clients are left to the event loop, for which an idle connection costs nothing: 200 of them do not slow
others down. For a server that others than this machine can reach, put a proxy in front of it, for TLS too.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from ..errors import UsageError
from .errors import log_error

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 50 << 20
MAX_TARGET_BYTES = 8_192  # path and query
STALL_SECONDS = 30.0  # for which a client may take nothing of its answer

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_METHODS = ("GET", "HEAD", "POST")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_TOKEN_IN_URL = re.compile(r"(?<=token=)[^&]+")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class AccessPolicy:
    """Rules for which requests the server accepts.

    Args:
        host: the address that the server listens at.
        port: its port.
        token: what clients must present; without one, everybody on this machine may ask.
        root_path: the prefix of all addresses behind a proxy, such as `/songs`.

    Raises:
        UsageError: others could ask without a token, the token is easy to guess, or the prefix is not a path.
    """

    host: str
    port: int
    token: str | None = None
    root_path: str = ""
    secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            fix = "set a token of 16 or more characters by --token-file or JOINTEMBED_TOKEN, or leave --host out"
            raise UsageError("--host", f"other machines can reach a server at {self.host}, so it needs a token", fix)
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            fix = "use 16 to 200 letters, digits and . _ ~ -"
            raise UsageError("token", "the token is too short, or has characters that a URL cannot contain", fix)
        if self.root_path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", self.root_path):
            raise UsageError("--root-path", f"{self.root_path} is not a path", "use a path such as /songs")

    @property
    def cookie_name(self) -> str:
        """One name a port: cookies of other servers on this machine are sent too."""
        return f"jointembed{self.port}"

    @property
    def cookie(self) -> str:
        """What a browser sends once it has presented the token; it is void after this process."""
        return hmac.digest(self.secret, (self.token or "").encode(), hashlib.sha256).hex()

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """The Host headers that are answered; any, where a token protects the server."""
        if self.token is not None:
            return None
        names = ("localhost", "127.0.0.1", "[::1]")
        return frozenset(f"{name}:{self.port}" for name in names) | (frozenset(names) if self.port == 80 else set())

    def is_authorized(self, headers: dict[str, str]) -> bool:
        """Whether a request presents the token as a bearer, or the cookie that stands for it."""
        if self.token is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(bearer.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.cookie.encode())

    def is_token(self, token: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())


class SecurityMiddleware:
    """An app behind an access policy: foreign and oversized requests are refused before any route sees them.

    Args:
        app: the app. HEAD reaches it as GET; the server sends no body then.
        policy: who may ask.
        access_log: whether to print each request on stderr.
    """

    def __init__(self, app: App, policy: AccessPolicy, access_log: bool = False) -> None:
        self.app, self.policy, self.access_log = app, policy, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)  # the start and the end of the server
            return
        status, is_complete, started = 0, False, time.monotonic()

        async def send_safely(message: Message) -> None:
            nonlocal status, is_complete
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {name.lower() for name, _ in message["headers"]}
                cache = (
                    {}
                    if b"cache-control" in names
                    else {"cache-control": "no-cache" if b"etag" in names else "no-store"}
                )
                more = [(name.encode(), value.encode()) for name, value in {**SECURITY_HEADERS, **cache}.items()]
                message = {**message, "headers": [*message["headers"], *more]}
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._answer(scope, receive, send_safely)
        except Exception as error:
            log_error(error)
            if not status:
                await _refuse(send_safely, 500, "the server failed; see its log")
            elif not is_complete:
                raise  # the connection is closed, so that half an answer is not taken for a whole one
        finally:
            if self.access_log:
                target = _TOKEN_IN_URL.sub("...", ascii(_target(scope))[1:-1])
                client = (scope.get("client") or ("-",))[0]
                milliseconds = 1000 * (time.monotonic() - started)
                line = f'{client} "{scope["method"]} {target}" {status or "-"} {milliseconds:.0f} ms'
                print(line, file=sys.stderr, flush=True)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = self.policy
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"].removeprefix(policy.root_path)
        if (violation := self._violation(scope, headers)) is not None:
            await _refuse(send, *violation)
        elif path == "/healthz" or policy.is_authorized(headers):
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            await self.app({**scope, "method": method, "root_path": policy.root_path}, receive, send)
        else:
            await self._log_in(scope, path, send)

    def _violation(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is refused whoever sends it: a status and the reason."""
        allowed = self.policy.allowed_hosts
        if len(_target(scope)) > MAX_TARGET_BYTES:
            return 414, f"the URL is longer than {MAX_TARGET_BYTES:,} bytes"
        if allowed is not None and headers.get("host", "").lower() not in allowed:
            return 403, "this server answers to localhost only"
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if not all(self._is_same_origin(origin, headers.get("host", "")) for origin in origins):
            return 403, "cross-site request refused"
        if not _is_same_site(scope["method"], headers):
            return 403, "cross-site request refused"
        if scope["method"] not in _METHODS:
            return 405, "this method is not supported"
        if "transfer-encoding" in headers and "content-length" in headers:
            return 400, "the length of the body is ambiguous"
        length = headers.get("content-length", "0")
        if len(length) > 18 or int(length) > MAX_BODY_BYTES:
            return 413, f"the body is larger than {MAX_BODY_BYTES >> 20} MB"
        return None

    def _is_same_origin(self, origin: str, host: str) -> bool:
        """Whether a request comes from a page of this server; a proxy, which needs a token, may add TLS."""
        schemes = ("http", "https") if self.policy.token is not None else ("http",)
        return origin.lower() in {f"{scheme}://{host.lower()}" for scheme in schemes}

    async def _log_in(self, scope: Scope, path: str, send: Send) -> None:
        """Exchange the token in the address of the page for a cookie, and remove it from the address."""
        token = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=8)).get("token", "")
        if path == "/" and scope["method"] == "GET" and self.policy.is_token(token):
            prefix = f"{self.policy.root_path}/"
            cookie = f"{self.policy.cookie_name}={self.policy.cookie}; Path={prefix}; HttpOnly; SameSite=Strict"
            headers = [(b"location", prefix.encode()), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            message = "this server needs its token: open the address that it printed, or send the token as a bearer"
            await _refuse(send, 401, message, (b"www-authenticate", b"Bearer"))


def _is_same_site(method: str, headers: dict[str, str]) -> bool:
    """Whether Sec-Fetch-Site allows a request (https://www.w3.org/TR/fetch-metadata/).

    A link to the page on another site may be followed; nothing else may be fetched, embedded or sent from there.
    """
    is_link = (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
    )
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin") or is_link


def _target(scope: Scope) -> str:
    path = (scope.get("raw_path") or b"").decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def error_body(message: str) -> bytes:
    """The JSON body of an error: `{"error": "one line"}`."""
    return json.dumps({"error": " ".join(message.split())}).encode()


async def _refuse(send: Send, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
    body = error_body(message)
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
