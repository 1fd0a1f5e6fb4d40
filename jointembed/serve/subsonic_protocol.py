"""The Subsonic protocol: parameters, authentication, and answers in XML or JSON.

The protocol is that of https://opensubsonic.netlify.app/docs/api-reference/, version 1.16.1. Its pages show only the
JSON of what OpenSubsonic adds. The XML follows the schema of the older answers: a scalar is an attribute, an object an
element, and each item of a list an element of the same name. The parameters `v` and `c`, the version and the name of
the client, make no difference here, and may be missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..errors import UsageError

PROTOCOL_VERSION = "1.16.1"
MIN_PASSWORD_CHARS = 8
_MAX_FORM_BYTES = 65_536
_FORM_SECONDS = 30.0
_MAX_ID_CHARS = 4_096
_AUTHENTICATION = ("u", "p", "t", "s", "apiKey")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # of XML 1.0
_HEX_ID = "hex:"

GENERIC, MISSING_PARAMETER, WRONG_PASSWORD, UNSUPPORTED, CONFLICT, WRONG_API_KEY, NOT_FOUND = 0, 10, 40, 42, 43, 44, 70
Values = Mapping[str, list[str]]

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class SubsonicError(Exception):
    """A failed request: the code of the protocol, and what is wrong in one line."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Credentials:
    """Who may use the API.

    Args:
        user: the name of the user.
        password: the password, which the protocol's tokens need in clear text.
        api_key: what a client may send instead of both, if anything.

    Raises:
        UsageError: a name is missing, or the password is easy to guess.
    """

    user: str
    password: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.user or len(self.password) < MIN_PASSWORD_CHARS:
            fix = f"give USER:PASSWORD with a password of at least {MIN_PASSWORD_CHARS} characters"
            raise UsageError("--opensubsonic", "the user is missing, or the password is too short", fix)

    @classmethod
    def parse(cls, text: str, api_key: str | None = None) -> Credentials:
        """The credentials of `USER:PASSWORD`."""
        user, _, password = text.strip().partition(":")
        return cls(user, password, api_key)

    def check(self, values: Values) -> None:
        """Raise SubsonicError unless a request presents the user and the password, or the API key."""
        proofs = {name: values[name] for name in _AUTHENTICATION if name in values}
        has_token = "t" in proofs or "s" in proofs
        if any(len(texts) > 1 for texts in proofs.values()) or (
            ("apiKey" in proofs and len(proofs) > 1) or ("p" in proofs and has_token)
        ):
            raise SubsonicError(CONFLICT, "multiple conflicting authentication mechanisms provided")
        if "apiKey" in proofs:
            if self.api_key is None:
                raise SubsonicError(UNSUPPORTED, "this server has no API key, since it was started without a token")
            if not _is_equal(proofs["apiKey"][0], self.api_key):
                raise SubsonicError(WRONG_API_KEY, "invalid API key")
            return
        user = read_text(values, "u")
        if has_token:
            secret = _to_bytes(self.password + read_text(values, "s"))
            is_right = _is_equal(read_text(values, "t").lower(), hashlib.md5(secret, usedforsecurity=False).hexdigest())
        else:
            is_right = _is_equal(_decode_password(read_text(values, "p")), self.password)
        if not (_is_equal(user, self.user) & is_right):  # whichever is wrong takes the same time
            raise SubsonicError(WRONG_PASSWORD, "wrong username or password")


async def read_values(request: Request) -> Values:
    """The parameters of a request, from its URL and from the form in its body; those without a value are absent.

    Bytes that are not UTF-8 become surrogates.

    Raises:
        SubsonicError: the form is too long, or takes too long.
    """
    body = bytearray()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind == "application/x-www-form-urlencoded":
        try:
            async with asyncio.timeout(_FORM_SECONDS):
                async for block in request.stream():
                    body += block
                    if len(body) > _MAX_FORM_BYTES:
                        raise SubsonicError(GENERIC, f"the form is longer than {_MAX_FORM_BYTES >> 10} kB")
        except TimeoutError:
            raise SubsonicError(GENERIC, f"the form took longer than {_FORM_SECONDS:.0f} s") from None
    values: dict[str, list[str]] = {}
    for part in (request.scope["query_string"], bytes(body)):
        for name, texts in parse_qs(part.decode("utf-8", "surrogateescape"), errors="surrogateescape").items():
            values.setdefault(name, []).extend(texts)
    return values


def read_text(values: Values, name: str) -> str:
    """The value of a parameter.

    Raises:
        SubsonicError: it is missing, repeated or too long.
    """
    texts = values.get(name, [])
    if not texts:
        raise SubsonicError(MISSING_PARAMETER, f"required parameter is missing: {name}")
    if len(texts) > 1:
        raise SubsonicError(GENERIC, f"{name}: this parameter may be given only once")
    if len(texts[0]) > _MAX_ID_CHARS:
        raise SubsonicError(GENERIC, f"{name}: a value has at most {_MAX_ID_CHARS:,} characters")
    return texts[0]


def read_count(values: Values, default: int, least: int, most: int) -> int:
    """The parameter `count`, a maximum: more than `most` is `most`.

    Raises:
        SubsonicError: it is repeated, no whole number, or less than `least`.
    """
    if "count" not in values:
        return default
    text = read_text(values, "count")
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
        raise SubsonicError(GENERIC, f"count: must be a whole number from {least} on")
    return min(int(text), most)


def render(answer: Mapping[str, Any], is_json: bool) -> Response:
    """The answer of a request that succeeded."""
    return _render({"status": "ok", **_SERVER, **answer}, is_json)


def render_error(error: SubsonicError, is_json: bool) -> Response:
    """The answer of a request that failed; its HTTP status is 200 too."""
    failure = {"code": error.code, "message": " ".join(error.message.split())}
    return _render({"status": "failed", **_SERVER, "error": failure}, is_json)


def public_id(id: str) -> str:
    """The id of an item as XML can contain it; see `private_id`."""
    return _HEX_ID + id.encode("utf-8", "surrogatepass").hex() if _NOT_IN_XML.search(id) else id


def private_id(id: str) -> str | None:
    """The id that `public_id` changed; None if it changed none."""
    if not id.startswith(_HEX_ID):
        return None
    try:
        return bytes.fromhex(id.removeprefix(_HEX_ID)).decode("utf-8", "surrogatepass")
    except ValueError:
        return None


_SERVER = {"version": PROTOCOL_VERSION, "type": "jointembed", "serverVersion": __version__, "openSubsonic": True}


def _render(body: Mapping[str, Any], is_json: bool) -> Response:
    if is_json:
        return Response(_to_json({"subsonic-response": body}), media_type="application/json")
    root = ElementTree.Element("subsonic-response", xmlns="http://subsonic.org/restapi")
    _fill(root, body)
    return Response(ElementTree.tostring(root, "utf-8", xml_declaration=True), media_type="application/xml")


def _fill(element: ElementTree.Element, body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if not isinstance(value, dict | list):
            element.set(name, _to_xml(value))
            continue
        for item in value if isinstance(value, list) else [value]:
            child = ElementTree.SubElement(element, name)
            if isinstance(item, dict):
                _fill(child, item)
            else:
                child.text = _to_xml(item)


def _to_xml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _NOT_IN_XML.sub("\ufffd", str(value))


def _decode_password(text: str) -> str:
    """A password, which a client may encode as `enc:` and hexadecimal digits."""
    try:
        return bytes.fromhex(text[4:]).decode("utf-8", "surrogateescape") if text.startswith("enc:") else text
    except ValueError:
        return ""


def _is_equal(text: str, expected: str) -> bool:
    """Whether two secrets are equal, in constant time."""
    return hmac.compare_digest(_to_bytes(text), _to_bytes(expected))


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
