"""Titles and names compared as people spell them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_DISTANCE = 4  # letters
_ARTICLE = re.compile(r"(?:the|a|an|der|die|das|le|la|les|l|el|los|las|il|lo|gli|i|de|het) (?=\S)")
_TRAILING_ARTICLE = re.compile(r"(.+), ?(the|a|an|der|die|das|le|la|les|el|los|las|il|lo|gli|i|de|het)")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})


def fold(text: str) -> str:
    """A title without case, accents, punctuation and its leading article, or its trailing one ("Beatles, The").

    What consists of nothing else stays as it is, in lower case: "The The", "?", "A".
    """
    plain = lower = text.casefold()
    if not lower.isascii():
        lower = unicodedata.normalize("NFKD", lower).translate(_LETTERS)
        plain = "".join(character for character in lower if not unicodedata.combining(character))
    if trailing := _TRAILING_ARTICLE.fullmatch(plain.strip()):
        plain = trailing[1]
    if not plain.isalnum():
        plain = _PUNCTUATION.sub(_to_space, _APOSTROPHE.sub("", plain.replace("&", " and ")))
    folded = " ".join(plain.split())
    return _ARTICLE.sub("", folded, count=1) if _ARTICLE.match(folded) else folded or lower.strip()


def _to_space(match: re.Match[str]) -> str:
    """A space in the place of a character that is not a mark: vowel signs belong to the letters of Hindi and others."""
    return match[0] if unicodedata.category(match[0])[0] == "M" else " "


def nearest_spellings(name: str, names: Sequence[str], n: int) -> list[int]:
    """The positions of the n names that a mistyped name is most likely meant as, the nearest first.

    The distance of two names is the least number of letters to insert, delete, replace or swap with their neighbours
    (Damerau 1964, in its restricted form). A name at more than a quarter of the letters, or at more than 4, is not
    among them.
    """
    limit = min(max(1, len(name) // 4), MAX_DISTANCE)
    lengths = np.fromiter(map(len, names), np.intp, len(names))
    near = np.flatnonzero(np.abs(lengths - len(name)) <= limit)
    distances = _edit_distances(name, [names[position] for position in near.tolist()], lengths[near])
    order = np.argsort(distances, kind="stable")[:n]
    return [int(near[rank]) for rank in order if distances[rank] <= limit]


def _edit_distances(name: str, names: Sequence[str], lengths: npt.NDArray[np.intp]) -> npt.NDArray[np.int16]:
    """The distances (N,) of a name from N names of some lengths, by dynamic programming over all of them at once."""
    width = int(lengths.max(initial=0))
    if not width:
        return np.full(len(names), len(name), np.int16)
    letters = np.ascontiguousarray(np.array(names, f"<U{width}").view("<u4").reshape(len(names), width).T)
    steps = np.arange(width + 1, dtype=np.int16)[:, None]
    before, last = steps, np.repeat(steps, len(names), axis=1)
    for at, letter in enumerate(name):
        row = np.empty_like(last)
        row[0] = at + 1
        np.minimum(last[1:] + np.int16(1), last[:-1] + (letters != ord(letter)), out=row[1:])
        if at:
            is_swapped = (letters[:-1] == ord(letter)) & (letters[1:] == ord(name[at - 1]))
            row[2:] = np.where(is_swapped, np.minimum(row[2:], before[:-2] + np.int16(1)), row[2:])
        before, last = last, np.minimum.accumulate(row - steps, axis=0) + steps  # insertions, from left to right
    return np.asarray(last[lengths, np.arange(len(names))])
