"""`jointembed serve`: a local server over an index, with a page to look at it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..decode import Decoders
from ..errors import Mismatch, Usage
from ..find.index import Index
from ..find.serve import Embedder
from ..find.serve import serve as served
from ..find.sqlite import anew, mend
from .model import Model

LONGEST = 32  # windows of a sound that is asked with: more are spread over it, or a long one would keep others waiting
PATIENCE = 15.0  # seconds that the decoder may take


def serve(
    index: str,
    port: int = 8765,
    host: str = "127.0.0.1",
    root: list[str] | None = None,
    token: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Serve an index at http://localhost:8765, to this machine only: a page, its sounds, and an API (/docs).

    Look-ups and full-text search answer at once; the model of the index, for words and sounds, loads in the background.

    Args:
        index: the index.
        port: where to listen; 0 for any port that is free.
        host: the address to listen at; others than this machine must show a token.
        root: a folder that sounds may also lie in, beside the one that was indexed; may be given several times.
        token: what a client must show: the page once with ?token=, programs as a bearer.
        trust: packages whose encoders and readers the model may import.
    """
    loaded: list[_Embedder] = []

    def load(path: Path) -> Embedder:
        loaded.append(_Embedder(path, trust))
        return loaded[-1]

    stopped = served(index, _say, host=host, port=port, roots=root or (), token=token, load=load)
    for one in loaded:
        one.close()
    sys.stdout.flush()
    sys.stderr.flush()
    if stopped:
        os._exit(128 + stopped)  # what still loads a model or reads a disk cannot be ended otherwise


def _say(line: str) -> None:
    print(line, flush=True)


class _Embedder:
    """The model of an index, loaded."""

    def __init__(self, path: Path, trust: list[str] | None) -> None:
        with Index.open(path) as index:
            try:
                self.model = Model(index.model, trust)
            except Usage as error:
                fix = f"put it back ({index.model}); or, if it lies elsewhere now, run: {mend(path)}"
                raise Usage("model", "the model of this index is not there any more", fix) from error
            try:
                self.model.matches(index)
            except Mismatch as error:
                raise Mismatch("model", "the model is no longer the one that made this index", anew(path)) from error
            columns = [index.about("column"), *index.columns]
        from ..learn.readers import Tokens, Words

        space = self.model.space
        readers = {name: space.reader(name) for name in space.columns}
        self.rates = {name: int(one.sample_rate) for name, one in readers.items() if hasattr(one, "sample_rate")}
        self.words = next((name for name, one in readers.items() if isinstance(one, Words | Tokens)), None)
        self.sounds = next((name for name in (*columns, *self.rates) if name in self.rates), None)
        self.model.windows = min(self.model.windows or LONGEST, LONGEST)
        self.decoders = {rate: Decoders(rate, seconds=PATIENCE) for rate in set(self.rates.values())}

    def embed(self, column: str, cell: Any) -> NDArray[np.float32]:
        from ..learn.readers import Words

        reader = self.model.space.reader(column)
        if isinstance(reader, Words) and all(number == reader.size for number in reader.numbers(cell)):
            raise Usage("q", "the model knows none of these words", "use others")
        vector: NDArray[np.float32] = self.model.embed(column, [cell])[0]
        return vector

    def decode(self, path: str, column: str) -> Any:
        if column not in self.rates:
            raise Usage("column", "the model has no such column of sounds", "use " + ", ".join(self.rates))
        [sound] = self.decoders[self.rates[column]].map([os.fsencode(path)])
        if sound.samples is None:
            raise Usage("the file", sound.wrong, sound.fix)
        return sound.samples

    def close(self) -> None:
        """End the processes that decode."""
        for decoders in self.decoders.values():
            decoders.close()
