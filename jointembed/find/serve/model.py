"""The model of the index as the server has it: loaded in the background, asked by one thread, and remembered."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import Failure
from ..index import Index
from .guard import log
from .handle import plain
from .pool import Pool

Vector = npt.NDArray[np.float32]
UPLOADS = 10  # sounds that are on their way, wait or are decoded, the last of which two at once
_REMEMBERED = 1_000  # vectors of texts


class Embedder(Protocol):
    """What embeds, once it is loaded."""

    words: str | None  # the column that texts are cells of; None if it knows no words
    sounds: str | None  # the column that sounds are cells of

    def embed(self, column: str, cell: Any) -> Vector:
        """The vector (D,) of a cell; Failure if it has none."""

    def decode(self, path: str, column: str) -> Any:
        """A sound file as a cell of a column; Failure if it is none. It is called by several threads."""


class Model:
    """Embeds words and sounds once it is there.

    Args:
        load: loads the model of an index, in a thread of its own; Failure if that cannot be had. None if there is none.
    """

    def __init__(self, load: Callable[[Path], Embedder] | None) -> None:
        self._load = load
        self.state = "none"
        self.why = "" if load else "the server was started without a model"
        self.embedder: Embedder | None = None
        self._made = ""
        self._lock = threading.Lock()
        self._texts: OrderedDict[tuple[str, str], Vector] = OrderedDict()  # by model; for the loop's thread alone
        self._thoughts: Pool[None] = Pool(1, 32, contextlib.nullcontext, "embed")
        self._uploads: Pool[None] = Pool(2, UPLOADS, contextlib.nullcontext, "decode")

    def follow(self, index: Index) -> None:
        """Load the model of an index, unless it is the one that is there already."""
        made = index.model + "\n" + str(index.space()["fingerprint"])
        with self._lock:
            if self._load is None or (made == self._made and self.state != "none"):
                return
            self._made, self.state, self.embedder, self.why = made, "loading", None, ""
        threading.Thread(target=self._loaded, args=(index.path, made), name="load", daemon=True).start()

    def _loaded(self, path: Path, made: str) -> None:
        assert self._load is not None
        embedder, why = None, ""
        try:
            embedder = self._load(path)
            why = "" if embedder.words else "the model of this index knows no words"
        except Failure as error:
            log(error)
            why = plain(error, path)
        except BaseException as error:  # a thread that ends must say so
            log(error)
            why = "the model could not be loaded; the server's own messages say why"
        with self._lock:
            if made == self._made:
                self.embedder, self.why, self.state = embedder, why, "ready" if embedder and embedder.words else "none"

    @property
    def hears(self) -> bool:
        """Whether sounds can be asked with."""
        embedder = self.embedder
        return embedder is not None and embedder.sounds is not None

    async def words(self, text: str) -> Vector | None:
        """The vector of a text; None as long as there is nothing that embeds it.

        Raises:
            Busy: too many wait. Failure: the text has no vector.
        """
        embedder = self.embedder
        if embedder is None or embedder.words is None:
            return None
        key = self._made, text
        known = self._texts.get(key)
        if known is None:
            known = await self._embed(embedder, embedder.words, text)
            self._texts[key] = known
            if len(self._texts) > _REMEMBERED:
                self._texts.popitem(last=False)
        else:
            self._texts.move_to_end(key)
        return known

    async def sound(self, path: str, column: str | None) -> Vector:
        """The vector of a sound file.

        Raises:
            Busy: too many wait. Failure: the file is no sound.
        """
        embedder = self.embedder
        assert embedder is not None and embedder.sounds is not None
        name = column or embedder.sounds

        def decode(_: None, paths: list[str]) -> list[Any]:
            return [embedder.decode(one, name) for one in paths]

        return await self._embed(embedder, name, await self._uploads.ask(decode, path))

    async def _embed(self, embedder: Embedder, column: str, cell: Any) -> Vector:
        def embed(_: None, cells: list[Any]) -> list[Vector]:
            return [embedder.embed(column, one) for one in cells]

        vector: Vector = await self._thoughts.ask(embed, cell)
        return vector

    def close(self) -> None:
        """Take no more questions."""
        self._thoughts.close()
        self._uploads.close()


@contextlib.contextmanager
def upload(folder: str) -> Any:
    """An open file for what is sent, under a name of its own, which is removed in the end."""
    handle, path = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, path
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
