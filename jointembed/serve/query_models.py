"""The models of an index as the server has them: loaded in the background, a column after another, asked by threads."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..index.index import Index
from .index_handle import plain
from .limits import HEARD
from .pool import Pool
from .security import log

Vector = npt.NDArray[np.float32]
UPLOADS = 10  # sounds that are on their way, wait or are heard, the last of which two at once
_REMEMBERED = 1_000  # vectors of texts


class Embedder(Protocol):
    """What embeds for a column of an index, once it is loaded; words are asked of it by one thread, sounds by two."""

    words: bool  # whether it knows words
    sounds: bool  # whether it hears sounds

    def text(self, words: str) -> Vector:
        """The vector (D,) of words; Failure if they have none."""

    def sound(self, path: str) -> Vector:
        """The vector (D,) of a sound file; Failure if it is none."""


@dataclass(frozen=True)
class Column:
    """What can be asked of a column of an index.

    Args:
        made: what tells how its vectors were made.
        fingerprint: of the model that made them.
        state: of words: `none`, `loading` or `ready`.
        why: why words, or all questions, cannot be asked.
        embedder: what embeds for it, once that is loaded.
    """

    made: str = ""
    fingerprint: str = ""
    state: str = "none"
    why: str = ""
    embedder: Embedder | None = None

    @property
    def told(self) -> dict[str, Any]:
        """It as the API tells it."""
        told = {"text": self.state, "file": self.embedder is not None and self.embedder.sounds}
        return {**told, "why": self.why} if self.why else told


class Model:
    """Embeds words and sounds as the columns of an index are, each once its model is there.

    Args:
        load: loads what embeds for a column of an index, in a thread of its own and never two at once; Failure if that
            cannot be had. None if there is none.
    """

    def __init__(self, load: Callable[[Path, str], Embedder] | None) -> None:
        self._load = load
        self.columns: dict[str, Column] = {}
        self._identity = ""
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._texts: OrderedDict[tuple[str, str], Vector] = OrderedDict()  # by model; for the loop's thread alone
        self._thoughts: Pool[None] = Pool(1, 32, contextlib.nullcontext, "embed")
        self._uploads: Pool[None] = Pool(2, UPLOADS, contextlib.nullcontext, "hear", HEARD)

    def follow(self, index: Index) -> None:
        """Load the models of the columns of an index, but those that are there already; of a new index, once more."""
        new, state = {}, "loading" if self._load else "none"
        why = "" if self._load else "the server was started without a model"
        with self._lock, index.reading():  # read under the lock, lest what is older takes the place of what is newer
            identity = index.meta()["identity"]
            for name in index.columns:
                space = index.field_info(name)
                made = "\n".join(str(space.get(key)) for key in ("model", "fingerprint", "of", "how"))
                new[name] = Column(made, space["fingerprint"], state, why)
            again, self._identity = identity != self._identity, identity
            for name, one in new.items():
                old = self.columns.get(name, one)
                if old.made == one.made and not (again and old.embedder is None):
                    new[name] = old
            fresh = [name for name, one in new.items() if self._load and self.columns.get(name) is not one]
            self.columns = new
        if fresh:
            threading.Thread(target=self._loaded, args=(index.path, fresh), name="load", daemon=True).start()

    def _loaded(self, path: Path, names: list[str]) -> None:
        assert self._load is not None
        for name in names:
            with self._loading:
                asked, embedder = self.columns.get(name), None
                if asked is None or asked.state != "loading":
                    continue
                try:
                    embedder = self._load(path, name)
                    why = "" if embedder.words else f"the model of the column {name} knows no words"
                except UserError as error:
                    log(error)
                    why = plain(error, path)
                except BaseException as error:  # a thread that ends must say so
                    log(error)
                    why = "the model could not be loaded; the server's own messages say why"
                with self._lock:
                    if self.columns.get(name) is asked:
                        state = "ready" if embedder and embedder.words else "none"
                        loaded = Column(asked.made, asked.fingerprint, state, why, embedder)
                        self.columns = {**self.columns, name: loaded}

    def of(self, name: str | None) -> Column:
        """What can be asked of a column, or of the first one."""
        columns = self.columns
        name = next(iter(columns), None) if name is None else name
        missing = Column(why="column: the index has no vectors of this column" if columns else "the index is empty")
        return missing if name is None else columns.get(name, missing)

    async def words(self, column: Column, text: str) -> Vector | None:
        """The vector of a text; None as long as there is nothing that embeds it.

        Raises:
            Busy: too many wait. UserError: the text has no vector.
        """
        embedder = column.embedder
        if embedder is None or not embedder.words:
            return None
        key = column.fingerprint, text
        known = self._texts.get(key)
        if known is None:
            known = await self._thoughts.ask(lambda _, texts: [embedder.text(one) for one in texts], text)
            self._texts[key] = known
            if len(self._texts) > _REMEMBERED:
                self._texts.popitem(last=False)
        else:
            self._texts.move_to_end(key)
        return known

    async def sound(self, column: Column, path: str) -> Vector:
        """The vector of a sound file.

        Raises:
            Busy: too many wait. UserError: the file is no sound.
        """
        embedder = column.embedder
        assert embedder is not None and embedder.sounds
        vector: Vector = await self._uploads.ask(lambda _, paths: [embedder.sound(one) for one in paths], path)
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
