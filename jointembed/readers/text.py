"""Text, as a bag of words or as a sequence of subwords."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from .. import values
from ..arguments import Count, Range
from ..errors import UsageError
from ..words import find_words, is_ngram
from .elements import ElementReader

# Tokenization of the models that were saved before words kept their marks; they keep their vectors.
FIRST_TOKENIZATION, TOKENIZATION = 1, 2
_FIRST_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def check_text(text: Any) -> str:
    """The text itself, with U+FFFD in the place of half a surrogate pair, such as a caption cut inside an emoji leaves.

    Raises:
        UsageError: it is not text.
    """
    if not isinstance(text, str):
        wrong = f"the cell must be text, got {type(text).__name__}"
        raise UsageError("text", wrong, "give words, or a list of sentences")
    return text if text.isascii() else values.to_unicode(text)


def normalize(text: Any) -> str:
    """Case-folded text in Unicode NFKC; see `check_text` for the errors raised."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", check_text(text)).casefold())


class BagOfWords(ElementReader):
    """Text as the bag of its words, learned from the training rows. A cell is text, or a list of texts.

    Words are in any script; those without spaces, such as Chinese, are read as n-grams, see `words.find_words`.

    Args:
        min_count: terms that occur fewer times than this in the training rows are unknown.
        max_terms: keep at most this many terms, the most frequent.
        char_ngrams: add the character n-grams of each word, as in fastText (Bojanowski et al. 2017): the shortest and
            the longest length, such as `[3, 5]`. `_` marks both ends of a word and counts as a character. Terms are
            then words and n-grams; in the list of terms an n-gram begins with `-`. An unknown word is still read by
            its n-grams.

    >>> reader = BagOfWords()
    >>> reader.fit(["A slow waltz", "a fast reel"])
    >>> reader.vocabulary()
    ['a', 'fast', 'reel', 'slow', 'waltz']
    """

    reads_text = True

    def __init__(self, min_count: Count = 1, max_terms: Count = 100_000, char_ngrams: list[int] | None = None) -> None:
        if char_ngrams and not (len(char_ngrams) == 2 and 1 <= char_ngrams[0] <= char_ngrams[1]):
            wrong = f"expected two lengths in ascending order, got {char_ngrams}"
            raise UsageError("char_ngrams", wrong, "give the shortest and the longest, such as [3, 5]")
        self.min_count, self.max_terms, self.char_ngrams = min_count, max_terms, list(char_ngrams or [])
        self.restore({"terms": [], "tokenization": TOKENIZATION})

    def fit_counts(self, elements: Iterable[Any], counts: Iterable[int]) -> None:
        """Learn the terms of the training cells."""
        words: Counter[str] = Counter()
        for text, count in zip(elements, counts, strict=True):
            for word in self._find_words(text):
                words[word] += count
        terms: Counter[str] = Counter()
        for word, count in words.items():
            for term in self._split_into_terms(word):
                terms[term] += count
        frequent = sorted(terms.items(), key=lambda pair: (-pair[1], pair[0]))[: self.max_terms]
        terms_sorted = sorted(term for term, count in frequent if count >= self.min_count)
        self.restore({"terms": terms_sorted, "tokenization": self.tokenization})

    def state(self) -> dict[str, Any]:
        """The terms, and how texts are split into them."""
        # Without the key for models of the first tokenization, whose fingerprints indexes know.
        tokenization = {"tokenization": self.tokenization} if self.tokenization != FIRST_TOKENIZATION else {}
        return {"terms": self.terms, **tokenization}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the terms."""
        self.terms, self.tokenization = list(state["terms"]), state.get("tokenization", FIRST_TOKENIZATION)
        self._number = {term: number for number, term in enumerate(self.terms)}
        self.size = len(self.terms)

    def vocabulary(self) -> list[str]:
        """The words of the training rows, without character n-grams."""
        return [term for term in self.terms if not term.startswith("-")]

    def unknown(self, cell: Any) -> list[str]:
        """The texts of a cell without any known word or n-gram."""
        return [text for text in self.elements(cell) if all(id == self.size for id in self.token_ids(text))]

    def token_ids(self, element: Any) -> Sequence[int]:
        """The ids of the words and n-grams of a text; a text without any word is one unknown word."""
        ids: list[int] = []
        for word in self._find_words(element):
            terms = self._split_into_terms(word)
            ids += [self._number[term] for term in terms if term in self._number] or [self.size]
        return ids or [self.size]

    def _find_words(self, text: Any) -> list[str]:
        words = _FIRST_WORD.findall if self.tokenization == FIRST_TOKENIZATION else find_words
        return words(normalize(text))

    def _split_into_terms(self, word: str) -> list[str]:
        if not self.char_ngrams or (self.tokenization != FIRST_TOKENIZATION and is_ngram(word)):
            return [word]
        marked, (shortest, longest) = f"_{word}_", self.char_ngrams
        sizes = range(shortest, longest + 1)
        return [word, *(f"-{marked[at : at + size]}" for size in sizes for at in range(len(marked) - size + 1))]


class Subwords(ElementReader):
    """Text as a sequence of subwords (byte-pair encoding, Sennrich et al. 2016), learned from the training rows.

    Args:
        vocab_size: the largest number of subwords to learn, with the 256 bytes.
        max_length: the number of subwords at which a text is cut off.
    """

    reads_text = True

    def __init__(self, vocab_size: Annotated[int, Range(256)] = 8000, max_length: Count = 64) -> None:
        self.vocab_size, self.max_length = vocab_size, max_length
        self._tokenizer: Any = None

    def fit_counts(self, elements: Iterable[Any], counts: Iterable[int]) -> None:
        """Learn the subwords of the training cells."""
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        pairs = zip(map(normalize, elements), counts, strict=True)
        texts = itertools.chain.from_iterable(itertools.repeat(text, count) for text, count in pairs)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        tokenizer.train_from_iterator(texts, trainer)
        self.restore({"tokenizer": tokenizer.to_str()})

    def state(self) -> dict[str, Any]:
        """The subwords and their merges, as the JSON of the tokenizers library."""
        return {"tokenizer": self._tokenizer.to_str()}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the subwords."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(state["tokenizer"])
        self.size = self._tokenizer.get_vocab_size()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokenizer": self._tokenizer and self._tokenizer.to_str()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_tokenizer"]:
            self.restore({"tokenizer": state["_tokenizer"]})

    def token_ids(self, element: Any) -> Sequence[int]:
        """The ids of the subwords of a text; an empty text is one unknown subword."""
        ids: list[int] = self._tokenizer.encode(normalize(element)).ids
        return ids[: self.max_length] or [self.size]
