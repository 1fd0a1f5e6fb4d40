"""Text, as a bag of words or as a sequence of sub-words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import values as table_cells
from ..errors import UsageError
from .reader import Lookup

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def normal(text: Any) -> str:
    """Text in one form of writing: Unicode NFKC, without case.

    Raises:
        UsageError: it is no text.
    """
    if not isinstance(text, str):
        raise UsageError("text", f"{type(text).__name__} is no text", "give words, or a list of sentences")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


class BagOfWords(Lookup):
    """Text as the bag of its words, learned from the training rows. A cell may be a list of texts.

    Args:
        min_count: words that the training rows hold fewer times than this are unknown.
        most: keep at most so many words, the most frequent ones.
        grams: also the runs of so many letters in a word, as in fastText (Bojanowski et al. 2017): `[3, 5]`, the
            shortest and the longest. `_` stands at both ends of a word and counts as a letter. Words and runs are
            counted alike; a run is listed with `-` before it. A word that is unknown then still has its runs.

    >>> reader = BagOfWords()
    >>> reader.fit(["A slow waltz", "a fast reel"])
    >>> reader.known
    ['a', 'fast', 'reel', 'slow', 'waltz']
    """

    def __init__(self, min_count: int = 1, most: int = 100_000, grams: list[int] | None = None) -> None:
        if grams and not (len(grams) == 2 and 1 <= grams[0] <= grams[1]):
            raise UsageError("grams", f"{grams} are no lengths", "give the shortest and the longest, such as [3, 5]")
        self.min_count, self.most, self.grams = min_count, most, list(grams or [])
        self.known: list[str] = []
        self._number: dict[str, int] = {}

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the words of the training cells."""
        words: Counter[str] = Counter()
        for cell in cells:
            for text in [] if table_cells.missing(cell) else self.elements(cell):
                words.update(WORD.findall(normal(text)))
        counts: Counter[str] = Counter()
        for word, count in words.items():
            for thing in self._things(word):
                counts[thing] += count
        often = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: self.most]
        self.restore({"known": sorted(word for word, count in often if count >= self.min_count)})

    def state(self) -> dict[str, Any]:
        """The known words."""
        return {"known": self.known}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.known = list(state["known"])
        self._number = {word: number for number, word in enumerate(self.known)}
        self.size = len(self.known)

    def numbers(self, element: Any) -> Sequence[int]:
        """The numbers of the words of a text, and of their runs; a text without any word is one unknown word."""
        found: list[int] = []
        for word in WORD.findall(normal(element)):
            found += [self._number[thing] for thing in self._things(word) if thing in self._number] or [self.size]
        return found or [self.size]

    def _things(self, word: str) -> list[str]:
        """A word, and its runs of letters."""
        if not self.grams:
            return [word]
        bound, (shortest, longest) = f"_{word}_", self.grams
        sizes = range(shortest, longest + 1)
        return [word, *(f"-{bound[at : at + size]}" for size in sizes for at in range(len(bound) - size + 1))]


class Subwords(Lookup):
    """Text as a sequence of sub-words (byte-pair encoding, Sennrich et al. 2016) learned from the training rows.

    Args:
        size: at most so many sub-words.
        length: sub-words that are read of a text; what comes after is cut off.
    """

    def __init__(self, vocabulary: int = 8000, length: int = 64) -> None:
        self.vocabulary, self.length = vocabulary, length
        self._model: Any = None

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn the sub-words of the training cells."""
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        texts = [normal(one) for cell in cells if not table_cells.missing(cell) for one in self.elements(cell)]
        model = Tokenizer(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        model.train_from_iterator(texts, trainer)
        self.restore({"tokenizer": model.to_str()})

    def state(self) -> dict[str, Any]:
        """The sub-words and their merges, as the JSON of the tokenizers library."""
        return {"tokenizer": self._model.to_str()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        from tokenizers import Tokenizer

        self._model = Tokenizer.from_str(state["tokenizer"])
        self.size = self._model.get_vocab_size()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": self._model and self._model.to_str()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_model"]:
            self.restore({"tokenizer": state["_model"]})

    def numbers(self, element: Any) -> Sequence[int]:
        """The numbers of the sub-words of a text; an empty text is one unknown sub-word."""
        ids: list[int] = self._model.encode(normal(element)).ids
        return ids[: self.length] or [self.size]
