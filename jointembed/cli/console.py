"""The live line of a long run: how far, how fast, how long still, and what was left out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType

WIDEST = 40  # signs of the bar itself
LEAST = 6


class Bar:
    """A progress bar of files on standard error, if that is a terminal; a context manager.

    Args:
        title: what is done.
        total: files.
    """

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True, highlight=False)
        part = BarColumn(bar_width=LEAST)
        bar = self

        class Words(TextColumn):
            """What stands before the bar and behind it, as much as the terminal has room for; the bar takes the rest.

            Left to itself rich would shorten every part, so that none of them could be read.
            """

            def render(self, task: object) -> object:  # type: ignore[override]
                from rich.text import Text

                words, skips = bar.words(console.width - len(title) - LEAST - 4)
                used = len(title) + len(words) + len(skips) + 5
                part.bar_width = max(LEAST, min(WIDEST, console.width - used))
                return Text.assemble(words, (f"  {skips}" if skips else "", "red"), no_wrap=True)

        self._bar = Progress(TextColumn(title, markup=False), part, Words(""), console=console, disable=not watched())
        self._task = self._bar.add_task(title, total=total)
        self._start = time.monotonic()
        self.total, self.done, self._ahead = total, 0, 0
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
        self._ahead += 1  # `seen` comes with a commit only, which is seconds away
        self._show(self.done + 1)

    def seen(self, count: int) -> None:
        """Note how many files are done, those among them that needed no work."""
        self._ahead = 0
        self._show(count)

    def _show(self, count: int) -> None:
        self.done = max(self.done, min(count, self.total))
        self._bar.update(self._task, completed=self.done)

    def words(self, room: int) -> tuple[str, str]:
        """What the line says in so many signs: the count, the rates and the time, and apart from them the skips."""
        past = max(1e-3, time.monotonic() - self._start)
        task = self._bar.tasks[0]
        if self.done >= self.total:
            time_ = f"{_clock(past)} in all"
        else:
            time_ = "" if task.time_remaining is None else f"{_clock(task.time_remaining)} left"
        count = f"{self.done:,}/{self.total:,}"
        skips = f"{self.skips:,} skipped" if self.skips else ""
        files = f"{self.files / past:.1f} files/s" if self.files else ""
        sound = f"{self.seconds / past:,.0f} x real time" if self.files else ""
        parts: Sequence[str] = ()
        for parts in ((count, files, sound, time_), (count, files, time_), (count, time_), (count,)):
            if len("  ".join(filter(None, (*parts, skips)))) <= room:
                break
        return "  ".join(filter(None, parts)), skips


def _clock(seconds: float) -> str:
    """`4:05`, `1:04:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def spoken(seconds: float) -> str:
    """A length of time in words: `31 h`, `9 min`, `40 s`."""
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(1.0, seconds):.0f} s"


@contextmanager
def status(words: str) -> Iterator[None]:
    """A line on standard error that moves, if that is a terminal, while something takes its time."""
    from rich.console import Console

    with Console(stderr=True).status(words) if watched() else nullcontext():
        yield


def watched() -> bool:
    """Whether somebody sees the bar."""
    return sys.stderr.isatty()
