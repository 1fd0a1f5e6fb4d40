"""A folder of sound files as an index: scan -> decode -> embed -> store, under a live bar."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from .. import audio
from ..audio.workers import Decoded, Decoders
from ..cli.console import FolderProgress, format_duration, shows_progress, status
from ..errors import UsageError, did_you_mean
from ..index.backends.files import File
from ..index.index import Index
from ..ingest import ScanReport, exclusive_lock, scan
from ..ingest.walk import Walk
from .index_encoder import TRIED, Model
from .vocabulary import learn

REHEARSED = 20  # files that are timed before a long run
LONG = 200  # files from which on a run is long
FEW = 3  # windows of a sound that the rehearsal offers
AHEAD = 8  # files that are decoded while others are embedded


def fill(
    model: Model,
    folder: str,
    path: str,
    column: str | None,
    windows: int | None = None,
    retry: bool = False,
    follow: bool = False,
    times: dict[str, float] | None = None,
    name: str | None = None,
) -> ScanReport:
    """Bring the index of a folder up to date, or make it.

    Args:
        model: what embeds.
        folder: what is walked.
        path: the index.
        column: the model's column of sounds; its first one if not given.
        windows: of a long sound, at most so many windows.
        retry: also try again what was skipped and has not changed.
        follow: also go where links leave the folder.
        times: the seconds of each stage are added to it.
        name: what the index calls the column; as the model does if not given.

    Raises:
        UsageError: the model has no such column, or something else is wrong with what was asked for; see `scan`.
        MismatchError: the index was made by another model, or with another number of windows.
    """
    times = {} if times is None else times
    with exclusive_lock(path):
        fresh = not Path(path).exists()
        # Of what is indexed, a look is all that most files get: a count for the bar would double it.
        found = [one for one in Walk(os.fsencode(folder), follow) if one] if fresh or shows_progress() else []
        listed = [one for one in found if isinstance(one, File)]
        if not fresh:
            index = Index.open(path)
            if not index.get_meta("column"):
                raise UsageError(path, "this index was made from a table", "choose another name for the folder's")
            name = name or column or index.get_meta("column")
            known = name in index.fields
            of = str(index.field_info(name).get("of", name)) if known else _heard(model.space, column)
            if column not in (None, of):
                raise UsageError(name, f"these vectors are of the column {of}", "choose another --field")
            model.join(index, name, of, windows)
            rate = int(index.field_info(name).get("rate") or 0)
            if not known:
                rate = model.space.reader(of).sample_rate
                index.set_meta({"rate": str(rate)}, name)
        else:
            of = _heard(model.space, column)
            name = name or of
            rate, model.windows = model.space.reader(of).sample_rate, windows
            if not found:
                raise UsageError(
                    folder, "it holds no sound files", "give a folder of .mp3, .flac, .wav, .ogg, .m4a ... files"
                )
            if len(listed) >= LONG:
                rehearse(model, of, rate, folder, listed)
            index = model.create(path, column=name, rate=str(rate))
            model.join(index, name, of, windows)
        bar = FolderProgress()
        bar.start(len(listed))
        with closing(index), Decoders(rate) as decoders, closing(bar):

            def decode(paths: Iterable[bytes]) -> Iterator[Decoded]:
                for one in decoders.map(paths, AHEAD):
                    for stage, seconds in one.times.items():
                        times[stage] = times.get(stage, 0.0) + seconds
                    bar.decoded(one.seconds, one.samples is None)
                    yield one

            def embed(sounds: Iterable[Any]) -> Iterator[Any]:
                return model.stream(index, name, of, sounds, times)

            def progress(books: ScanReport) -> None:
                bar.committed(books.files - books.unsupported)

            version = audio.decoder_version()
            books = scan(
                index,
                folder,
                decode,
                embed,
                field=name,
                retry=retry,
                follow_links=follow,
                decoder_version=version,
                progress=progress,
            )
            if index.fields:
                learn(model, index, name)
            return books


def rehearse(model: Model, column: str, rate: int, folder: str, listed: list[File]) -> None:
    """Say how long a run will take before it starts, after a few files that are spread over the folder."""
    chosen = [os.path.join(os.fsencode(folder), listed[n * len(listed) // REHEARSED].path) for n in range(REHEARSED)]
    with Decoders(rate) as decoders, status(f"Timing {REHEARSED} files"):
        start = time.monotonic()
        sounds = [one.samples for one in decoders.map(chosen, REHEARSED) if one.samples is not None]
        heard = time.monotonic() - start
        if not sounds:
            return
        model.choose(column, sounds[:TRIED])
        given, lasts = model.windows, {}
        for windows in (given, FEW):
            model.windows, start = windows, time.monotonic()
            model.embed(column, sounds)
            lasts[windows] = (heard + time.monotonic() - start) * len(listed) / REHEARSED
    lasts[FEW] = min(lasts.values())  # short sounds have no more windows, and then chance decides
    model.windows = given
    words = f"{len(listed):,} files, about {format_duration(lasts[given])}"
    if given is None:
        words += f"; with --max-windows {FEW} about {format_duration(lasts[FEW])}"
    print(words, flush=True)


def _heard(space: Any, column: str | None) -> str:
    """The column of sounds that is meant."""
    columns = [name for name in space.columns if space.reader(name).sample_rate]
    if not columns:
        raise UsageError("model", "it has no column of sounds", "use a model with one, or a table instead of a folder")
    if column is not None and column not in columns:
        raise UsageError(column, "this is no column of sounds of the model", did_you_mean(column, columns))
    return columns[0] if column is None else column
