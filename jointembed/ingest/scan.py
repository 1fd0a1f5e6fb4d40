"""The scan of a folder: new files are decoded, embedded and committed; an unchanged file costs one stat()."""

from __future__ import annotations

from pathlib import Path

from ..index.index import Index
from .lock import exclusive_lock
from .report import ScanReport
from .roots import find_root
from .scan_pipeline import DecodeFunction, DeriveFunction, EmbedFunction, Pipeline, Progress
from .walk import Walk


def scan(
    index: Index,
    root: Path | str,
    decode: DecodeFunction,
    embed: EmbedFunction,
    *,
    derive: DeriveFunction = lambda vector: {},
    field: str = "audio",
    retry: bool = False,
    follow_links: bool = False,
    decoder_version: str = "",
    batch: int = 32,
    seconds: float = 10.0,
    progress: Progress | None = None,
) -> ScanReport:
    """Bring an index up to date with a folder. An interrupted scan is completed by the next one.

    A file is identified by its content. A file with the same size and time as before is not read. A file with the same
    bytes as another shares its row and vector. A file that was moved keeps its row and id, which is its first path
    (`Index.resolve` finds it by its new one). Files that are gone are marked, and their rows kept; see `prune`.
    Searches see every commit while the scan runs.

    A row has the columns title, path and seconds, those tags of artist, album, genre, year and track that the file has
    or, without them, its path plainly gives (see `path_metadata.py`), `musicbrainz_recordingid` if it is tagged, and
    `partial` if only a part of the file could be decoded. Its path is that of the original if the file has links or
    copies. A file that changes updates these cells and keeps all others of its row; cells that `cluster` wrote are
    removed if the sound has changed too.

    Args:
        index: an empty index, or one filled by scans of this folder or others. Take its `exclusive_lock` before you
            create or open it; the scan takes it in any case.
        root: the folder; see `find_root`.
        decode: maps absolute paths to decoded sounds, in their order; it must draw the paths in the thread that
            iterates over its result.
        embed: maps samples to vectors (D,), in their order; it must draw the samples in the thread that iterates over
            its result, and may draw some ahead.
        derive: the cells that a row gets from its vector, such as tags.
        field: the vector field of the index.
        retry: whether to try skipped files again that have not changed.
        follow_links: whether to follow links that leave the folder.
        decoder_version: files that another version of the decoder refused are tried again.
        batch: new files between two commits.
        seconds: the longest time between two commits while there is something to commit.
        progress: called with the report after each commit, and now and then in between.

    Returns:
        The counts of the scan, which add up.

    Raises:
        DamagedError: the folder cannot be read, or is empty although the index has files of it; nothing is changed.
        UsageError: the index was made from a table, it has a folder that contains this one or lies inside it, or
            another process is writing it.
        DiskFullError: no space is left; everything committed stays.
    """
    with exclusive_lock(index.path):
        walk = Walk(find_root(index, root), follow_links)
        stages = Pipeline(index, walk, decode, embed, derive, field, retry, decoder_version, batch, seconds, progress)
        return stages.run()
