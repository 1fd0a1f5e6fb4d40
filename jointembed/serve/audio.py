"""Sound files by names that tell nothing of where they lie, and only from the folders that the index is of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..audio.formats import AUDIO_EXTENSIONS

_MAC = 12  # bytes
_KINDS = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".mp2": "audio/mpeg",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "audio/webm",
}


def name(secret: bytes, identity: str, number: int) -> str:
    """A name for the sound of a row, that only this process makes and none can guess."""
    plain = number.to_bytes(6, "big")
    return base64.urlsafe_b64encode(plain + _mac(secret, identity, plain)).decode()


def number(secret: bytes, identity: str, name: str) -> int | None:
    """The number of the row that a name is for, or None if this process did not make it for this index."""
    if not re.fullmatch("[A-Za-z0-9_-]{24}", name):
        return None
    known = base64.urlsafe_b64decode(name)
    plain, mac = known[:6], known[6:]
    return int.from_bytes(plain, "big") if hmac.compare_digest(mac, _mac(secret, identity, plain)) else None


def _mac(secret: bytes, identity: str, plain: bytes) -> bytes:
    return hmac.digest(secret, identity.encode() + plain, hashlib.sha256)[:_MAC]


def places(row: Mapping[str, Any], base: str, roots: Sequence[str]) -> list[str]:
    """Where the sound of a row may lie: its cells `path` and `audio` below the index's own folder and other roots."""
    cells = [row.get("path"), row.get("audio")]
    cells = [cell[0] if isinstance(cell, list) and cell else cell for cell in cells]
    texts = [cell for cell in cells if isinstance(cell, str)]
    named = [text for text in texts if _suffix(text).encode("utf-8", "replace") in AUDIO_EXTENSIONS]
    return [os.path.join(root, cell) for cell in named for root in (*((base,) if base else ()), *roots)]


def opened(path: str, roots: Sequence[str]) -> int | None:
    """A handle of a regular sound file whose real place is inside one of the roots now; None if there is none such.

    The real place is walked again from the root, a folder at a time and along no link, so that a link which is put
    there meanwhile leads nowhere.
    """
    try:
        real = os.path.realpath(os.fsencode(path), strict=True)
    except (OSError, ValueError):
        return None
    if os.path.splitext(real)[1].lower() not in AUDIO_EXTENSIONS:
        return None
    for root in roots:
        top = os.path.realpath(os.fsencode(root))
        parts = os.path.relpath(real, top).split(b"/")
        if not any(part.startswith(b".") for part in parts):
            return _walked(top, parts)
    return None


def _walked(top: bytes, parts: list[bytes]) -> int | None:
    folders = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    handle = -1
    try:
        handle = os.open(top, folders)
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            how = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC if last else folders
            handle, old = os.open(part, how | os.O_NOFOLLOW, dir_fd=handle), handle
            os.close(old)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
    except OSError:
        pass
    if handle >= 0:
        os.close(handle)
    return None


def kind(path: str) -> str:
    """The media type of a sound file by its name."""
    return _KINDS.get(_suffix(path), "application/octet-stream")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


@dataclass(frozen=True)
class Part:
    """What of a file is sent.

    Args:
        status: 200, 206 or 416.
        start: the first byte.
        stop: the byte after the last one.
    """

    status: int
    start: int
    stop: int


def part(asked: bytes | None, size: int) -> Part:
    """What a `Range` header asks for of a file of so many bytes.

    One range of bytes is honoured. Several, and what is no range, are passed over, as RFC 9110 (14.2) allows: the whole
    file is sent, so that no header makes work that grows with its length.
    """
    whole = Part(200, 0, size)
    known = (
        re.fullmatch(rb"bytes=([0-9]{0,18})-([0-9]{0,18})", asked) if asked is not None and len(asked) < 64 else None
    )
    if known is None or known[0] == b"bytes=-":
        return whole
    if not known[1]:
        length = int(known[2])
        return Part(206, max(0, size - length), size) if length and size else Part(416, 0, 0)
    start, last = int(known[1]), int(known[2] or size)
    if last < start:
        return whole if known[2] else Part(416, 0, 0)
    return Part(206, start, min(last + 1, size)) if start < size else Part(416, 0, 0)
