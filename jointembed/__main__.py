"""The `jointembed` command."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    from .cli import help

    if not words or words[0] in ("-h", "--help", "help"):
        help.print_commands()
        return 0
    name, *rest = words
    if name == "--version":
        from . import __version__

        print(__version__)
        return 0
    from .cli import parser
    from .errors import UsageError, did_you_mean

    names = help.commands()
    if name not in names:
        raise UsageError(name, "unknown command", did_you_mean(name, names))
    function = parser.load(name)
    if parser.takes_words(function):
        function(*rest)
    elif parser.asks_for_help(rest):
        help.print_command(name, function)
    else:
        function(**parser.parse(name, function, rest))
    return 0


@contextlib.contextmanager
def _record_interrupts() -> Iterator[list[int]]:
    """The interrupts by Ctrl-C so far: one within a callback of SQLite is dropped, and ends as another error."""
    interrupts: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    try:
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_default:
            signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread, which alone is interrupted
        is_default = False
    try:
        yield interrupts
    finally:
        if is_default and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def main(words: Sequence[str] | None = None) -> int:
    """The entry point: a failure that the user can fix is printed as one line, and its exit code returned."""
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may contain bytes that the terminal cannot show
    with _record_interrupts() as interrupts:
        try:
            code = run(words)
            if sys.stdout is not None:  # None if the process was started without one
                sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            return _report_stop()
        except BrokenPipeError:
            sys.stderr.close()  # the reader of the output has closed it; the interpreter would complain when it exits
            return 0
        except Exception as error:
            if interrupts:
                return _report_stop()
            if debug:
                raise
            from .cli.errors import report

            return report(error)


def _report_stop() -> int:
    print("jointembed: stopped", file=sys.stderr)
    return 130


if __name__ == "__main__":
    sys.exit(main())
