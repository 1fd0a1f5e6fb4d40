"""The live line of a long run: how far, how fast, how long still, and what was left out."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Bar:
    """A progress bar of files on standard error, if that is a terminal; a context manager.

    Args:
        title: what is done.
        total: files.
    """

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        parts = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[skips]}"),
        )
        self._bar = Progress(*parts, console=Console(stderr=True), disable=not watched())
        self._task = self._bar.add_task(title, total=total, rates="", skips="")
        self._start = time.monotonic()
        self.files, self.seconds, self.skips = 0, 0.0, 0

    def __enter__(self) -> Bar:
        self._bar.start()
        self._start = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def heard(self, seconds: float, skipped: bool) -> None:
        """Note that a file was decoded to so many seconds of sound, or skipped."""
        self.files, self.seconds, self.skips = self.files + 1, self.seconds + seconds, self.skips + skipped
        past = max(1e-3, time.monotonic() - self._start)
        rates = f"{self.files / past:.1f} files/s, {self.seconds / past:.0f} x real time"
        skips = f"{self.skips} skipped" if self.skips else ""
        self._bar.update(self._task, rates=rates, skips=skips)

    def seen(self, count: int) -> None:
        """Note how many files are done, those among them that needed no work."""
        self._bar.update(self._task, completed=count)


def spoken(seconds: float) -> str:
    """A length of time in words: `31 h`, `9 min`, `40 s`."""
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(1.0, seconds):.0f} s"


def watched() -> bool:
    """Whether somebody sees the bar."""
    return sys.stderr.isatty()
