"""One training of a sweep: `jointembed fit` in a process of its own, and the figures that it logs."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DamagedError, UsageError, UserError

FIT = (sys.executable, "-m", "jointembed", "fit")
PAUSE = 0.5  # seconds between two looks into the log
GRACE = 20.0  # seconds that a training has to stop


def settings(words: Sequence[str]) -> dict[str, Any]:
    """The whole configuration that `jointembed fit` makes of its words, without any training.

    Raises:
        UserError: what `fit` says against them, with its kind.
    """
    import yaml

    done = subprocess.run([*FIT, *words, "--print_config"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise _failure("jointembed sweep", done.returncode, done.stderr, "run the `jointembed fit` of it alone")
    made: dict[str, Any] = yaml.safe_load(done.stdout)
    return made


def logged(words: Sequence[str], folder: Path) -> Generator[dict[str, float]]:
    """Train into a new folder, and give the rows of its metrics.csv as they come; closing it stops the training.

    Raises:
        UsageError: the folder is there already.
        UserError: what `fit` ended with, with its kind.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        wrong = "the folder is there, but its study does not know it"
        raise UsageError(folder, wrong, "move it away, or give another --study") from error
    log = folder / "fit.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [*FIT, *words, "--trainer.default_root_dir", str(folder)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            seen, running = 0, True
            while running:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE)
                running = process.poll() is None
                rows = _rows(folder / "metrics.csv")
                yield from rows[seen:]
                seen = max(seen, len(rows))  # it is fewer for a moment while Lightning adds a column
        finally:
            _stop(process)
    if process.returncode:
        raise _failure(str(folder), process.returncode, log.read_text(errors="replace"), f"see {log}")


def _rows(path: Path) -> list[dict[str, float]]:
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(whole)]


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        process.kill()
        process.wait()


def _failure(subject: str, code: int, text: str, fix: str) -> UserError:
    kind = {2: UsageError, 5: DamagedError}.get(code, UserError)
    said = re.findall(r"^jointembed: error\[\S+\]: (.*)\. Fix: (.*)$", text, re.MULTILINE)
    return kind(subject, *(said[-1] if said else (f"the training ended with exit code {code}", fix)))
