"""Text as the sub-words of a pretrained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import UsageError
from ...readers.text import Subwords


class PretrainedTokenizer(Subwords):
    """Text as the sub-words that a pretrained model was trained with, by its `tokenizer.json`.

    The file is read by the tokenizers library itself: what transformers makes of it has changed between its versions.
    Its text is the reader's state, so a checkpoint carries it.

    Args:
        max_length: the number of subwords, the start and end marks included, at which a text is cut off.
    """

    def __init__(self, max_length: int = 512) -> None:
        super().__init__(0, max_length)

    def fit(self, cells: Sequence[Any]) -> None:
        """Nothing: the sub-words belong to the model."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take the text of a `tokenizer.json` as {"tokenizer": text}; its own padding and cut are not used."""
        super().restore(state)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length)

    def token_ids(self, element: Any) -> Sequence[int]:
        """The numbers of the sub-words of a text, those that begin and end it included.

        Raises:
            UsageError: it is no text, or no sub-word is found in it.
        """
        if not isinstance(element, str):
            raise UsageError("text", f"{type(element).__name__} is no text", "give words, or a list of sentences")
        ids: list[int] = self._tokenizer.encode(element).ids
        if not ids:
            raise UsageError("text", f"the model finds no word in {element!r}", "give words")
        return ids
