"""The models of an index's fields: loaded in the background, one after another, then asked by worker threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from starlette.requests import Request

from ..errors import UserError
from ..files import checkpoint
from ..index.index import Index
from .errors import log_error, public_message
from .pools import Pools

Vector = npt.NDArray[np.float32]
_MAX_CACHED_TEXTS = 1_000


class Embedder(Protocol):
    """Embeds queries of one field; texts are embedded by one thread, sounds by two."""

    words: bool  # whether it embeds texts
    sounds: bool  # whether it embeds sounds

    def text(self, words: str) -> Vector:
        """The vector (D,) of a text; UserError if it has none."""

    def sound(self, path: str) -> Vector:
        """The vector (D,) of a sound file; UserError if it is not one."""


@dataclass(frozen=True)
class QueryModel:
    """The model of one field.

    Args:
        signature: identifies how the vectors of the field were made.
        file: identifies the content of the model's file when it was loaded.
        fingerprint: of the model that made the vectors.
        state: of text queries: `none`, `loading` or `ready`.
        why: why texts, or all queries, cannot be embedded.
        embedder: once it is loaded.
    """

    signature: str = ""
    file: str = ""
    fingerprint: str = ""
    state: str = "none"
    why: str = ""
    embedder: Embedder | None = None

    def as_json(self) -> dict[str, Any]:
        """The queries that are possible, as the API describes them."""
        file = self.embedder is not None and self.embedder.sounds
        return {"text": self.state, "file": file, **({"why": self.why} if self.why else {})}


class ModelRegistry:
    """The models of all fields, each once it has loaded.

    Args:
        load: loads the embedder of a field, given the path of the index and the name of the field; it is called in a
            thread, never twice at once, and raises UserError if the field has none. None: no model is loaded.
        pools: the threads that load and ask the models.
    """

    def __init__(self, load: Callable[[Path, str], Embedder] | None, pools: Pools) -> None:
        self._load, self._pools = load, pools
        self.models: dict[str, QueryModel] = {}
        self._lock = threading.Lock()
        self._cache: dict[tuple[str, str], Vector] = {}  # used by the event loop alone

    def sync(self, index: Index) -> None:
        """Start loading the model of every field that is new, and those that failed and whose files have changed.

        A model that was loaded stays as it is as long as the index says that it made the vectors.
        """
        state, why = ("loading", "") if self._load else ("none", "the server was started without a model")
        with self._lock, index.reading() as snapshot:  # locked, lest an older version replaces a newer one
            models = {}
            for name in snapshot.info.fields:
                info = snapshot.info.field_info(name)
                signature = "\n".join(map(str, (info.model, info.fingerprint, info.model_column, info.embed_options)))
                old = self.models.get(name)
                if old is not None and old.signature == signature and old.embedder:
                    models[name] = old
                    continue
                file = f"{snapshot.info.identity} {_describe_file(info.model)}"
                if old is not None and (old.signature, old.file) == (signature, file):
                    models[name] = old
                    continue
                models[name] = model = QueryModel(signature, file, info.fingerprint, state, why)
                if self._load:
                    self._pools.loader.submit(self._load_model, index.path, name, model)
            self.models = models

    def retry(self) -> None:
        """Let the next `sync` load the models that failed once more."""
        with self._lock:
            self.models = {
                name: model for name, model in self.models.items() if model.embedder or model.state == "loading"
            }

    def for_field(self, name: str | None) -> QueryModel:
        """The model of a field, by default of the first one."""
        models = self.models
        missing = QueryModel(why="field: the index has no vectors of this field" if models else "the index is empty")
        return models.get(next(iter(models), "") if name is None else name, missing)

    async def embed_text(self, request: Request, model: QueryModel, text: str) -> Vector | None:
        """The vector of a text; None as long as no model embeds it.

        Raises:
            HTTPException: 503, too many texts wait. UserError: the text has no vector.
        """
        embedder = model.embedder
        if embedder is None or not embedder.words:
            return None
        key = model.fingerprint, text
        if (vector := self._cache.get(key)) is None:
            vector = self._cache[key] = await self._pools.texts.run(request, embedder.text, text)
            if len(self._cache) > _MAX_CACHED_TEXTS:
                del self._cache[next(iter(self._cache))]
        return vector

    async def embed_audio(self, request: Request, model: QueryModel, path: str) -> Vector:
        """The vector of a sound file.

        Raises:
            HTTPException: 503, too many files wait. UserError: the file is not a sound.
        """
        assert model.embedder is not None and model.embedder.sounds
        return await self._pools.sounds.run(request, model.embedder.sound, path)

    def _load_model(self, path: Path, name: str, model: QueryModel) -> None:
        assert self._load is not None
        with self._lock:
            if self.models.get(name) is not model:
                return  # the index has changed since
        embedder = None
        try:
            embedder = self._load(path, name)
            why = "" if embedder.words else f"the model of the field {name} embeds no text"
        except UserError as error:
            log_error(error)
            why = public_message(error, str(path))
        except BaseException as error:  # the page must not wait for a thread that has ended
            log_error(error)
            why = "the model could not be loaded; see the log of the server"
        state = "ready" if embedder and embedder.words else "none"
        with self._lock:
            if self.models.get(name) is model:
                self.models = {**self.models, name: replace(model, state=state, why=why, embedder=embedder)}


def _describe_file(location: str) -> str:
    """The identity, size and time of a model's file; "" if it is missing."""
    if not location:
        return ""
    try:
        stat = checkpoint(location).stat()
    except (OSError, UserError):
        return ""
    return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"
