"""The words of a text in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

_PLAIN_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # where there are neither marks nor scripts without spaces
# Blocks of scripts that put no spaces between words, with their marks, and the lengths of n-grams in their place.
_CJK = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SOUTH_EAST_ASIAN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Burmese, Khmer
_SPACELESS = re.compile(f"([{_CJK}]+)|([{_SOUTH_EAST_ASIAN}]+)|[^{_CJK}{_SOUTH_EAST_ASIAN}]+")
_SIZES = {1: (1, 2), 2: (2, 3)}  # a Chinese character means something; a Thai letter does not
FIRST_MARK, FIRST_OF_SPACELESS, LAST_IN_BASIC_PLANE = "\u0300", "\u0e00", "\uffff"
_JOINERS = "\u200c\u200d"  # between letters of one word
# Marks that a reader may leave out: accents of Latin, Greek and Cyrillic, points of Hebrew, Arabic and Syriac.
_ACCENTS = re.compile(
    f"[{_JOINERS}\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u08d3-\u08e1\u08e3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
)


def find_words(text: str) -> list[str]:
    """The words of a text in their order: letters with their combining marks, digits, and apostrophes between letters.

    Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces: their characters, with their marks, are given as
    overlapping n-grams.

    >>> find_words("It's दिल, not दाल")
    ["It's", 'दिल', 'not', 'दाल']
    >>> find_words("音乐会")
    ['音', '音乐', '乐', '乐会', '会']
    """
    if not text or (last := max(text)) < FIRST_MARK:
        return _PLAIN_WORD.findall(text)
    words: list[str] = []
    for word in _word_pattern(last > LAST_IN_BASIC_PLANE).findall(text):
        if max(word) < FIRST_OF_SPACELESS:
            words.append(word)
            continue
        for part in _SPACELESS.finditer(word):
            words += [part[0]] if part.lastindex is None else _find_ngrams(part[0], *_SIZES[part.lastindex])
    return words


def drop_accents(text: str) -> str:
    """The text in Unicode NFC without the marks and joiners that may be left out; a letter's own accent stays.

    >>> drop_accents("شُكْر"), drop_accents("दिल")
    ('شكر', 'दिल')
    """
    return text if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFC", text))


def space_characters(text: str) -> str:
    """The text with spaces around each character, with its marks, of the scripts that put none between words.

    >>> space_characters("ดนตรี music")
    ' ด  น  ต  รี  music'
    """
    return text if text.isascii() else _spaceless_pattern().sub(r" \g<0> ", text)


def word_characters(text: str) -> str:
    """Letters, digits and the marks that may occur in a text, for a set of characters in a regular expression."""
    return r"\w" + (_mark_class(max(text, default="") > LAST_IN_BASIC_PLANE) if not text.isascii() else "")


def is_ngram(word: str) -> bool:
    """Whether a word of `find_words` is one of overlapping n-grams."""
    match = _SPACELESS.match(word)
    return match is not None and match.lastindex is not None


@cache
def _mark_class(beyond_basic_plane: bool) -> str:
    """The combining marks, and the joiners between letters, for a set of characters in a regular expression.

    A set of characters up to U+FFFF takes no time to look at, one of others is gone through range by range.
    """
    codes = [*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)] if beyond_basic_plane else range(0x300, 0x10000)
    marks = [code for code in codes if _is_mark(code)]
    starts = [code for code, before in zip(marks, [0, *marks], strict=False) if code != before + 1]
    ends = [code for code, after in zip(marks, [*marks[1:], 0], strict=True) if after != code + 1]
    return _JOINERS + "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(starts, ends, strict=True))


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code))[0] == "M"


@cache
def _word_pattern(beyond_basic_plane: bool) -> re.Pattern[str]:
    letters = rf"[^\W_](?:[^\W_]|[{_mark_class(beyond_basic_plane)}])*"
    return re.compile(f"{letters}(?:['’]{letters})*")


@cache
def _cluster_pattern() -> re.Pattern[str]:
    return re.compile(f".[{_mark_class(False)}]*", re.DOTALL)


@cache
def _spaceless_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_CJK}{_SOUTH_EAST_ASIAN}][{_mark_class(False)}]*")


def _find_ngrams(text: str, shortest: int, longest: int) -> Iterable[str]:
    """The n-grams of a text, by characters with their marks; the text itself if it is shorter."""
    clusters = _cluster_pattern().findall(text)
    sizes = range(shortest, longest + 1)
    ngrams = [
        "".join(clusters[at : at + size]) for at in range(len(clusters)) for size in sizes if at + size <= len(clusters)
    ]
    return ngrams or [text]
