"""The model of an index, loaded only when something has to be embedded: torch alone takes seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import Mismatch
from ..find.index import Index

EXACT = 0.9999  # the least cosine to float32 with which bfloat16 is good enough


class Model:
    """A checkpoint, and how it embeds.

    Args:
        path: a checkpoint, or the folder of a run.
        trust: packages whose encoders and readers it may import.

    Raises:
        Usage: there is no such model.
    """

    def __init__(self, path: Path | str, trust: Sequence[str] | None = None) -> None:
        self.path = Path(path).resolve()
        self.file = files.checkpoint(path)
        self.trust = trust or ()
        self.windows: int | None = None
        self.bf16 = ""  # the column that is computed in bfloat16

    @cached_property
    def space(self) -> Any:
        """The JointEmbedding."""
        from ..learn.space import JointEmbedding

        return JointEmbedding.load(self.file, self.trust)

    @property
    def stamp(self) -> str:
        """What tells that the file is still the one that it was, without reading it."""
        about = self.file.stat()
        return f"{about.st_size} {about.st_mtime_ns}"

    def matches(self, index: Index) -> None:
        """Embed as an index of this model does; the model is loaded only if its file is not the one of that day.

        Raises:
            Mismatch: another model made the index.
        """
        if index.about("stamp") != self.stamp:
            index.check(self.space.fingerprint)
        how = json.loads(index.about("how") or "{}")
        self.windows, self.bf16 = how.get("windows"), how.get("bf16", "")

    def settle(self, index: Index) -> None:
        """Let an index remember where its model lies now, so that a model may be moved; `matches` comes first."""
        known = {"model": str(self.path), "stamp": self.stamp}
        if any(index.about(key) != value for key, value in known.items()):
            index.store.remember(known)

    def create(self, path: Path | str, **about: str) -> Index:
        """A new index of this model, that remembers how it embeds."""
        how = {"windows": self.windows, "bf16": self.bf16}
        space = self.space
        return Index.create(
            path,
            space.dim,
            space.metric,
            str(self.path),
            space.fingerprint,
            space.note,
            stamp=self.stamp,
            how=json.dumps(how),
            **about,
        )

    def limit(self, index: Index, windows: int | None) -> None:
        """Take at most so many windows of a sound, which an index that is there must have been made with."""
        if windows is not None and windows != self.windows:
            made = "all windows" if self.windows is None else f"{self.windows} windows"
            raise Mismatch(
                index.path,
                f"its vectors are means of {made} of a sound, not of {windows}",
                "leave --max-windows as it was, or choose another name for the index",
            )

    def embed(self, column: str, cells: Sequence[Any], times: dict[str, float] | None = None) -> NDArray[np.float32]:
        """The vectors (N, D) of cells of a column, as the index has them."""
        from ..learn.embedding import How, embed

        return embed(self.space, column, cells, How(windows=self.windows, bf16=self.bf16 == column, times=times))

    def choose(self, column: str, sounds: Sequence[Any]) -> None:
        """Compute in bfloat16 from now on if that is fast here and leaves the vectors of these sounds as they are."""
        from ..learn.optim import native_bf16

        if not sounds or not native_bf16():
            return
        given, self.windows = self.windows, 8
        exact = self.embed(column, sounds).astype(np.float64)
        self.bf16 = column
        fast = self.embed(column, sounds).astype(np.float64)
        self.windows = given
        lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
        if (np.einsum("nd,nd->n", exact, fast) < EXACT * lengths).any():
            self.bf16 = ""
