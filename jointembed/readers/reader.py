"""The base class of readers, and what file readers, standardised readers and token readers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import audio, values
from ..arguments import check_shape
from ..config import Configurable, to_config
from ..errors import LEAVE_OUT, CodeError, UsageError
from .examples import make_sounds, make_texts
from .image_file import is_image, to_png
from .windows import evenly_spaced

if TYPE_CHECKING:  # torch takes seconds to import, and reading a cell needs none
    from ..ragged import Ragged
    from .front_end import FrontEnd

Array = NDArray[Any]
Preprocess = Callable[["Reader", Any], Array]

MAX_CELLS_IN_STATISTICS = 200  # cells from which means and standard deviations are estimated


class Reader(Configurable, ABC):
    """Turns a cell into arrays, an array into pieces, and a column of cells into a `Ragged`.

    A custom reader needs `preprocess` only. `fit` learns from the training cells (words, ids, means), and `state` and
    `restore` keep what it learned in the checkpoint as plain data. The rest of the toolkit asks a reader only through
    the attributes and methods below, so a custom text reader is searched with words like the built-in ones.
    """

    columns: tuple[str, ...] = ()  # the columns of a row that it reads; empty: the cell that it is given
    reads_files: ClassVar[bool] = False  # a text cell is a path, relative to the folder of the table
    reads_images: ClassVar[bool] = False  # its files are images
    reads_numbers: ClassVar[bool] = False  # the cells of its columns are numbers
    scales_numbers: ClassVar[bool] = False  # numbers keep their proportions, so that an outlier matters
    reads_text: ClassVar[bool] = False  # a cell is text, so that words can be searched for
    windowed: ClassVar[bool] = False  # the pieces of a cell are parts of one thing, such as the windows of a song
    has_weights: ClassVar[bool] = False  # the items of a piece have weights: they are summed, and not averaged
    tokens_are_pieces: ClassVar[bool] = False  # each token gets a vector of its own, as each category of a list does
    cached: ClassVar[bool] = False  # cache the arrays of `preprocess` on disk, and apply `augment` to them
    is_fitted: bool = False  # it came with a trained model and must not be fitted again
    sample_rate: int | None = None  # Hz of the sound that it reads; None if it does not read sound
    size: int = 0  # size of the vocabulary; `size` itself is the number of the unknown token
    counts: Sequence[int] = ()  # how often each entry of the vocabulary occurred in training, where that was counted
    mean: Any = (0.0,)  # what a network subtracts from the pieces, and then divides them by
    std: Any = (1.0,)

    def for_column(self, column: str) -> Reader:
        """The reader of a column: itself, unless it reads columns that share an encoder differently."""
        return self

    def reads_elements(self) -> bool:
        """Whether it is an `ElementReader`, so that a column is fitted and encoded by its distinct elements."""
        return False

    def reads_matrix(self) -> bool:
        """Whether it is a `MatrixReader`, so that columns of numbers are fitted and encoded as a matrix."""
        return False

    def fit(self, cells: Sequence[Any]) -> None:
        """Learn from the training cells, including missing ones."""

    def state(self) -> dict[str, Any]:
        """What `fit` learned, as plain data."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Set what `fit` learned from what `state` returned."""

    @abstractmethod
    def preprocess(self, cell: Any) -> Array:
        """Turn one element of a cell into an array. It must be deterministic: its results may be cached on disk."""

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`, as plain data; they name its cache."""
        config: dict[str, Any] = to_config(self)
        return config

    def augment(self, array: Array, rng: np.random.Generator) -> Array:
        """Change a preprocessed array at random, in training only."""
        return array

    def pieces(self, array: Array) -> list[Array]:
        """Cut a preprocessed array into pieces; each piece gets a vector."""
        return [array]

    def windows(self, cell: Any, max_windows: int | None = None) -> list[Array]:
        """The pieces of one element of a cell, without augmentation; at most `max_windows`, evenly spaced.

        They are equal, bit for bit, to those of `pieces(preprocess(cell))`.
        """
        pieces = self.pieces(self.preprocess(cell))
        return [pieces[number] for number in evenly_spaced(len(pieces), max_windows)]

    def elements(self, cell: Any) -> list[Any]:
        """The elements of a cell, which are preprocessed one by one: the items of a list, or the cell itself."""
        return values.explode(cell)

    def vocabulary(self) -> list[str]:
        """The words or ids that it knows, in the order of their numbers; empty if they cannot be listed."""
        return []

    def parse(self, query: str) -> Any:
        """Turn the text of a query into a cell. For a reader of text it is the text, or a JSON list of texts.

        Raises:
            UsageError: the text is not a cell of this reader.
        """
        if self.reads_text:
            return values.parse_texts(query)
        return values.parse_cell(query)

    def example_cells(self) -> list[Any]:
        """A few cells that it reads, made without data; an exported model is checked by their vectors.

        Of a reader of files they are arrays. Without any, the vectors of its columns are not checked.
        """
        if self.reads_text:
            return list(make_texts(self.vocabulary()))
        return list(make_sounds(self.sample_rate)) if self.sample_rate else []

    def front_end(self) -> FrontEnd:
        """What of it tensors can compute, for an export to ONNX.

        Raises:
            UsageError: it has none.
        """
        raise UsageError(type(self).__name__, "it prepares cells in ways that are not exported to ONNX", LEAVE_OUT)

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """What a graph with its `front_end` reads of a cell, by the names of the tensors: a row for each element.

        Args:
            cell: a cell; of a windowed reader, one element of it.
            in_pieces: for a front end of rows of several pieces: one row, with a piece for each element.

        Raises:
            UsageError: it has no front end, or the cell is not one of this reader.
        """
        raise UsageError(type(self).__name__, "it prepares cells in ways that are not exported to ONNX", LEAVE_OUT)

    def tensor_blocks(
        self, cell: Any, in_pieces: bool = False, max_windows: int | None = None
    ) -> Iterator[dict[str, Array]]:
        """The tensors of a cell for one run of a graph after another, whose pieces follow each other; see `tensors`.

        Args:
            cell: a cell.
            in_pieces: see `tensors`.
            max_windows: of a windowed element, at most this many windows; see `windows`.
        """
        yield self.tensors(cell, in_pieces)

    def unknown(self, cell: Any) -> list[str]:
        """The elements of a cell that it knows nothing about: unknown ids, texts without any known word."""
        return []

    def keys(self, cells: Sequence[Any]) -> Array:
        """A key for each cell (B,): equal cells have equal keys, and the key of a missing cell is unique."""
        return np.fromiter(
            (-1 - row if values.missing(cell) else values.key(cell) for row, cell in enumerate(cells)),
            np.int64,
            len(cells),
        )

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        preprocess: Preprocess | None = None,
    ) -> Ragged:
        """A column of cells as a `Ragged`.

        Args:
            cells: B cells, including missing ones.
            rng: the random generator of `augment`; None turns augmentation off.
            preprocess: replaces `preprocess`, for example by a cache of its results.
        """
        import torch

        from ..ragged import Ragged

        pieces: list[Array] = []
        rows: list[int] = []
        piece_keys: list[int] = []
        multiple = False
        for row, cell in enumerate(cells):
            elements = [] if values.missing(cell) else self.elements(cell)
            multiple |= len(elements) > 1
            for element in elements:
                array = preprocess(self, element) if preprocess else self.preprocess(element)
                cut = self.pieces(array if rng is None else self.augment(array, rng))
                for piece in cut if self.shape else ():
                    check_shape(self, "pieces", piece, self.shape)
                pieces += cut
                rows += [row] * len(cut)
                piece_keys += [] if self.windowed else [values.key(element)] * len(cut)
        keys = self.keys(cells)
        stacked = np.stack(pieces) if pieces else np.zeros((0, *self.shape), np.float32)
        return Ragged(
            torch.from_numpy(np.ascontiguousarray(stacked)),
            torch.tensor(rows, dtype=torch.int64),
            torch.from_numpy(keys),
            piece_keys=torch.tensor(piece_keys, dtype=torch.int64) if multiple and not self.windowed else None,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one piece, which is also needed for a column without any piece."""
        return ()


def check_ragged(reader: Reader, x: Any) -> Ragged:
    """What the `encode` of a reader has returned.

    Raises:
        CodeError: it is something else; the reader is of another package.
    """
    from ..ragged import Ragged

    if isinstance(x, Ragged):
        return x
    kind = type(reader)
    wrong = f"it returned {type(x).__module__}.{type(x).__qualname__}, and not a jointembed.Ragged"
    fix = "return what Reader.encode returns, or define `preprocess` alone"
    raise CodeError(f"{kind.__module__}.{kind.__qualname__}.encode", wrong, fix)


class FileReader(Reader):
    """A reader of files. A cell is a path, or the content itself; or a list of these."""

    reads_files = True

    def elements(self, cell: Any) -> list[Any]:
        """The items of a list of files, or the cell itself.

        An image of PIL is given as the bytes of a PNG, a decoder of a sound as its samples, and of {"bytes", "path"}
        the bytes if they are there: all of these can be compared.
        """
        items = values.present(cell) if isinstance(cell, list | tuple) else []
        return [_to_file(item) for item in items] if items and _is_file(items[0]) else [_to_file(cell)]

    def keys(self, cells: Sequence[Any]) -> Array:
        """The keys of cells; see `Reader.keys`."""
        return super().keys([cell if values.missing(cell) else self.elements(cell) for cell in cells])


def _is_file(item: Any) -> bool:
    return isinstance(item, str | Path | bytes | dict) or is_image(item) or audio.is_decoder(item)


def _to_file(item: Any) -> Any:
    if values.is_content(item):
        return item["bytes"] or item["path"]
    if is_image(item):
        return to_png(item)
    return audio.decode_all(item) if audio.is_decoder(item) else values.to_plain(item)


class Standardized(Reader):
    """A reader that learns the mean and the standard deviation of its values from the training cells."""

    def state(self) -> dict[str, Any]:
        """The mean and the standard deviation."""
        return {"mean": self.mean, "std": self.std}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the mean and the standard deviation."""
        self.mean, self.std = list(state["mean"]), list(state["std"])

    def preprocess_sample(self, cells: Sequence[Any]) -> list[Array]:
        """The arrays of at most 200 cells, evenly spaced; of a cell of several elements, the first."""
        present = [cell for cell in cells if not values.missing(cell)]
        step = max(1, len(present) // MAX_CELLS_IN_STATISTICS)
        sample = present[::step][:MAX_CELLS_IN_STATISTICS]
        return [self.preprocess(self.elements(cell)[0]) for cell in sample]

    def standardize(self, arrays: Array, axis: int | tuple[int, ...], min_std: float) -> None:
        """Set the mean and the standard deviation of arrays (N, ...) along `axis`, which includes 0."""
        wide = arrays.astype(np.float64)
        std = np.maximum(wide.std(axis, keepdims=True)[0], min_std)
        self.restore({"mean": wide.mean(axis, keepdims=True)[0].tolist(), "std": std.tolist()})


class TokenReader(Reader):
    """A reader whose elements are lists of token ids, to look up in a table of vectors; it encodes whole columns."""

    max_length: int = 0  # the number of tokens at which an element is cut off; 0: no limit

    @abstractmethod
    def token_ids(self, element: Any) -> Sequence[int]:
        """The ids of the tokens in one element; `size` stands for an unknown token."""

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: the token ids of each element."""
        from .front_end import Tokens

        return Tokens()

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: the ids of tokens, filled up to the longest element, and their mask."""
        return stack_tokens([self.preprocess(element) for element in self.elements(cell)], in_pieces)

    def preprocess(self, cell: Any) -> Array:
        """The ids of the tokens in one element (V,)."""
        return np.asarray(self.token_ids(cell), np.int64)

    def encode(
        self,
        cells: Sequence[Any],
        rng: np.random.Generator | None = None,
        preprocess: Preprocess | None = None,
    ) -> Ragged:
        """A column of cells as a `Ragged`, without one tensor per cell; see `Reader.encode`."""
        import torch

        from ..ragged import Ragged

        keys = self.keys(cells)
        counts: list[int] = []
        piece_keys: list[int] = []
        sizes: list[int] = []
        ids: list[int] = []
        encoded: dict[Any, tuple[int, Sequence[int]]] = {}
        for cell in cells:
            elements = [] if values.missing(cell) else self.elements(cell)
            counts.append(len(elements))
            for element in elements:
                pair = encoded.get(element) if isinstance(element, str | int) else None
                if pair is None:
                    pair = values.key(element), self.token_ids(element)
                    if isinstance(element, str | int):
                        encoded[element] = pair
                piece_keys.append(pair[0])
                sizes.append(len(pair[1]))
                ids.extend(pair[1])
        return Ragged(
            torch.tensor(ids, dtype=torch.int64),
            torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64)),
            torch.from_numpy(keys),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(sizes, dtype=torch.int64).cumsum(0)]),
            piece_keys=torch.tensor(piece_keys, dtype=torch.int64) if max(counts, default=0) > 1 else None,
        )


def stack_tokens(rows: Sequence[Array], in_pieces: bool = False) -> dict[str, Array]:
    """Token ids (T,) of P elements as (P, T), and their mask (P, T); `in_pieces`: as (1, P, T)."""
    ids = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    tensors = {"input_ids": ids, "attention_mask": mask}
    return {name: tensor[None] for name, tensor in tensors.items()} if in_pieces else tensors
