"""How much one request may ask for, and what every answer carries."""

from __future__ import annotations

import json
from http import HTTPStatus

URL = 4_096  # bytes
HEADERS = 16_384  # bytes, of all of them
BODY = 50 << 20  # bytes
QUERY = 1_000  # characters of a text that is searched for
CONNECTIONS = 64
RECEIVE = 10.0  # seconds in which a request must have come as a whole
STALL = 10.0  # seconds for which a client may take nothing of an answer
IDLE = 5  # seconds for which a connection is kept for a next request
ANSWER = 30.0  # seconds that an answer may take
HEARD = 120.0  # seconds that it may take where a sound is sent
STOP = 4  # seconds in which what is under way is finished once the server is stopped

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
SAFE = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
JSON = b"application/json"


def refusal(wrong: str) -> bytes:
    """The body of an answer that says what is wrong, in one line."""
    return json.dumps({"error": " ".join(wrong.split())}).encode()


def raw(status: int, wrong: str, *more: tuple[bytes, bytes]) -> bytes:
    """A whole refusal as it goes over the wire, after which the connection is closed."""
    body = refusal(wrong)
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    own = ((b"content-type", JSON), (b"content-length", b"%d" % len(body)), (b"connection", b"close"))
    lines += [b": ".join(pair) for pair in (*own, *more, *SAFE)]
    return b"\r\n".join([*lines, b"", body])
