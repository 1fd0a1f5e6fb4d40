"""Access control and security headers, as ASGI middleware.

A page of another site can send requests to a server on this machine; the checks of Host, Origin and Sec-Fetch-Site
refuse them (DNS rebinding and cross-site requests). Starlette's TrustedHostMiddleware ignores the port and breaks
`[::1]`. With a token any Host is accepted, that of a proxy too: a page that rebinds its name has no token or cookie.

uvicorn bounds the size of a request's head, but neither how long it may take nor how many connections there are. A slow
connection costs no more than a file descriptor: 200 of them do not slow others down. For a server that others than this
machine can reach, put a proxy in front of it, for TLS too.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import re
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import UsageError
from .errors import answer_error, error_response
from .metrics import RequestMetrics

MAX_BODY_BYTES = 50 << 20
MAX_TARGET_BYTES = 8_192  # path and query
STALL_SECONDS = 30.0  # for which a client may take nothing of a file

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_SECURITY_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # in English whatever the locale
_SECRET_IN_URL = re.compile(r"((?:token|apiKey|[?&][pts])=)[^&]+")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
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
        opensubsonic: whether routes below `/rest` check credentials of their own.

    Raises:
        UsageError: others could ask without a token, the token is easy to guess, or the prefix is not a path.
    """

    host: str
    port: int
    token: str | None = None
    root_path: str = ""
    opensubsonic: bool = False
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

    @cached_property
    def cookie(self) -> str:
        """What a browser sends once it has presented the token; it is void after this process.

        It has one name a port: cookies of other servers on this machine are sent too.
        """
        return f"jointembed{self.port}={hmac.digest(self.secret, (self.token or '').encode(), hashlib.sha256).hex()}"

    @cached_property
    def allowed_hosts(self) -> frozenset[bytes]:
        """The Host headers that are answered where no token protects the server."""
        names = ("localhost", "127.0.0.1", "[::1]")
        hosts = [f"{name}:{self.port}" for name in names] + (list(names) if self.port == 80 else [])
        return frozenset(host.encode() for host in hosts)

    def is_open(self, path: str) -> bool:
        """Whether a path is answered without the token: it tells nothing, or checks other credentials."""
        return path == "/healthz" or (self.opensubsonic and path.startswith("/rest/"))

    def is_authorized(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request presents the token as a bearer, or the cookie that stands for it."""
        if self.token is None:
            return True
        if b"authorization" in headers:
            return self.has_bearer(headers)
        cookies = headers.get(b"cookie", b"").split(b";")
        return any(hmac.compare_digest(cookie.strip(), self.cookie.encode()) for cookie in cookies)

    def has_bearer(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request presents the token as a bearer, which no browser adds of its own accord."""
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and self.is_token(bearer.strip())

    def is_token(self, token: bytes) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is not None and hmac.compare_digest(token, self.token.encode())


class SecurityMiddleware:
    """An app behind an access policy: foreign and oversized requests are refused before any route sees them.

    Args:
        app: the app; what it raises becomes an answer.
        policy: who may ask.
        metrics: count each request.
        access_log: whether to print each request on stderr, in the common log format.
    """

    def __init__(self, app: ASGIApp, policy: AccessPolicy, metrics: RequestMetrics, access_log: bool = False) -> None:
        self.app, self.policy, self.metrics, self.access_log = app, policy, metrics, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)  # the start and the end of the server
            return
        status, size, is_stream, started = 0, 0, False, time.monotonic()

        async def send_safely(message: Message) -> None:
            nonlocal status, size, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_SECURITY_HEADERS]
                names = {name for name, _ in message["headers"]}
                if b"cache-control" not in names:
                    message["headers"].append((b"cache-control", b"no-cache" if b"etag" in names else b"no-store"))
            if scope["method"] != "HEAD":  # its body is not sent
                size += len(message.get("body", b""))
            if is_stream:
                async with asyncio.timeout(STALL_SECONDS):
                    await send(message)
            else:  # nothing waits to be taken by the client
                await send(message)
                is_stream = bool(message.get("more_body"))

        root_path = self.policy.root_path
        path = root_path + scope["path"].removeprefix(root_path)  # whether or not a proxy has removed the prefix
        inner = {**scope, "root_path": root_path, "path": path}  # the router puts the route into it
        try:
            answer = self._refuse(scope) or self.app
            await answer(inner, receive, send_safely)
        except Exception as error:
            answer = answer_error(error)
            if status:
                raise  # the connection is closed, so that half an answer is not taken for a whole one
            await answer(scope, receive, send_safely)
        finally:
            route = inner["root_path"].removeprefix(root_path) + inner["route"].path if "route" in inner else "other"
            self.metrics.observe(route, status, time.monotonic() - started)
            if self.access_log:
                # In one write: the break of the line would otherwise follow that of another thread or process.
                print(_log_line(scope, status, size) + "\n", end="", file=sys.stderr, flush=True)

    def _refuse(self, scope: Scope) -> Response | None:
        """The answer to a request that does not reach the app: a refusal, or the exchange of the token for a cookie."""
        policy, method = self.policy, scope["method"]
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").lower()
        length = headers.get(b"content-length", b"0")
        status, message = 0, ""
        if len(_target(scope)) > MAX_TARGET_BYTES:
            status, message = 414, f"the URL is longer than {MAX_TARGET_BYTES:,} bytes"
        elif policy.token is None and host not in policy.allowed_hosts:
            status, message = 403, "this server answers to localhost only"
        elif not (policy.has_bearer(headers) or self._is_own_page(method, headers, host)):
            status, message = 403, "cross-site request refused"
        elif method not in ("GET", "HEAD", "POST"):
            status, message = 405, "this method is not supported"
        elif b"transfer-encoding" in headers and b"content-length" in headers:
            status, message = 400, "the length of the body is ambiguous"
        elif len(length) > 18 or int(length) > MAX_BODY_BYTES:
            status, message = 413, f"the body is larger than {MAX_BODY_BYTES >> 20} MB"
        if status:
            return error_response(status, message, {"connection": "close"})
        path = scope["path"].removeprefix(policy.root_path)
        if policy.is_open(path) or policy.is_authorized(headers):
            return None
        values = dict(parse_qsl(scope["query_string"].decode("latin-1"), errors="surrogateescape"))
        token = values.get("token", "").encode("utf-8", "surrogateescape")
        if path == "/" and method == "GET" and policy.is_token(token):
            prefix = f"{policy.root_path}/"
            cookie = f"{policy.cookie}; Path={prefix}; HttpOnly; SameSite=Strict"
            return Response(status_code=303, headers={"location": prefix, "set-cookie": cookie})
        message = "this server needs its token: open the address that it printed, or send the token as a bearer"
        return error_response(401, message, {"connection": "close", "www-authenticate": "Bearer"})

    def _is_own_page(self, method: str, headers: dict[bytes, bytes], host: bytes) -> bool:
        """Whether no page of another site has sent a request.

        A proxy, which needs a token, may add TLS and change the Host; the browser still says in Sec-Fetch-Site, which
        no page can set, whose page it was, and an old one at least its Origin.
        """
        origin = headers.get(b"origin")
        if not _is_same_site(method, headers):
            return False
        if self.policy.token is None:
            return origin is None or origin.lower() == b"http://" + host
        if origin is None or b"sec-fetch-site" in headers:
            return True
        hosts = (host, headers.get(b"x-forwarded-host", b"").lower())  # a page can set it for its own site only
        return origin.lower() in [scheme + name for scheme in (b"http://", b"https://") for name in hosts]


def _is_same_site(method: str, headers: dict[bytes, bytes]) -> bool:
    """Whether Sec-Fetch-Site allows a request (https://www.w3.org/TR/fetch-metadata/).

    A link to the page on another site may be followed; nothing else may be fetched, embedded or sent from there.
    """
    is_link = (
        method in ("GET", "HEAD")
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest", b"document") == b"document"
    )
    return headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin") or is_link


def _log_line(scope: Scope, status: int, size: int) -> str:
    """A request in the common log format (https://en.wikipedia.org/wiki/Common_Log_Format), without secrets."""
    target = _SECRET_IN_URL.sub(r"\1...", ascii(_target(scope).decode("latin-1"))[1:-1]).replace('"', "%22")
    client = (scope.get("client") or ("-",))[0]
    now = time.localtime()
    date = f"{now.tm_mday:02}/{_MONTHS[now.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S %z', now)}"
    request = f"{scope['method']} {target} HTTP/{scope['http_version']}"
    return f'{client} - - [{date}] "{request}" {status or "-"} {size or "-"}'


def _target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or b""
    return path + b"?" + query if query else path
