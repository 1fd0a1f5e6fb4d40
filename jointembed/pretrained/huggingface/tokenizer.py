"""Text as the subwords of a pretrained model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DamagedError, MismatchError, UsageError
from ...readers import Reader
from ...readers.text import Subwords, check_text
from .folder import FETCH_AGAIN


class PretrainedTokenizer(Subwords):
    """Text as the subwords that a pretrained model was trained with, from its `tokenizer.json`.

    The file is read by the tokenizers library, because its interpretation by transformers depends on the version. Its
    text is the state of the reader, so a checkpoint includes it.

    Args:
        max_length: the number of subwords, the start and end marks included, at which a text is cut off.
        prompts: by column, what is put before each text, such as `{query: "query: ", text: "passage: "}` for E5 (Wang
            et al. 2022).
        marks: add the start and end marks of the file.
    """

    def __init__(self, max_length: int = 512, prompts: Mapping[str, str] | None = None, marks: bool = True) -> None:
        super().__init__(0, max_length)
        self.prompts, self.prompt, self.marks = dict(prompts or {}), "", marks

    def for_column(self, column: str) -> Reader:
        """The reader of a column: with its prompt."""
        if not self.prompts.get(column):
            return self
        reader: PretrainedTokenizer = type(self).__new__(type(self))
        reader.__dict__.update(self.__dict__, prompt=self.prompts[column], prompts={})
        return reader

    def fit(self, cells: Sequence[Any]) -> None:
        """Do nothing: the subwords belong to the model."""

    def fit_counts(self, elements: Iterable[Any], counts: Iterable[int]) -> None:
        """Do nothing: the subwords belong to the model."""

    def restore(self, state: dict[str, Any]) -> None:
        """Set the tokenizer from {"tokenizer": text of a tokenizer.json}, without its own padding and truncation."""
        super().restore(state)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length)

    @property
    def last_id(self) -> int:
        """The largest id of a subword: `size - 1`, unless the file leaves out numbers."""
        return max(self._tokenizer.get_vocab().values(), default=-1)

    def token_ids(self, element: Any) -> Sequence[int]:
        """The ids of the subwords of a text with its prompt.

        Raises:
            UsageError: the cell is not text, or the tokenizer finds no subword in it.
        """
        ids: list[int] = self._tokenizer.encode(self.prompt + check_text(element), add_special_tokens=self.marks).ids
        if not ids:
            raise UsageError("text", f"the model finds no word in {element!r}", "give words")
        return ids


class MediaTokenizer(PretrainedTokenizer):
    """The subwords of a model that reads more than text with one network: other columns have readers of their own.

    Args:
        max_length: see `PretrainedTokenizer`.
        prompts: see `PretrainedTokenizer`.
        media: by column, the reader of each that is not text; their pieces have different shapes.
    """

    def __init__(self, max_length: int, prompts: Mapping[str, str], media: Mapping[str, Reader]) -> None:
        super().__init__(max_length, prompts)
        self.media = dict(media)

    def for_column(self, column: str) -> Reader:
        """The reader of a column."""
        return self.media[column] if column in self.media else super().for_column(column)


def load_tokenizer(
    folder: Path,
    max_length: int,
    vocab_size: int,
    lowercase: bool = False,
    prompts: Mapping[str, str] | None = None,
    marks: bool = True,
) -> PretrainedTokenizer:
    """The tokenizer in a folder.

    Args:
        folder: with tokenizer.json.
        max_length: see `PretrainedTokenizer`.
        vocab_size: the number of subwords that the network knows.
        lowercase: read texts in lower case, whatever the file says.
        prompts: see `PretrainedTokenizer`.
        marks: see `PretrainedTokenizer`.

    Raises:
        UsageError: the folder has no tokenizer.json.
        DamagedError: the file is not a tokenizer.
        MismatchError: it has more subwords than the network.
    """
    reader = PretrainedTokenizer(max_length, prompts, marks)
    path = folder / "tokenizer.json"
    if not path.is_file():
        fix = "save the model's fast tokenizer beside it: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        raise UsageError(path, "the file does not exist, so text cannot be read", fix)
    try:
        text = path.read_text(encoding="utf-8")
        reader.restore({"tokenizer": _add_lowercase(text) if lowercase else text})
    except Exception as error:  # the tokenizers library raises no subclass
        raise DamagedError(path, f"it is not a tokenizer ({error})", FETCH_AGAIN) from error
    if reader.last_id >= vocab_size:
        wrong = f"it has {reader.last_id + 1} subwords, but the model has {vocab_size}"
        raise MismatchError(path, wrong, FETCH_AGAIN)
    return reader


def _add_lowercase(text: str) -> str:
    """The text of a tokenizer.json that turns its input into lower case first."""
    tokenizer = json.loads(text)
    normalizers = [{"type": "Lowercase"}, *filter(None, [tokenizer.get("normalizer")])]
    return json.dumps({**tokenizer, "normalizer": {"type": "Sequence", "normalizers": normalizers}})
