"""Progress on a terminal: bars, spinners, and durations as text."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


def shows_progress() -> bool:
    """Whether standard error is a terminal, where progress is shown."""
    return sys.stderr.isatty()


def track(sequence: Sequence[Any], title: str) -> Iterator[Any]:
    """The items of a sequence, with a progress bar on standard error if that is a terminal."""
    from rich.progress import track

    yield from track(sequence, title, console=Console(stderr=True), disable=not shows_progress())


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show a text with a spinner on standard error, if that is a terminal, while the block runs."""
    if shows_progress():
        with Console(stderr=True).status(text):
            yield
    else:
        yield


class FolderProgress:
    """The progress of indexing a folder, as a bar on standard error if that is a terminal.

    It shows the files done, the rates, the time left and the files skipped. A narrow terminal gets no rates.
    """

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        details = ["count"] + (["rates"] if console.width >= 100 else []) + ["time"]
        columns = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in details]
        bar = BarColumn(bar_width=min(40, max(6, console.width - 60 - 30 * ("rates" in details))))
        skipped = TextColumn("[red]{task.fields[skipped]}")
        self._bar = Progress(
            TextColumn("{task.description}"), bar, *columns, skipped, console=console, disable=not shows_progress()
        )
        self.visible = shows_progress()
        self._start = time.monotonic()
        self._files, self._seconds, self._skipped, self._total, self._done = 0, 0.0, 0, 0, 0

    def start(self, total: int) -> None:
        """Show the bar for a number of files."""
        self._total, self._start = total, time.monotonic()
        self._task = self._bar.add_task("Indexing", total=total, count="", rates="", time="", skipped="")
        self._bar.start()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def decoded(self, seconds: float, skipped: bool) -> None:
        """Count a file that was decoded to seconds of sound, or skipped."""
        self._files, self._seconds, self._skipped = self._files + 1, self._seconds + seconds, self._skipped + skipped
        self._show(self._done + 1)  # commits are seconds apart

    def committed(self, files: int) -> None:
        """Set the number of files that are done, unchanged ones included."""
        self._show(files)

    def status(self, text: str) -> Any:
        """A context in which a text is shown with a spinner."""
        return status(text)

    def estimate(self, files: int, seconds: float, windows: int | None, seconds_of_few: float) -> None:
        """Print how long a run will take, and how long with few windows of each sound if not all are taken already."""
        line = f"{files:,} files, about {format_duration(seconds)}"
        if windows is not None:
            line += f"; with --max-windows {windows} about {format_duration(seconds_of_few)}"
        print(line, flush=True)

    def _show(self, done: int) -> None:
        self._done = max(self._done, min(done, self._total))
        past = max(1e-3, time.monotonic() - self._start)
        left = self._bar.tasks[0].time_remaining
        finished = self._done >= self._total
        self._bar.update(
            self._task,
            completed=self._done,
            count=f"{self._done:,}/{self._total:,}",
            rates=f"{self._files / past:.1f} files/s  {self._seconds / past:,.0f}x real time" if self._files else "",
            time=f"{format_clock(past)} in total"
            if finished
            else f"{format_clock(left)} left"
            if left is not None
            else "",
            skipped=f"{self._skipped:,} skipped" if self._skipped else "",
        )


def format_clock(seconds: float) -> str:
    """`4:05`, `1:04:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_duration(seconds: float) -> str:
    """A duration in its largest unit: `31 h`, `9 min`, `40 s`."""
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(1.0, seconds):.0f} s"
