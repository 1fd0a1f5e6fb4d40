"""The model of an index, loaded only when something has to be embedded: torch alone takes seconds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import MismatchError
from ..index.index import Index

EXACT = 0.9999  # the least cosine to float32 with which bfloat16 is good enough
TRIED = 4  # sounds on which that is tried


class Model:
    """A checkpoint, and how it embeds.

    Args:
        path: a checkpoint, or the folder of a run.
        trust: packages whose encoders and readers it may import.

    Raises:
        UsageError: there is no such model.
    """

    def __init__(self, path: Path | str, trust: Sequence[str] | None = None) -> None:
        self.path = Path(path).resolve()
        self.file = files.checkpoint(path)
        self.trust = trust or ()
        self.windows: int | None = None
        self.bf16: str | None = None  # the column that is computed in bfloat16; None if that is not decided yet

    @cached_property
    def space(self) -> Any:
        """The Space."""
        from ..space.space import Space

        return Space.load(self.file, self.trust)

    @property
    def stamp(self) -> str:
        """What tells that the file is still the one that it was, without reading it."""
        about = self.file.stat()
        return f"{about.st_size} {about.st_mtime_ns}"

    def matches(self, index: Index, column: str | None = None) -> None:
        """Embed as a column of an index, or its first, is; the model is loaded only if its file is not of that day.

        Raises:
            MismatchError: another model made these vectors.
        """
        about = index.field_info(column)
        if about.get("stamp") != self.stamp:
            index.check_model(self.space.fingerprint, column)
        how = json.loads(about.get("how") or "{}")
        self.windows, self.bf16 = how.get("windows"), how.get("bf16")

    def settle(self, index: Index, column: str | None = None) -> None:
        """Let an index remember where its model lies now, so that a model may be moved; `matches` comes first."""
        known = {"model": str(self.path), "stamp": self.stamp}
        if any(index.field_info(column).get(key) != value for key, value in known.items()):
            index.set_meta(known, column)

    def join(self, index: Index, column: str, of: str, windows: int | None) -> None:
        """Embed as a column of an index is; one that is new to it may be of this model though others are not.

        Args:
            index: the index.
            column: its name there.
            of: what the model calls it.
            windows: of a long sound, at most so many windows.

        Raises:
            MismatchError: another model made these vectors, or from another number of windows of a sound.
        """
        first = not index.fields and column == of
        if first or column in index.fields or column in index.meta()["spaces"]:
            self.matches(index, column)
            self.settle(index, column)
            self.limit(index, windows)
            return
        self.windows, space = windows, self.space
        told = {"stamp": self.stamp, "how": self._how, "of": of}
        index.add_field(column, space.dim, space.metric, str(self.path), space.fingerprint, space.description, **told)

    def create(self, path: Path | str, **about: str) -> Index:
        """A new index of this model, that remembers how it embeds."""
        space = self.space
        return Index.create(
            path,
            space.dim,
            space.metric,
            str(self.path),
            space.fingerprint,
            space.description,
            stamp=self.stamp,
            how=self._how,
            **about,
        )

    def limit(self, index: Index, windows: int | None) -> None:
        """Take at most so many windows of a sound, which an index that is there must have been made with."""
        if windows is not None and windows != self.windows:
            made = "all windows" if self.windows is None else f"{self.windows} windows"
            raise MismatchError(
                index.path,
                f"its vectors are means of {made} of a sound, not of {windows}",
                "leave --max-windows as it was, or choose another name for the index",
            )

    @property
    def _how(self) -> str:
        return json.dumps({"windows": self.windows, "bf16": self.bf16})

    def embed(self, column: str, cells: Sequence[Any]) -> NDArray[np.float32]:
        """The vectors (N, D) of cells of a column, as the index has them."""
        vectors: NDArray[np.float32] = self.space.embed(
            column, cells, max_windows=self.windows, bf16=self.bf16 == column
        )
        return vectors

    def stream(
        self, index: Index, name: str, column: str, sounds: Iterable[Any], times: dict[str, float]
    ) -> Iterator[NDArray[np.float32]]:
        """The vector (D,) of each sound, as the index has them under a name; it remembers which precision they need.

        The seconds of each stage are added to `times`.
        """
        source = iter(sounds)
        first = list(itertools.islice(source, TRIED if self.bf16 is None else 1))
        if not first:
            return
        if self.bf16 is None:
            self.choose(column, first)
            index.set_meta({"how": self._how}, name)
        drawn = itertools.chain(_drained(first), source)
        for vectors in self.space.embed_stream(column, drawn, self.windows, self.bf16 == column, times):
            yield from vectors

    def choose(self, column: str, sounds: Sequence[Any]) -> None:
        """Compute in bfloat16 from now on if that is fast here and leaves the vectors of these sounds as they are."""
        from ..space.precision import native_bf16

        self.bf16 = ""
        if not sounds or not native_bf16():
            return
        # Few windows are stricter than many, over whose mean the differences would cancel out.
        exact, fast = (
            self.space.embed(column, sounds, max_windows=2, bf16=bf16).astype(np.float64) for bf16 in (False, True)
        )
        lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
        if (np.einsum("nd,nd->n", exact, fast) >= EXACT * lengths).all():
            self.bf16 = column


def _drained(items: list[Any]) -> Iterator[Any]:
    """The items, each let go as it is taken: sounds are large."""
    while items:
        yield items.pop(0)
