"""A space of ONNX graphs: embeds cells with ONNX Runtime, without torch.

A cell goes through the graph of its column, which gives a vector for each of its pieces, and then through the head of
the column, which makes one of them. A long sound takes several runs of the first, so that its length costs no memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import from_config
from ..errors import DamagedError, MismatchError, UsageError, did_you_mean, missing_extra
from ..pretrained.tags import list_tags
from ..readers import Reader
from ..space import golden
from ..space.model_folder import CONFIG, COPY_AGAIN, READERS, check_files, read_json, read_readers
from ..values import missing, row_cell

# N cells, P pieces, W width of an encoder, D dimension, C columns, K tags

ONNX, FORMAT = "onnx", 1  # in config.json
VECTOR, POINT, ENCODED = "vector", "point", "encoded"  # outputs: `point` is the vector before it is normalised
POINTS, PRESENT = "points", "present"  # inputs of a fusion
PROBABILITIES = "probabilities"
INT8 = "int8"
REQUIRED = READERS, *golden.FILES
BLOCK_CELLS = 256  # cells that are read before they are computed
MAX_ROWS_IN_BATCH, VALUES_IN_BATCH = 32, 64  # values of the first tensor, such as tokens

Vectors = NDArray[np.float32]
Session = Any  # onnxruntime.InferenceSession, which has no types


def is_onnx(config: Path) -> bool:
    """Whether a file is the config.json of a folder of graphs."""
    return config.name == CONFIG and ONNX in read_json(config)


def open_session(path: Path) -> Session:
    """ONNX Runtime on the CPU with a graph.

    Raises:
        UsageError: ONNX Runtime is not installed.
        DamagedError: the file is not a graph that it can run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra(ONNX, "onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes are private
        reason = [*str(error).strip().splitlines(), ""][0][:200]
        raise DamagedError(path, f"ONNX Runtime cannot open it ({reason})", "pip install -U onnxruntime") from error


def run_rows(session: Session, output: str, rows: Sequence[Mapping[str, NDArray[Any]]]) -> list[Vectors]:
    """What a graph gives each row (1, ...), the same bits whatever the other rows are.

    Rows of one shape are computed in batches of one size, the last one filled up. Large rows are computed alone: each
    of them keeps the processor busy, and a single one would take longer in a batch.
    """
    shapes: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for number, row in enumerate(rows):
        shapes.setdefault(tuple(tensor.shape[1:] for tensor in row.values()), []).append(number)
    results: list[Vectors] = [np.empty(0, np.float32)] * len(rows)
    for shape, numbers in shapes.items():
        size = max(1, min(MAX_ROWS_IN_BATCH, VALUES_IN_BATCH // max(1, math.prod(shape[0]))))
        for start in range(0, len(numbers), size):
            batch = numbers[start : start + size]
            filled = batch + batch[-1:] * (size - len(batch))
            tensors = {name: np.concatenate([rows[number][name] for number in filled]) for name in rows[batch[0]]}
            for number, result in zip(batch, session.run([output], tensors)[0], strict=False):
                results[number] = result[None]
    return results


@dataclass
class OnnxColumn:
    """The way of a column from cells to vectors.

    Args:
        reader: cells -> tensors.
        encoder: tensors -> a vector (1, P, W) for each piece.
        head: (1, P, W) -> (1, D).
        in_pieces: the encoder takes rows of several pieces.
        int8: the encoder in 8-bit integers, if there is one.
        tags: of the tagger, if the column has one.
        tagger: vectors (N, D) -> the probabilities (N, K) of the tags.
    """

    reader: Reader
    encoder: Session
    head: Session
    in_pieces: bool
    int8: Session | None = None
    tags: Sequence[str] = ()
    tagger: Session | None = None

    def embed(
        self, cells: Sequence[Any], output: str = VECTOR, max_windows: int | None = None, precision: str = "float32"
    ) -> list[Vectors | None]:
        """The vector (1, D) of each cell; None if nothing in it can be read."""
        readable = [number for number, cell in enumerate(cells) if self.reader.elements(cell)]
        if self.reader.windowed or (precision == INT8 and self.int8 is not None):
            pieces = [self._encode(cells[number], max_windows, precision) for number in readable]
        else:
            pieces = self._encode_batches([cells[number] for number in readable])
        vectors: list[Vectors | None] = [None] * len(cells)
        heads = [{ENCODED: encoded} for encoded in pieces]
        for number, vector in zip(readable, run_rows(self.head, output, heads), strict=True):
            vectors[number] = vector
        return vectors

    def _encode(self, cell: Any, max_windows: int | None, precision: str) -> Vectors:
        """The vectors (1, P, W) of the pieces of a cell, some windows of a long sound at a time.

        The steps of 8-bit integers depend on all that is computed at once, so that no other cell may be.
        """
        session = self.int8 if precision == INT8 and self.int8 is not None else self.encoder
        blocks = self.reader.tensor_blocks(cell, self.in_pieces, max_windows)
        encoded = [session.run([ENCODED], tensors)[0] for tensors in blocks]
        return np.concatenate([block.reshape(1, -1, block.shape[-1]) for block in encoded], 1)

    def _encode_batches(self, cells: Sequence[Any]) -> list[Vectors]:
        """The vectors (1, P, W) of the pieces of each cell."""
        tensors = [self.reader.tensors(cell, self.in_pieces) for cell in cells]
        counts = [len(next(iter(own.values()))) for own in tensors]
        rows = [
            {name: tensor[row : row + 1] for name, tensor in own.items()}
            for own, count in zip(tensors, counts, strict=True)
            for row in range(count)
        ]
        encoded = iter(run_rows(self.encoder, ENCODED, rows))
        return [np.concatenate([next(encoded) for _ in range(count)], 1) for count in counts]


class OnnxSpace:
    """The columns of a space that have been exported to ONNX, embedded as `Space` does.

    A vector has the same bits alone and among others.

    Args:
        folder: of the graphs.
        dim: D.
        metric: of the space.
        fingerprint: that of the space, whose vectors these are within 1e-5.
        description: of the model.

    Attributes:
        columns: the name of the encoder of each column.
        fusions: the parts of each fusion.
        pools: columns whose pieces are read in their order.
    """

    def __init__(self, folder: Path, dim: int, metric: str, fingerprint: str, description: str) -> None:
        self.folder, self.dim, self.metric = folder, dim, metric
        self.fingerprint, self.description = fingerprint, description
        self.columns: dict[str, str] = {}
        self.fusions: dict[str, list[str]] = {}
        self.pools: set[str] = set()
        self._columns: dict[str, OnnxColumn] = {}
        self._fusions: dict[str, Session] = {}

    @classmethod
    def load(cls, folder: Path, trust: Collection[str] = ()) -> OnnxSpace:
        """Load the `onnx` folder of an exported model, and check its files and its golden vectors.

        Raises:
            UsageError: a file is missing, or ONNX Runtime or a package of a reader.
            UnsafeError: it names classes that are not trusted, or files outside of it.
            DamagedError: a file is not as it was exported, or its vectors are not.
            MismatchError: a newer version wrote it.
        """
        config = read_json(folder / CONFIG)
        if not isinstance(config.get(ONNX), int) or config[ONNX] > FORMAT:
            raise MismatchError(folder, "a newer version of jointembed exported it", "pip install -U jointembed")
        try:
            check_files(folder, config, REQUIRED)
            states = read_readers(folder, config)["readers"]
            space = cls(folder, *(config[name] for name in ("dim", "metric", "fingerprint", "description")))
            readers = {name: from_config(reader, trust, str(folder)) for name, reader in config["readers"].items()}
            for name, reader in readers.items():
                reader.restore(states[name])
            for name, about in config["columns"].items():
                space.add(name, about, readers)
            cells = golden.read(folder)
        except ModuleNotFoundError as error:
            wrong = f"a reader of it needs the package {error.name}"
            raise UsageError(folder, wrong, f"install {error.name}") from error
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            wrong = f"it is not as it was exported ({type(error).__name__}: {error})"
            raise DamagedError(folder, wrong, COPY_AGAIN) from error
        golden.check(space, cells, folder / CONFIG)
        return space

    def add(self, name: str, about: Mapping[str, Any], readers: Mapping[str, Reader]) -> None:
        """Open the graphs of a column or a fusion.

        Args:
            name: of the column.
            about: what config.json has of it.
            readers: by the name of their encoder.
        """
        if "parts" in about:
            self._fusions[name] = self._open(about)
            self.fusions[name] = list(about["parts"])
            return
        tags = about.get("tagger", {})
        self._columns[name] = OnnxColumn(
            readers[about["encoder"]].for_column(name),
            self._open(about),
            self._open(about["head"]),
            any("pieces" in tensor["axes"] for tensor in about["inputs"].values()),
            self._open(about[INT8]) if INT8 in about else None,
            tags.get("tags", ()),
            self._open(tags) if tags else None,
        )
        self.columns[name] = str(about["encoder"])
        self.pools |= {name} if about["in_order"] else set()

    def remove(self, name: str) -> None:
        """Close the graphs of a column or a fusion."""
        for parts in (self.columns, self.fusions, self._columns, self._fusions):
            parts.pop(name, None)
        self.pools.discard(name)

    def _open(self, about: Mapping[str, Any]) -> Session:
        return open_session(self.folder / str(about["file"]))

    def reader(self, column: str) -> Reader:
        """The reader of a column.

        Raises:
            UsageError: the space has no such column, or it is a fusion, or it was not exported.
        """
        if column in self.fusions:
            parts = ", ".join(self.fusions[column])
            raise UsageError(column, f"it is made of {parts}", "give a row with these columns")
        if column not in self._columns:
            wrong = "the model has no such column in ONNX"
            raise UsageError(column, wrong, did_you_mean(column, [*self.columns, *self.fusions]))
        return self._columns[column].reader

    def readers(self) -> list[tuple[Reader, list[str]]]:
        """The reader of each column, with the column."""
        return [(column.reader, [name]) for name, column in self._columns.items()]

    def embed(
        self, column: str, cells: Sequence[Any], max_windows: int | None = None, precision: str = "float32"
    ) -> Vectors:
        """Embed cells of a column, as (N, D) float32; see `Space.embed`.

        Raises:
            UsageError: a cell is missing or of the wrong kind, or the column does not exist.
        """
        vectors = list(self.embed_stream(column, cells, max_windows, precision))
        return np.concatenate([np.empty((0, self.dim), np.float32), *vectors])

    def embed_stream(
        self,
        column: str,
        cells: Iterable[Any],
        max_windows: int | None = None,
        precision: str = "float32",
        seconds: dict[str, float] | None = None,
    ) -> Iterator[Vectors]:
        """Embed cells as they are drawn: a vector (1, D) of each, in their order; see `embed`."""
        if column not in self.fusions:
            self.reader(column)
        is_sound = column in self._columns and self._columns[column].reader.windowed
        source, number = iter(cells), 0
        while block := list(itertools.islice(source, 1 if is_sound else BLOCK_CELLS)):
            names, begun = [f"{column}, cell {number + place}" for place in range(len(block))], perf_counter()
            number += len(block)
            if column in self.fusions:
                vectors = self._fuse(names, column, block, max_windows, precision)
            else:
                vectors = self._embed_column(names, column, block, max_windows, precision)
            if not np.isfinite(vectors).all():
                raise DamagedError(column, "the model gives vectors that are not finite", COPY_AGAIN)
            if seconds is not None:
                seconds["network"] = seconds.get("network", 0.0) + perf_counter() - begun
            yield from vectors[:, None]

    def _embed_column(
        self, names: Sequence[str], column: str, cells: Sequence[Any], max_windows: int | None, precision: str
    ) -> Vectors:
        """The vectors (N, D) of cells with these names."""
        for name, cell in zip(names, cells, strict=True):
            if missing(cell):
                raise UsageError(name, "it is missing, so it has no vector", "leave it out")
        vectors: list[Vectors] = []
        for name, z in zip(names, self._columns[column].embed(cells, VECTOR, max_windows, precision), strict=True):
            if z is None:
                raise UsageError(name, "nothing in it can be read", "leave it out")
            vectors.append(z)
        return np.concatenate(vectors)

    def _fuse(
        self, names: Sequence[str], fusion: str, rows: Sequence[Any], max_windows: int | None, precision: str
    ) -> Vectors:
        """The vectors (N, D) of rows with these names."""
        parts = self.fusions[fusion]
        points = np.zeros((len(rows), len(parts), self.dim), np.float32)
        present = np.zeros((len(rows), len(parts)), bool)
        for place, part in enumerate(parts):
            cells = [row_cell(row, part, self.reader(part).columns) for row in rows]
            numbers = [number for number, cell in enumerate(cells) if not missing(cell)]
            own = [cells[number] for number in numbers]
            for number, point in zip(
                numbers, self._columns[part].embed(own, POINT, max_windows, precision), strict=True
            ):
                if point is None:
                    raise UsageError(names[number], f"nothing in {part} can be read", "leave it out")
                points[number, place], present[number, place] = point[0], True
        for number in np.flatnonzero(~present.any(1)).tolist():
            raise UsageError(names[number], "none of its parts is there", "give at least one of " + ", ".join(parts))
        tensors = [{POINTS: points[at : at + 1], PRESENT: present[at : at + 1]} for at in range(len(rows))]
        return np.concatenate(run_rows(self._fusions[fusion], VECTOR, tensors))

    def derive_cells(self, column: str, vectors: Vectors) -> list[dict[str, Any]]:
        """The cells of other columns that can be read off vectors (N, D) of a column; see `Space.derive_cells`."""
        own = self._columns.get(column)
        if own is None or own.tagger is None:
            return [{} for _ in vectors]
        return list_tags(own.tags, own.tagger.run([PROBABILITIES], {VECTOR: vectors})[0])

    def fast_precisions(self) -> list[str]:
        """What is computed faster than float32: `int8`, if such graphs were exported."""
        return [INT8] if any(column.int8 is not None for column in self._columns.values()) else []

    def calibrate_int8(
        self, column: str, cells: Sequence[Any], max_windows: int | None = None
    ) -> tuple[Vectors, str | None]:
        """The float32 vectors of cells, and the precision in 8-bit integers; None if the column has no such graph."""
        own = self._columns.get(column)
        return self.embed(column, cells, max_windows), INT8 if own is not None and own.int8 is not None else None
