"""`jointembed index`: a column of a table, or the sounds of a folder, as an index."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from ..errors import SkippedError, UsageError
from ..index.index import Index
from ..indexing.index_encoder import Model


def index(
    model: str,
    source: str,
    index: str,
    column: str | None = None,
    name: str | None = None,
    split: str = "all",
    max_windows: int | None = None,
    retry: bool = False,
    follow: bool = False,
    strict: bool = False,
    profile: bool = False,
    trust: list[str] | None = None,
) -> None:
    """Embed a column of a table, or the sound files of a folder, into an index: one SQLite file and a matrix beside it.

    Run again, it embeds only what is new or has changed; broken off, it goes on where it stopped.

    Args:
        model: a checkpoint, or the folder of a run.
        source: a .jsonl, .csv or .parquet file or a folder that holds rows.*, which carry an id; or a music folder.
        index: the file to write.
        column: which column of the model to embed; the first that the source has if not given.
        name: what the index calls the column, so that it may hold vectors of several models; as the model if not given.
        split: rows of this split only; all rows if not given.
        max_windows: of a long sound, take so many windows spread evenly over it; all of them if not given.
        retry: also try again the files of a folder that were skipped and have not changed.
        follow: also go where links leave the folder.
        strict: exit with 3 if files were skipped.
        profile: print where the time went.
        trust: packages whose encoders and readers the model may import.
    """
    if max_windows is not None and max_windows < 1:
        raise UsageError("max_windows", f"{max_windows} windows have no mean", "use a whole number from 1 on")
    if not Path(source).exists():
        raise UsageError(source, "there is no such table or folder", "correct the path")
    if Path(index).is_dir():
        raise UsageError(
            index, "this is a folder, not an index", f"give a file to write, such as {Path(index) / 'songs.index'}"
        )
    used = Model(model, trust)
    if not Path(source).is_dir() or any(Path(source).glob("rows.*")):
        from ..indexing.from_table import fill as from_table

        of_folders = {"--retry": retry, "--follow": follow, "--strict": strict, "--profile": profile}
        for flag in (flag for flag, given in of_folders.items() if given):
            raise UsageError(flag, "this is of a folder of sounds, and the source is a table", f"leave {flag} out")
        print(from_table(used, source, index, column, split, max_windows, name))
        return
    from ..indexing.from_folder import fill as from_folder

    if split != "all":
        raise UsageError("split", "a folder of sounds has no splits", "leave --split out, or index a table")
    times: dict[str, float] = {}
    start = perf_counter()
    books = from_folder(used, source, index, column, max_windows, retry, follow, times, name)
    print(f"{index}: {books}")
    if books.skipped:
        print(f"see: jointembed skips {index}")
    if profile:
        print(_profile(times, perf_counter() - start))
    with Index.open(index) as opened:
        if "trained on synthetic songs" in opened.note:
            from ..indexing.from_table import warn

            warn()
    if strict and books.skipped:
        raise SkippedError(index, f"{books.skipped} files were skipped", f"jointembed skips {index}")


def _profile(times: dict[str, float], whole: float) -> str:
    """The seconds of each stage, those of the decoding processes among them, beside those that the run took."""
    parts = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in times.items())
    return f"{parts}; {whole:.1f} s in all"
