"""Errors as clients and the log get them: in one line, without the paths of this machine."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from typing import Any

from starlette.exceptions import HTTPException

from ..errors import UserError

_REPEAT_SECONDS = 10.0  # after which the same failure is logged again
_ABSOLUTE_PATH = re.compile(r"(?<![\w.])(?:/[^/\s'\"()]+)+/([^/\s'\"()]+)")
_last = ("", 0.0)


def unavailable(reason: str) -> HTTPException:
    """An error for a request that may succeed when it is repeated; the reason names no path."""
    return HTTPException(503, reason, {"retry-after": "1"})


def public_message(error: UserError, *paths: Any, with_fix: bool = False) -> str:
    """An error in one line without the directories of files; the fix only if it is for the client."""
    text = f"{error.subject}: {error.problem}" + (f"; {error.fix}" if with_fix else "")
    for path in paths:
        for form in (os.path.realpath(path), os.path.abspath(path), str(path)):
            text = text.replace(form, os.path.basename(form) or "the index")
    return " ".join(_ABSOLUTE_PATH.sub(r"\1", text).split())


def log_error(error: BaseException) -> None:
    """Print on stderr in one line what failed and where, but the same failure only every ten seconds."""
    global _last
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    line = " ".join(ascii(f"{type(error).__name__}: {error}")[1:-1].split())[:500] + place
    now = time.monotonic()
    if line != _last[0] or now - _last[1] > _REPEAT_SECONDS:
        _last = line, now
        print(f"jointembed: {line}", file=sys.stderr, flush=True)
