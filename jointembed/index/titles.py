"""Titles and names compared as people spell them."""

from __future__ import annotations

import re
import unicodedata

_ARTICLE = re.compile(r"(?:the|a|an|der|die|das|le|la|les|l|el|los|las|il|lo|gli|i|de|het) (?=\S)")
_TRAILING_ARTICLE = re.compile(r"(.+), ?(the|a|an|der|die|das|le|la|les|el|los|las|il|lo|gli|i|de|het)")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})


def fold(text: str) -> str:
    """A title without case, accents, punctuation and its leading article, or its trailing one ("Beatles, The").

    What consists of nothing else stays as it is, in lower case: "The The", "?", "A".
    """
    lower = unicodedata.normalize("NFKD", text.casefold()).translate(_LETTERS)
    plain = "".join(character for character in lower if not unicodedata.combining(character))
    if trailing := _TRAILING_ARTICLE.fullmatch(plain.strip()):
        plain = trailing[1]
    words = re.sub(r"[^\w\s]|_", " ", re.sub(r"(?<=\w)['’](?=\w)", "", plain.replace("&", " and "))).split()
    folded = " ".join(words)
    return _ARTICLE.sub("", folded, count=1) if _ARTICLE.match(folded) else folded or lower.strip()
