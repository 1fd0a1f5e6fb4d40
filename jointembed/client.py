"""A client of `jointembed serve`: the standard library alone, so that a script needs neither torch nor NumPy."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from .errors import UsageError, UserError

__all__ = ["Client"]

_MAX_RETRIES = 5
_MAX_WAIT_SECONDS = 30


class Client:
    """Asks a running `jointembed serve`; the answers are dictionaries, as the server's page `/docs` describes them.

    While the server answers 503 with Retry-After, a request is repeated up to five times.

    Args:
        url: the address of the server, such as `http://127.0.0.1:8765`, with its prefix if it has one; of one of
            several indexes, that of its page, such as `http://127.0.0.1:8765/indexes/songs`.
        token: that of the server, if it has one.
        timeout: seconds that the server may be silent.

    Raises:
        UsageError: the address or the token cannot be used. From all methods: no such server answers, or it refuses
            the request. They raise UserError if the server fails or stays busy.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        address = re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[\w.-]+)(:\d{1,5})?(/[!->@-~]*)?", url)
        if address is None:
            fix = "give an address such as http://127.0.0.1:8765, and the token as a parameter of its own"
            raise UsageError("url", f"{url.partition('?')[0]} is not the address of a server", fix)
        if token is not None and not re.fullmatch(r"[!-~]+", token):
            raise UsageError("token", "a token consists of visible ASCII characters", "give it without line breaks")
        self.url, self.timeout = url.rstrip("/"), timeout
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        proxies = [ProxyHandler({})] if _is_loopback(address[1].strip("[]")) else []
        self._opener = build_opener(_RefuseRedirects, *proxies)

    def similar(self, id: str | Sequence[str], k: int = 10, **options: Any) -> dict[str, Any]:
        """The k items most similar to an item, or to the mean of several.

        Args:
            id: the id of an item, or several.
            k: the number of results.
            options: `offset`, `where`, `field`, `unlike`, `one_per`, `diversity` and `deduplicate`; see `/docs`.
        """
        return self._get("api/similar", id=id, k=k, **options)

    def search(self, text: str, k: int = 10, **options: Any) -> dict[str, Any]:
        """The k items that match a text; the options are those of `similar` but for `unlike`."""
        return self._get("api/search", q=text, k=k, **options)

    def path(self, start: str, end: str, n: int = 10, **options: Any) -> dict[str, Any]:
        """A path of n items between two items in small steps; the options are `where` and `field`."""
        return self._get("api/path", start=start, end=end, n=n, **options)

    def row(self, id: str, field: str | None = None) -> dict[str, Any]:
        """An item, with the nearest terms of the model's vocabulary."""
        return self._get("api/row", id=id, field=field)

    def info(self, field: str | None = None) -> dict[str, Any]:
        """A summary of the index, and the types of queries that its models answer."""
        return self._get("api/info", field=field)

    def _get(self, route: str, **params: Any) -> dict[str, Any]:
        """The JSON of an answer."""
        values = {name: value for name, value in params.items() if value is not None}
        try:
            query = urlencode(values, doseq=True, errors="surrogateescape")  # ids are file names, of any bytes
        except UnicodeEncodeError as error:
            raise UsageError(ascii(error.object), "this text is not valid Unicode", "correct it") from error
        request = Request(f"{self.url}/{route}?{query}", headers=self._headers)
        try:
            for retries_left in reversed(range(_MAX_RETRIES + 1)):
                try:
                    with self._opener.open(request, timeout=self.timeout) as response:
                        answer = json.load(response)
                    if isinstance(answer, dict):
                        return answer
                    raise ValueError
                except HTTPError as error:
                    with error:
                        wait = error.headers.get("Retry-After")
                        if error.code != 503 or wait is None or not retries_left:
                            raise self._refusal(error) from None
                time.sleep(min(int(wait), _MAX_WAIT_SECONDS) if wait.isdecimal() else 1)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error.reason if isinstance(error, URLError) else error) or type(error).__name__
            fix = "start `jointembed serve`, or correct the address"
            raise UsageError(self.url, f"no server answers ({reason})", fix) from error
        except ValueError as error:
            raise UsageError(self.url, "the answer is not JSON", "give the address of `jointembed serve`") from error
        raise AssertionError  # the last attempt returns or raises

    def _refusal(self, error: HTTPError) -> UserError:
        """The error for an answer that is not a success."""
        try:
            message = str(json.load(error)["error"])
        except (ValueError, LookupError, TypeError):
            message = f"the answer has the status {error.code}"
        if error.code >= 500:
            return UserError(self.url, message, "try again later, or see the log of the server")
        fix = "give the token of the server" if error.code == 401 else f"correct the request; see {self.url}/docs"
        return UsageError(self.url, message, fix)


class _RefuseRedirects(HTTPRedirectHandler):
    """Follows no redirect, which could take the token to another server."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse: the answer becomes an HTTPError."""


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, which a proxy of the environment does not reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
