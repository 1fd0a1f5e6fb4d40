"""Compose some songs, train a space on them and query it."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from pathlib import Path

from ..errors import UsageError

NOTE = "trained on synthetic songs, so expect little of it on real music"


def demo(out: str = "jointembed-demo", *, songs: int = 240, epochs: int | None = None) -> None:
    """Compose a small catalogue of songs, train one space on its audio, piano rolls, captions and genres, query it.

    Existing files are reused; an interrupted run resumes where it stopped.

    Args:
        out: the folder to write.
        songs: the number of songs, at least 60.
        epochs: the number of training epochs; the recipe's own if not given.
    """
    if songs < 60:
        raise UsageError("--songs", f"must be at least 60, got {songs}", "use a whole number from 60 on")
    if Path(out).exists() and not Path(out).is_dir():
        raise UsageError(out, "this is a file, not a folder", "choose another path")
    from rich.console import Console

    folder, console, begun = Path(out), Console(highlight=False), time.monotonic()
    _compose(folder, songs, console)
    index = folder / "songs.index"
    if index.exists():
        console.print(f"The space is trained and indexed already: {index}")
    else:
        _train(folder, epochs, console)
        from .index import index as embed

        embed(str(folder / "run"), [str(folder)], str(index), column="audio")
    from ..demo import tour

    tour.show(folder, console)
    _draw(folder)
    console.print(
        f"\nDone in {time.monotonic() - begun:.0f} s. Listen to {folder / 'listen.flac'}: two seconds of each genre."
    )
    console.print(f"Open {folder / 'songs.html'} in a browser: their map, their neighbours, and their sound.")
    console.print("Try next:")
    for line in tour.next_steps(folder):
        console.print(f"  {line}", soft_wrap=True)


def _draw(folder: Path) -> None:
    from ..index.index import Index
    from ..web.export import export

    with Index.open(folder / "songs.index") as index:
        export(index, folder / "songs.html", root=folder)


def _compose(folder: Path, songs: int, console: object) -> None:
    from rich.progress import Progress

    from ..demo.catalogue import write

    with Progress(console=console) as progress:  # type: ignore[arg-type]
        task = progress.add_task("Composing songs", total=songs)
        write(folder, songs, progress=lambda done, total: progress.update(task, completed=done))


def _train(folder: Path, epochs: int | None, console: object) -> None:
    from .fit import run_lightning

    run = folder / "run"
    words = [
        "-c",
        "songs/joint",
        "--data.table",
        str(folder),
        "--trainer.default_root_dir",
        str(run),
        "--model.description",
        NOTE,
    ]
    words += ["--trainer.max_epochs", str(epochs)] if epochs is not None else []
    words += ["--trainer.enable_model_summary", "false"]
    words += ["--resume", "auto"] if run.is_dir() else []
    print(
        "Training one space over audio, piano rolls, captions, genres and artists: jointembed fit "
        + " ".join(words[:6]),
        flush=True,
    )
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    before = list(sys.path)
    try:
        run_lightning("fit", words)
    finally:
        sys.path[:] = before
