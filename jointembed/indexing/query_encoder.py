"""From a query of any kind to a vector: the only way, for the commands, the server and Python alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ..audio.formats import AUDIO_EXTENSIONS
from ..audio.workers import Decoders
from ..errors import MismatchError, UsageError, did_you_mean
from ..files import ADOPT_MUSIC
from ..index.backends.connection import rebuild_command, recreate_hint
from ..index.backends.scan_files import FileTable
from ..index.index import Index
from ..ingest.sound_file import hash_file
from ..values import missing, parse_cell, row_cell
from .index_encoder import IndexEncoder

IMAGE_EXTENSIONS = {".png", ".npy", ".bmp", ".webp", ".jpg", ".jpeg"}
MAX_WINDOWS_IN_QUERY = 720  # two hours in windows of 10 s; those of a longer sound are spread over it
DECODE_TIMEOUT = 15.0  # seconds

Vector = NDArray[np.float32]


class NoVectorError(UsageError):
    """No vector stands for a text: the field has no model, or its model reads no text or knows none of the words."""


class QueryEncoder:
    """Embeds queries for one field of an index: texts, ids, files, and rows of a fused column.

    Args:
        encoder: the model of the field, attached to it.
        decoders: decode sound files in processes that can be killed; by default they are read in this process. The
            vectors are the same, bit for bit.

    Raises:
        MismatchError: another model made the field's vectors.
    """

    def __init__(self, encoder: IndexEncoder, decoders: Decoders | None = None) -> None:
        self.encoder, self.decoders = encoder, decoders
        self.text_column = next(iter(text_columns(encoder.space)), None)
        self.audio_column = audio_column(encoder)

    @classmethod
    def open(
        cls, index: Index, field: str | None = None, trust: Sequence[str] | None = None, device: str = "auto"
    ) -> QueryEncoder:
        """The query encoder of a field, by default the first; see `open_encoder` for what is raised."""
        return cls(open_encoder(index, field, trust, device=device))

    @property
    def words(self) -> bool:
        """Whether it embeds texts."""
        return self.text_column is not None

    @property
    def sounds(self) -> bool:
        """Whether it embeds sound files."""
        return self.audio_column is not None

    def text(self, text: str) -> Vector:
        """The vector (D,) of a text; see `encode`."""
        return self.encode(text, self.text_column)

    def sound(self, path: str) -> Vector:
        """The vector (D,) of a sound file, with the same bits as in the field; see `encode`."""
        return self.encode(path, self.audio_column)

    def encode(self, query: str, column: str | None = None) -> Vector:
        """The vector (D,) of a query.

        Args:
            query: a text, an id, the path of a file, or JSON for a list or a row.
            column: the model's column that the query is a cell of; see `guess_column` if it is not given.

        Raises:
            NoVectorError: the query consists of unknown ids or words only, so that its vector would be that of any
                other unknown query, or the model reads no text.
            UsageError: the query is empty, or is not a cell of the column.
        """
        if not query.strip():
            raise UsageError("query", "it is empty", "give words, an id or a path")
        column = column or self.guess_column(query)
        return self.encoder.embed(column, [self._parse(query, column)]).ravel()

    def guess_column(self, query: str) -> str:
        """The column that a query is meant for.

        A row is meant for the first fused column; a file for the field's own column, or else the first that reads files
        of its kind; anything else for the first text column, or else the first column of ids.

        Raises:
            UsageError: no column fits, or the query is the path of a missing file.
        """
        space = self.encoder.space
        if query.startswith("{") and space.fusions:
            return str(next(iter(space.fusions)))
        extension, is_file = Path(query).suffix.lower(), os.path.isfile(query)
        is_image = extension in IMAGE_EXTENSIONS
        if not is_file and (is_image or extension.encode("utf-8", "replace") in AUDIO_EXTENSIONS):
            fix = "correct its path; if these are words, give --column or --mode text"
            raise UsageError(query, "this file does not exist", fix)
        readers = {name: space.reader(name) for name in space.columns}
        if is_file:
            columns = [name for name, reader in readers.items() if reader.reads_files]
            columns = [name for name in columns if bool(readers[name].sample_rate) != is_image]
            columns.sort(key=lambda name: name != self.encoder.column)
        else:
            texts = text_columns(space)
            columns = texts + [name for name, reader in readers.items() if name not in texts and reader.vocabulary()]
        if columns:
            return str(columns[0])
        if not is_file and all(reader.reads_files for reader in readers.values()):
            wrong = "the model has no text column, and this file does not exist"
            fix = f"give a file, or index with a model that reads words too, such as that of {ADOPT_MUSIC}"
            raise NoVectorError(query, wrong, fix)
        fix = "give --column: one of " + ", ".join(space.columns)
        raise UsageError("column", "the model has no column for such a query", fix)

    def _parse(self, query: str, column: str) -> Any:
        """The cell that a query stands for."""
        space = self.encoder.space
        if column in space.fusions:
            if query[:1] not in "[{":
                parts = ", ".join(space.fusions[column])
                raise UsageError(column, f"it is fused from {parts}", 'give a row, such as \'{"words": "..."}\'')
            cell = parse_cell(query)
            cells = {part: row_cell(cell, part, space.reader(part).columns) for part in space.fusions[column]}
            self._check_known({part: cell for part, cell in cells.items() if not missing(cell)})
            return cell
        reader = space.reader(column)
        if self.decoders is not None and column == self.audio_column:
            if not os.path.isfile(query):
                raise UsageError(query, "this file does not exist", "correct its path")
            [sound] = self.decoders.map([os.fsencode(query)])
            if sound.samples is None:
                raise UsageError("the file", sound.problem, sound.fix)
            return sound.samples
        cell = reader.parse(query)
        self._check_known({column: cell})
        return cell

    def _check_known(self, cells: dict[str, Any]) -> None:
        """Raise NoVectorError if the model knows no element of any of the cells, which are given by their columns."""
        refusals = []
        for column, cell in cells.items():
            reader = self.encoder.space.reader(column)
            unknown = reader.unknown(cell)
            if not unknown or len(unknown) < len(reader.elements(cell)):
                return
            if reader.reads_text:
                fix = "use other words; --mode text finds these words in the columns of the index"
                refusals.append((unknown[0], "the model knows none of these words", fix))
            else:
                fix = did_you_mean(unknown[0], reader.vocabulary())
                refusals.append((unknown[0], f"the model knows no such {column}", fix))
        if refusals:
            raise NoVectorError(*refusals[0])


class QueryEncoders:
    """The query encoders of fields of one or more indexes, for a server: models that they share are loaded once.

    Args:
        trust: packages whose encoders and readers the models may import.
        device: what computes; see `resolve_device`.
    """

    def __init__(self, trust: Sequence[str] | None = None, device: str = "auto") -> None:
        self.trust, self.device = trust, device
        self.spaces: WeakValueDictionary[str, Any] = WeakValueDictionary()  # by fingerprint
        self.decoders: dict[int, Decoders] = {}  # by sample rate

    def load(self, path: Path, field: str) -> QueryEncoder:
        """The query encoder of a field of an index; see `open_encoder` for what is raised."""
        with Index.open(path) as index:
            encoder = open_encoder(index, field, self.trust, self.spaces, self.device)
        self.spaces[encoder.space.fingerprint] = encoder.space
        encoder.max_windows = min(encoder.max_windows or MAX_WINDOWS_IN_QUERY, MAX_WINDOWS_IN_QUERY)
        column, decoders = audio_column(encoder), None
        if column is not None:
            rate = encoder.space.reader(column).sample_rate
            decoders = self.decoders.get(rate) or Decoders(rate, seconds=DECODE_TIMEOUT)
            self.decoders[rate] = decoders
        return QueryEncoder(encoder, decoders)

    def close(self) -> None:
        """End the processes that decode."""
        for decoders in self.decoders.values():
            decoders.close()


def open_encoder(
    index: Index,
    field: str | None = None,
    trust: Sequence[str] | None = None,
    spaces: WeakValueDictionary[str, Any] | None = None,
    device: str = "auto",
) -> IndexEncoder:
    """The model of a field, by default the first, with the field's settings.

    Args:
        index: the index.
        field: the field.
        trust: packages whose encoders and readers the model may import.
        spaces: loaded models, by fingerprint.
        device: what computes; see `resolve_device`.

    Raises:
        NoVectorError: the field has no model.
        UsageError: the model's file is missing.
        MismatchError: another model made the vectors.
    """
    location = index.field_info(field).model
    if not location:
        wrong = "this field has no model, which words and files as queries need"
        fix = "search for what is similar to an item, or search its text with --mode text"
        raise NoVectorError("model", wrong, fix)
    try:
        encoder = IndexEncoder(location, trust, device)
    except UsageError as error:
        fix = f"put it back ({location}), or, if it has been moved, run: {rebuild_command(index.path)}"
        raise UsageError("model", "the model of this field is missing", fix) from error
    if spaces and (space := spaces.get(index.field_info(field).fingerprint)) is not None:
        encoder.space = space
    try:
        encoder.attach(index, field)
    except MismatchError as error:
        problem = "another model made the vectors of this field"
        raise MismatchError("model", problem, recreate_hint(index.path)) from error
    return encoder


def text_columns(space: Any) -> list[str]:
    """The columns of text of a model: first one named `query`, then those whose vocabulary can be listed."""
    columns = [name for name in space.columns if space.reader(name).reads_text]
    return sorted(columns, key=lambda name: (name != "query", not space.reader(name).vocabulary()))


def audio_column(encoder: IndexEncoder) -> str | None:
    """The column for sounds as queries: the field's own if it is one of sounds, else the model's first."""
    space = encoder.space
    columns = [name for name in space.columns if space.reader(name).sample_rate]
    return encoder.column if encoder.column in columns else next(iter(columns), None)


def find_item(index: Index, name: str) -> str:
    """The id of an item, by its id, path or title, which may be spelt otherwise; see `Index.resolve_spelling`.

    Raises:
        UsageError: the index has no such item, or several.
    """
    id = index.resolve(name) or index.resolve_spelling(name)
    if id is None:
        raise UsageError(name, "the index has no such id, path or title", index.suggest(name))
    return id


def find_item_or_encode(
    index: Index, name: str, field: str | None, trust: Sequence[str] | None, device: str = "auto"
) -> str | Vector:
    """The id of an item, by its id, path or title, or the vector of a file.

    A file with the bytes of an indexed one is this item.

    Raises:
        UsageError: there is neither such an item nor such a file.
    """
    id = index.resolve(name)
    if id is None and os.path.isfile(name):
        return _find_by_content(index, name, field) or QueryEncoder.open(index, field, trust, device).encode(name)
    id = id or index.resolve_spelling(name)
    if id is None:
        wrong = "the index has no such id, path or title, and no such file exists"
        raise UsageError(name, wrong, index.suggest(name))
    return id


def _find_by_content(index: Index, path: str, field: str | None) -> str | None:
    """The id of the item whose file, found by a scan, has the bytes of a file."""
    if not index.info.scan_field or not index.fields:
        return None
    return FileTable(index.backend, field or index.fields[0]).find_row(hash_file(os.fsencode(path)))
