"""Detecting the encoding, the delimiter and the quotes of a .csv file."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from encodings.aliases import aliases
from itertools import product
from pathlib import Path

from ..errors import DamagedError, UsageError, nearest

BLOCK_BYTES = 1 << 20  # or characters
SAMPLE_CHARACTERS = 1 << 18
DELIMITERS = ",;\t|"  # of equal candidates the first is taken
BYTE_ORDER_MARKS = {  # the longest first: that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
EXAMPLES = "such as cp1250, cp1251, shift_jis or gb18030"
MIN_SHARE_OF_ZEROS = 0.2  # of the bytes of UTF-16 without a mark
MAX_SHARE_IN_RUNS = 0.2  # of the bytes beyond ASCII, which in Western words stand alone or in pairs
_RUN = re.compile(rb"[\x80-\xff]{3,}")
_ACCENTED_WORD = re.compile(r"\w*[^\W\x00-\x7f]\w*")
_SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n?|\n)", re.IGNORECASE)  # which Excel writes and reads


@dataclass(frozen=True)
class Dialect:
    """How a .csv file is written.

    Args:
        encoding: the name of Python's codec.
        delimiter: what separates the cells of a row.
        is_quoted: whether cells may stand in double quotes.
        skip_lines: the number of lines before the header.
        header: the names of the columns.
    """

    encoding: str
    delimiter: str
    is_quoted: bool
    skip_lines: int
    header: list[str]


def check_encoding(encoding: str | None) -> None:
    """Raise UsageError if Python has no codec for an encoding of text."""
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, ValueError) as error:
        near = nearest(str(encoding), set(aliases.values()))
        fix = f"did you mean {near}?" if near else f"give one that Python knows, {EXAMPLES}"
        raise UsageError("encoding", f"unknown encoding {encoding!r}", fix) from error


def detect(path: Path, encoding: str | None = None) -> Dialect:
    """The dialect of a .csv file.

    The delimiter is what a first line `sep=` says, else that of comma, semicolon, tab and bar with which most rows have
    as many cells as the header.

    Args:
        path: the file.
        encoding: see `detect_encoding`.

    Raises:
        DamagedError: see `detect_encoding`.
    """
    encoding = detect_encoding(path, encoding)
    with open(path, newline="", encoding=encoding) as file:
        sample = file.read(SAMPLE_CHARACTERS)
        is_cut = bool(file.read(1))
    separator = _SEPARATOR_LINE.match(sample)
    text = sample[separator.end() :] if separator else sample
    best = Dialect(encoding, separator[1] if separator else ",", True, int(bool(separator)), [])
    best_score = (-1.0, 0)
    for is_quoted, delimiter in product((True, False), separator[1] if separator else DELIMITERS):
        rows = _parse(text, delimiter, is_quoted)[: -1 if is_cut else None]
        if not rows:
            continue
        width = len(rows[0])
        share = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0  # 0: not in the header
        if (share, width) > best_score:
            best_score = share, width
            best = Dialect(encoding, delimiter, is_quoted, best.skip_lines, rows[0])
    return best


def _parse(text: str, delimiter: str, is_quoted: bool) -> list[list[str]]:
    """The rows of a text without blank lines, up to a wrong quote, which gives an empty row.

    Without quotes there are none if a cell stands in quotes.
    """
    rows: list[list[str]] = []
    lines = io.StringIO(text, newline="")
    try:
        for row in csv.reader(
            lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE, strict=True
        ):
            if not is_quoted and any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in row):
                return []
            rows += [row] if row else []
    except csv.Error:  # or a cell is longer than the module allows
        rows.append([])
    return rows


def read_mark(path: Path) -> str | None:
    """The encoding that the byte order mark of a file says; None without a mark."""
    with open(path, "rb") as file:
        return _find_mark(file.read(4))


def _find_mark(head: bytes) -> str | None:
    return next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)


def detect_encoding(path: Path, encoding: str | None = None) -> str:
    """The encoding of a file of text.

    It is what a byte order mark says, else UTF-16 if many bytes are zero, else UTF-8 if the file is, else `encoding`,
    else Windows-1252 if the text looks Western, with a note on standard error.

    Args:
        path: the file.
        encoding: of a file that is not in Unicode.

    Raises:
        DamagedError: no such encoding fits.
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK_BYTES)
    if marked := _find_mark(head):
        return marked
    if head.count(0) > MIN_SHARE_OF_ZEROS * len(head):
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    with contextlib.suppress(UnicodeDecodeError):
        for _ in _read_blocks(path, "utf-8"):
            pass
        return "utf-8"
    if encoding is not None:
        try:
            for _ in _read_blocks(path, encoding):
                pass
        except UnicodeError as error:
            wrong = f"its text is neither UTF-8 nor {encoding}"
            raise DamagedError(path, wrong, f"give another encoding, {EXAMPLES}") from error
        return encoding
    wrong, fix = "its text is not UTF-8", f"save it as UTF-8, or give --encoding (data.encoding), {EXAMPLES}"
    high = in_runs = 0
    example = ""
    try:
        for text in _read_blocks(path, "cp1252"):
            block = text.encode("cp1252")
            high += len(block) - len(block.translate(None, bytes(range(128, 256))))
            in_runs += sum(map(len, _RUN.findall(block)))
            example = example or next(iter(_ACCENTED_WORD.findall(text)), "")
    except UnicodeDecodeError as error:
        raise DamagedError(path, wrong, fix) from error
    if in_runs > MAX_SHARE_IN_RUNS * high:
        raise DamagedError(path, wrong, fix)
    sample = f", such as {example}" if example else ""
    remedy = f"; if that is wrong, save it as UTF-8, or give --encoding (data.encoding), {EXAMPLES}"
    print(f"note: {path}: {wrong}, and is read as Windows-1252{sample}{remedy}", file=sys.stderr)
    return "cp1252"


def _read_blocks(path: Path, encoding: str) -> Iterator[str]:
    with open(path, newline="", encoding=encoding) as file:
        while text := file.read(BLOCK_BYTES):
            yield text
