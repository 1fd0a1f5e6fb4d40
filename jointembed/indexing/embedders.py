"""The models of an index, loaded to be asked again and again: by words and by files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from numpy.typing import NDArray

from ..audio.workers import Decoders
from ..errors import MismatchError, UsageError
from ..index.backends.connection import anew, mend
from ..index.index import Index
from .index_encoder import Model
from .query_encoder import worded

LONGEST = 720  # windows of a sound that is asked with, two hours of 10 s each: so many are spread over a longer one
PATIENCE = 15.0  # seconds that the decoder may take

Vector = NDArray[Any]


class Embedders:
    """What embeds for the columns of an index; a model that several of them share is loaded once.

    Args:
        trust: packages whose encoders and readers the models may import.
    """

    def __init__(self, trust: Sequence[str] | None = None) -> None:
        self.trust = trust
        self.spaces: WeakValueDictionary[tuple[Path, str], Any] = WeakValueDictionary()
        self.decoders: dict[int, Decoders] = {}

    def load(self, path: Path, column: str) -> Embedder:
        """What embeds for a column of an index.

        Raises:
            UsageError: the column names no model, or it is not there any more.
            MismatchError: it is no longer the one that made the vectors.
        """
        with Index.open(path) as index:
            about = index.field_info(column)
            if not about["model"]:
                raise UsageError("model", "this column names none", "look and search by the words of the cells only")
            try:
                model = Model(about["model"], self.trust)
            except UsageError as error:
                fix = f"put it back ({about['model']}); or, if it lies elsewhere now, run: {mend(path)}"
                raise UsageError("model", "the model of this column is not there any more", fix) from error
            key = model.file, model.stamp
            if (known := self.spaces.get(key)) is not None:
                model.space = known
            try:
                model.matches(index, column)
            except MismatchError as error:
                raise MismatchError(
                    "model", "the model is no longer the one that made these vectors", anew(path)
                ) from error
        # Several threads ask it: none may come to it while another changes it to evaluation and back.
        self.spaces[key] = model.space.eval()
        return Embedder(model, about.get("of", column), self.decoders)

    def close(self) -> None:
        """End the processes that decode."""
        for decoders in self.decoders.values():
            decoders.close()


class Embedder:
    """What embeds for one column: words by the model's first column of words, sounds by that which made the vectors.

    Args:
        model: which, and how it embeds.
        own: what the model calls the column.
        decoders: by rate; a rate that is new is added.
    """

    def __init__(self, model: Model, own: str, decoders: dict[int, Decoders]) -> None:
        self.model = model
        space = model.space
        self.read = next(iter(worded(space)), None)
        rates = {name: space.reader(name).sample_rate for name in space.columns}
        self.heard = next((name for name in (own, *rates) if rates.get(name)), None)
        model.windows = min(model.windows or LONGEST, LONGEST)
        if self.heard is not None:
            rate = rates[self.heard]
            if rate not in decoders:
                decoders[rate] = Decoders(rate, seconds=PATIENCE)
            self.decoders = decoders[rate]

    @property
    def words(self) -> bool:
        """Whether it knows words."""
        return self.read is not None

    @property
    def sounds(self) -> bool:
        """Whether it hears sounds."""
        return self.heard is not None

    def text(self, words: str) -> Vector:
        """The vector (D,) of words; Usage if the model knows none of them."""
        assert self.read is not None
        if self.model.space.reader(self.read).unknown(words):
            raise UsageError("q", "the model knows none of these words", "use others")
        return self.model.embed(self.read, [words]).ravel()

    def sound(self, path: str) -> Vector:
        """The vector (D,) of a sound file, the bits that the index would have; Usage if it is none."""
        assert self.heard is not None
        [sound] = self.decoders.map([os.fsencode(path)])
        if sound.samples is None:
            raise UsageError("the file", sound.problem, sound.fix)
        return self.model.embed(self.heard, [sound.samples]).ravel()
