"""Errors as clients and the log get them: in one line, without the paths of this machine."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ..errors import UserError

_REPEAT_SECONDS = 10.0  # after which the same failure is logged again
_CLIENT_CLOSED_REQUEST = 499  # nobody reads this answer
_ABSOLUTE_PATH = re.compile(r"(?<![\w.])(?:/[^/\s'\"()]+)+/([^/\s'\"()]+)")
_last = ("", 0.0)


def unavailable(reason: str) -> HTTPException:
    """An error for a request that may succeed when it is repeated; the reason names no path."""
    return HTTPException(503, reason, {"retry-after": "1"})


def public_message(error: UserError, path: str = "", with_fix: bool = False) -> str:
    """An error in one line without the directories of `path` and of others; the fix only if it is for the client."""
    text = f"{error.subject}: {error.problem}" + (f"; {error.fix}" if with_fix else "")
    if path:
        text = text.replace(path, os.path.basename(path))
    return " ".join(_ABSOLUTE_PATH.sub(r"\1", text).split())


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer `{"error": "one line"}`."""
    return Response(json.dumps({"error": " ".join(message.split())}), status, headers, "application/json")


def answer_error(error: Exception) -> Response:
    """The answer to a request that failed."""
    match error:
        case HTTPException():
            if error.__cause__ is not None:
                log_error(error.__cause__)
            is_default = error.detail == HTTPStatus(error.status_code).phrase
            return error_response(
                error.status_code, error.detail.lower() if is_default else error.detail, error.headers
            )
        case UserError():
            return error_response(422, public_message(error, with_fix=True))
        case ClientDisconnect():
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
    log_error(error)
    return error_response(500, "the server failed; see its log")


def log_error(error: BaseException) -> None:
    """Print on stderr in one line what failed and where, but the same failure only every ten seconds."""
    global _last
    if isinstance(error, UserError):
        line = str(error)
    else:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
        line = " ".join(ascii(f"{type(error).__name__}: {error}")[1:-1].split())[:500] + place
    now = time.monotonic()
    if line != _last[0] or now - _last[1] > _REPEAT_SECONDS:
        _last = line, now
        print(f"jointembed: {line}\n", end="", file=sys.stderr, flush=True)
