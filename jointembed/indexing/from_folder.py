"""Embed the sound files of a folder into an index: scan, decode, embed, store."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from .. import audio
from ..audio.workers import Decoded, Decoders, FileSpan
from ..errors import UsageError, did_you_mean
from ..files import ADOPT_MUSIC
from ..index.backends.base import Root
from ..index.backends.scanned import File
from ..index.index import Index
from ..ingest import ScanReport, exclusive_lock, scan
from ..ingest.walk import Walk
from .index_encoder import TRIAL_SOUNDS, IndexEncoder
from .vocabulary import store_vocabulary

TIMED_FILES = 20  # files that are timed before a long run
FEW_WINDOWS = 3  # windows of a sound that the estimate offers
DECODED_AHEAD = 8  # files that are decoded while others are embedded


class Progress(Protocol):
    """Shows the progress of indexing a folder."""

    visible: bool  # only then are the files counted before an index is updated

    def start(self, total: int) -> None:
        """Begin with a number of files."""

    def decoded(self, seconds: float, skipped: bool) -> None:
        """A file was decoded to seconds of sound, or skipped."""

    def committed(self, files: int) -> None:
        """The number of files that are done, unchanged ones included."""

    def status(self, text: str) -> contextlib.AbstractContextManager[Any]:
        """A context in which a text is shown."""

    def estimate(self, files: int, seconds: float, windows: int | None, seconds_of_few: float) -> None:
        """The duration of a long run; also with few windows of each sound, unless all have few."""

    def close(self) -> None:
        """End."""


def index_folder(
    encoder: IndexEncoder,
    folder: str,
    path: str,
    progress: Progress,
    column: str | None = None,
    max_windows: int | None = None,
    retry: bool = False,
    follow_links: bool = False,
    times: dict[str, float] | None = None,
    field: str | None = None,
    min_files_to_estimate: int = 200,
) -> ScanReport:
    """Create the index of a folder, or bring it up to date with the folder, which may be a further one.

    Args:
        encoder: the model.
        folder: the folder.
        path: the index.
        progress: shows the progress.
        column: the model's column of sounds; the first if not given.
        max_windows: embed at most this many windows of a long sound.
        retry: retry files that were skipped and have not changed.
        follow_links: follow links that leave the folder.
        times: the seconds of each stage are added to it.
        field: the field of the index; named like the column if not given.
        min_files_to_estimate: estimate the duration of a new index of at least this many files.

    Raises:
        UsageError: the model has no such column, the folder has no sound files or overlaps with another one of the
            index, or the index is one of a table.
        MismatchError: the index was made by another model, or with another number of windows.
    """
    times = {} if times is None else times
    with exclusive_lock(path), contextlib.ExitStack() as stack:
        is_new = not Path(path).exists()
        # To update an index takes little more than a walk, so that a second one would double its time.
        walk = Walk(Root(os.path.realpath(folder)), follow_links)
        entries = [entry for entry in walk if entry] if is_new or progress.visible else []
        sounds = [entry for entry in entries if isinstance(entry, File)]
        if not is_new:
            index = stack.enter_context(contextlib.closing(Index.open(path)))
            field, rate = _prepare(encoder, index, column, field, max_windows)
        else:
            encoder.column = _audio_column(encoder.space, column)
            encoder.max_windows = max_windows
            field, rate = field or encoder.column, encoder.space.reader(encoder.column).sample_rate
            if not entries:
                fix = "give a folder of .mp3, .flac, .wav, .ogg, .m4a ... files"
                raise UsageError(folder, "it holds no sound files", fix)
            if len(sounds) >= max(min_files_to_estimate, 1):
                _estimate(encoder, rate, walk, sounds, progress)
            index = encoder.create(path, scan_field=field, sample_rate=rate)
            stack.enter_context(contextlib.closing(index))
            encoder.prepare(index, field, encoder.column, max_windows)
        decoders = stack.enter_context(Decoders(rate))
        progress.start(len(sounds))
        stack.enter_context(contextlib.closing(progress))

        def decode(paths: Iterable[bytes | FileSpan]) -> Iterator[Decoded]:
            for sound in decoders.map(paths, DECODED_AHEAD):
                for stage, seconds in sound.times.items():
                    times[stage] = times.get(stage, 0.0) + seconds
                progress.decoded(sound.seconds, sound.samples is None)
                yield sound

        report = scan(
            index,
            folder,
            decode,
            lambda samples: encoder.embed_stream(index, field, samples, times),
            derive=encoder.derive_cells,
            field=field,
            retry=retry,
            follow_links=follow_links,
            decoder_version=audio.decoder_version(),
            progress=lambda report: progress.committed(report.files - report.unsupported),
        )
        if index.fields:
            store_vocabulary(encoder, index, field)
        return report


def _prepare(
    encoder: IndexEncoder, index: Index, column: str | None, field: str | None, max_windows: int | None
) -> tuple[str, int]:
    """Attach the encoder to a field of an index of a folder, or add the field; the field and its sample rate."""
    if not index.info.scan_field:
        raise UsageError(index.path, "this index was made from a table", "write another index for the folder")
    field = field or column or index.info.scan_field
    exists = field in index.fields
    name = (index.field_info(field).model_column or field) if exists else _audio_column(encoder.space, column)
    if column not in (None, name):
        raise UsageError(field, f"these vectors are of the column {name}", "choose another --field")
    encoder.prepare(index, field, name, max_windows)
    if not exists:
        index.set_field_info(field, sample_rate=encoder.space.reader(name).sample_rate)
    return field, index.field_info(field).sample_rate


def _estimate(encoder: IndexEncoder, rate: int, walk: Walk, files: list[File], progress: Progress) -> None:
    """Estimate the duration of a run from a few files that are spread over the folder."""
    count = min(TIMED_FILES, len(files))
    paths = [walk.source(files[n * len(files) // count].path) for n in range(count)]
    with Decoders(rate) as decoders, progress.status(f"Timing {count} files"):
        start = time.monotonic()
        sounds = [sound.samples for sound in decoders.map(paths, count) if sound.samples is not None]
        decoding = time.monotonic() - start
        if not sounds:
            return
        encoder.choose_precision(sounds[:TRIAL_SOUNDS])
        max_windows, seconds = encoder.max_windows, {}
        for windows in (max_windows, FEW_WINDOWS):
            encoder.max_windows, start = windows, time.monotonic()
            encoder.embed(encoder.column, sounds)
            seconds[windows] = (decoding + time.monotonic() - start) * len(files) / count
        encoder.max_windows = max_windows
    few = FEW_WINDOWS if max_windows is None else None
    # Short sounds have no more windows than few, and then chance decides which measurement is longer.
    progress.estimate(len(files), seconds[max_windows], few, min(seconds.values()))


def _audio_column(space: Any, column: str | None) -> str:
    """The model's column of sounds to embed."""
    columns = [name for name in space.columns if space.reader(name).sample_rate]
    if not columns:
        fix = f"use a model with one, such as that of {ADOPT_MUSIC}, or a table instead of a folder"
        raise UsageError("model", "it has no column of sounds", fix)
    if column is not None and column not in columns:
        raise UsageError(column, "the model has no such column of sounds", did_you_mean(column, columns))
    return columns[0] if column is None else column
