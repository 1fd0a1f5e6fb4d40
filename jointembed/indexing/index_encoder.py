"""The model of an index's field, loaded only when something has to be embedded: torch alone takes seconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import MismatchError, UsageError
from ..index.index import Index
from ..sharing.onnx_space import OnnxSpace, is_onnx

MIN_COSINE = 0.999  # to the float32 vectors, from which a precision is accurate enough
TRIAL_SOUNDS = 4  # sounds on which that is measured
TRIAL_WINDOWS = 2  # of each: a stricter test than many windows, whose differences cancel out in the mean


class IndexEncoder:
    """A checkpoint, or a folder of ONNX graphs, and the settings with which it embeds the cells of a field.

    Args:
        path: a checkpoint, the folder of a run, an exported model or its folder `onnx`, which needs no torch.
        trust: packages whose encoders and readers the model may import.
        device: what computes; see `resolve_device`.

    Attributes:
        column: the model's column of the field.
        max_windows: embed at most this many windows of a long sound; None for all.
        precision: of the field's column, see `Space.embed`; None before `choose_precision` has measured it.

    Raises:
        UsageError: the model does not exist.
    """

    def __init__(self, path: Path | str, trust: Sequence[str] | None = None, device: str = "auto") -> None:
        self.path = Path(path).resolve()
        self.file = files.checkpoint(path)
        self.trust, self.device = trust or (), device
        self.column = ""
        self.max_windows: int | None = None
        self.precision: Any = None

    @cached_property
    def space(self) -> Any:
        """The Space, or the OnnxSpace of a folder of graphs; UsageError if the device does not exist."""
        if is_onnx(self.file):
            if self.device not in ("auto", "cpu"):
                raise UsageError("--device", f"graphs run on the CPU, not on {self.device}", "leave --device out")
            return OnnxSpace.load(self.file.parent, self.trust)
        from ..space.device import resolve_device
        from ..space.space import Space

        return Space.load(self.file, self.trust).to(resolve_device(self.device))

    @property
    def signature(self) -> str:
        """The size and time of the checkpoint, which change with it; the file is not read."""
        stat = self.file.stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def attach(self, index: Index, field: str | None = None) -> None:
        """Take over the settings of a field, by default the first; the model is loaded only if its file has changed.

        Raises:
            MismatchError: another model made these vectors.
        """
        info = index.field_info(field)
        if info.model_signature != self.signature:
            index.check_model(self.space.fingerprint, field)
        name = field or next(iter(index.fields), "")
        self.column = info.model_column or name
        self.max_windows, self.precision = info.embed_options.get("max_windows"), info.embed_options.get("precision")

    def prepare(self, index: Index, field: str, column: str, max_windows: int | None) -> None:
        """Attach to a field that is to be filled, or add it to the index.

        Args:
            index: the index.
            field: the field; a new one may be of another model than the existing ones.
            column: the model's column of the field.
            max_windows: see `IndexEncoder`.

        Raises:
            MismatchError: the field was made by another model, or with another number of windows.
            UsageError: the field is of another column.
        """
        is_first = not index.fields and column == field
        if is_first or field in index.fields or field in index.info.declared:
            self.attach(index, field)
            self._remember_location(index, field)
            self._check_windows(index, max_windows)
            if column != self.column:
                raise UsageError(field, f"these vectors are of the column {self.column}", "choose another --field")
            return
        self.column, self.max_windows, space = column, max_windows, self.space
        about = {**self._about, "model_column": column}
        index.add_field(field, space.dim, space.metric, str(self.path), space.fingerprint, space.description, **about)

    def create(self, path: Path | str, **about: Any) -> Index:
        """A new index of this model, which remembers the settings.

        Args:
            path: the file.
            about: further facts that the index remembers.
        """
        space = self.space
        about |= self._about
        return Index.create(
            path, space.dim, space.metric, str(self.path), space.fingerprint, space.description, **about
        )

    def embed(self, column: str, cells: Sequence[Any]) -> NDArray[np.float32]:
        """The vectors (N, D) of cells of any column, as the index has those of its field's."""
        precision = (self.precision if column == self.column else None) or "float32"
        vectors: NDArray[np.float32] = self.space.embed(
            column, cells, max_windows=self.max_windows, precision=precision
        )
        return vectors

    def embed_stream(
        self, index: Index, field: str, sounds: Iterable[Any], times: dict[str, float]
    ) -> Iterator[NDArray[np.float32]]:
        """The vector (D,) of each sound of a field; the index remembers the precision that was chosen by the first.

        The seconds of each stage are added to `times`.
        """
        sounds = iter(sounds)
        first = list(itertools.islice(sounds, TRIAL_SOUNDS if self.precision is None else 1))
        if not first:
            return
        if self.precision is None:
            self.choose_precision(first)
            index.set_field_info(field, embed_options=self._options)
        stream = itertools.chain(_release(first), sounds)
        for vectors in self.space.embed_stream(self.column, stream, self.max_windows, self.precision, times):
            yield from vectors

    def derive_cells(self, vector: NDArray[np.float32]) -> dict[str, Any]:
        """The cells that the model reads off a vector (D,) of the field's column, such as tags."""
        cells: dict[str, Any] = self.space.derive_cells(self.column, vector[None])[0]
        return cells

    def choose_precision(self, sounds: Sequence[Any]) -> None:
        """Compute from now on in the fastest precision of this processor that is accurate enough on these sounds.

        Nothing is timed, so the same processor makes the same choice.
        """
        self.precision = "float32"
        names = self.space.fast_precisions() if sounds else []
        if not names:
            return
        vectors, ranges = self.space.calibrate_int8(self.column, sounds, TRIAL_WINDOWS)
        exact = vectors.astype(np.float64)
        for precision in [ranges if name == "int8" else name for name in names]:
            if precision is not None:
                vectors = self.space.embed(self.column, sounds, max_windows=TRIAL_WINDOWS, precision=precision)
                lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(vectors, axis=1)
                if (np.einsum("nd,nd->n", exact, vectors) >= MIN_COSINE * lengths).all():
                    self.precision = precision
                    return

    def _remember_location(self, index: Index, field: str) -> None:
        """Let the index know where its model is now, so that a model may be moved."""
        info = index.field_info(field)
        if (info.model, info.model_signature) != (str(self.path), self.signature):
            index.set_field_info(field, model=str(self.path), model_signature=self.signature)

    def _check_windows(self, index: Index, max_windows: int | None) -> None:
        if max_windows is not None and max_windows != self.max_windows:
            stored = "all windows" if self.max_windows is None else f"{self.max_windows} windows"
            wrong = f"its vectors are means of {stored} of each sound, not of {max_windows}"
            raise MismatchError(index.path, wrong, "leave --max-windows as it was, or write another index")

    @property
    def _about(self) -> dict[str, Any]:
        return {"model_signature": self.signature, "embed_options": self._options}

    @property
    def _options(self) -> dict[str, Any]:
        return {"max_windows": self.max_windows, "precision": self.precision}


def _release(items: list[Any]) -> Iterator[Any]:
    """The items, each removed from the list as it is taken: sounds are large."""
    while items:
        yield items.pop(0)
