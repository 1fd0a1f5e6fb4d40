"""Embed a table or a folder of sound files into an index."""

from __future__ import annotations

import sys


def index(
    model: str,
    source: list[str],
    index: str,
    *,
    column: str | None = None,
    field: str | None = None,
    split: str = "all",
    max_windows: int | None = None,
    retry: bool = False,
    follow_symlinks: bool = False,
    strict: bool = False,
    profile: bool = False,
    approximate: bool = False,
    encoding: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Embed a column of a table, or the sound files of a folder, into an index: one SQLite file and its vectors.

    Run it again to embed only what is new or has changed; an interrupted run resumes where it stopped.

    Args:
        model: a checkpoint, the folder of a run, an exported model, or its folder `onnx`, which needs no torch.
        source: a .jsonl, .csv or .parquet file or a folder with rows.*, whose rows need an id; or a music folder, or
            several. A later run may add further folders, and update each by itself.
        index: the file to write; or, of a table, a folder that ends in .lance, which becomes a table of Lance.
        column: the model's column to embed; the first that the source has if not given.
        field: the name of the index's vectors, so that it can hold those of several models; the column's if not given.
        split: the rows of this split only; all if not given.
        max_windows: embed at most this many windows of a long sound, evenly spaced; all if not given.
        retry: also retry the skipped files of a folder that have not changed.
        follow_symlinks: also follow links that leave the folder.
        strict: exit with 3 if files were skipped.
        profile: print the time that each stage took.
        approximate: then build a graph for searches that may miss a few of the nearest items, which pays from 100,000
            items; later runs extend it without this flag. A table of Lance gets an inverted file (IVF-PQ) instead.
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from pathlib import Path
    from time import perf_counter

    from ..audio.formats import AUDIO_EXTENSIONS
    from ..errors import SkippedError, UsageError
    from ..files import check_local
    from ..index.approximate import MIN_RECALL
    from ..index.index import Index
    from ..index.search.hnsw import import_faiss
    from ..indexing.index_encoder import IndexEncoder
    from .progress import FolderProgress, track

    if max_windows is not None and max_windows < 1:
        raise UsageError("--max-windows", f"must be at least 1, got {max_windows}", "use a positive integer")
    for path in source:
        if not Path(path).exists():
            raise UsageError(path, "this table or folder does not exist", "correct the path")
        if Path(path).is_file() and Path(path).suffix.lower().encode() in AUDIO_EXTENSIONS:
            wrong = "this is a sound file, not a folder of sounds or a table"
            raise UsageError(path, wrong, f"give its folder, {Path(path).absolute().parent}")
    is_table = str(index).endswith(".lance")
    if not is_table:
        check_local(index)
    if Path(index).is_dir() and not is_table:
        fix = f"give a file to write, such as {Path(index) / 'songs.index'}"
        raise UsageError(index, "this is a folder, not an index", fix)
    if approximate and not is_table:
        import_faiss()
    encoder = IndexEncoder(model, trust, device)
    tables = [path for path in source if not Path(path).is_dir() or any(Path(path).glob("rows.*"))]
    if tables:
        from ..indexing.from_table import index_table

        if len(source) > 1:
            raise UsageError(tables[0], "an index is made of one table, or of folders", "give this table alone")

        of_folders = {"--retry": retry, "--follow-symlinks": follow_symlinks}
        of_folders |= {"--profile": profile}
        for flag in (flag for flag, value in of_folders.items() if value):
            wrong = f"{flag} applies only to a folder of sound files, but SOURCE is a table"
            raise UsageError(flag, wrong, f"leave {flag} out")
        print(index_table(encoder, source[0], index, column, split, max_windows, field, track, strict, encoding))
    else:
        from ..indexing.from_folder import index_folder
        from ..ingest.roots import check_disjoint

        if is_table:
            raise UsageError(
                index, "a Lance table cannot record the files of a folder", "write a file, such as songs.index"
            )
        for flag in (["--split"] if split != "all" else []) + (["--encoding"] if encoding else []):
            raise UsageError(flag, "it applies only to a table, but SOURCE is a folder", f"leave {flag} out")
        for at in range(len(source)):
            check_disjoint(source[at:])
        times: dict[str, float] = {}
        start, skipped = perf_counter(), 0
        for folder in source:
            report = index_folder(
                encoder, folder, index, FolderProgress(), column, max_windows, retry, follow_symlinks, times, field
            )
            skipped += report.skipped
            print(f"{index}: {report}" if len(source) == 1 else f"{index}: {folder}: {report}")
        if skipped:
            print(f"see: jointembed skips {index}")
        if profile:
            stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in times.items())
            print(f"{stages}; {perf_counter() - start:.1f} s in total")
    with Index.open(index) as opened:
        description = opened.field_info(field).note
        if approximate:
            recall = opened.build_approximate(field or column)
            effect = "searches use it" if recall >= MIN_RECALL else "too little, so that searches stay exact"
            name = "inverted file" if is_table else "graph"
            print(f"{index}: the {name} finds {recall:.1%} of the 10 nearest items; {effect}")
    if description:
        print(f"note on the model: {description}", file=sys.stderr)
    if not tables and strict and skipped:
        raise SkippedError(index, f"{skipped} files were skipped", f"jointembed skips {index}")
