"""Commands and scripts that run in processes of their own, as they would be typed, and get the signals of this one."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import UsageError

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def split_words(option: str, line: str) -> list[str]:
    """The words of a part of a command line that an option holds.

    Raises:
        UsageError: a quotation mark is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(option, f"a quotation mark is not closed in {line!r}", "close it") from error


def run_command(words: Sequence[str]) -> None:
    """Run a command of jointembed in a process of its own, as it would be typed."""
    print(f"$ {shlex.join(['jointembed', *words])}", flush=True)
    run_process([sys.executable, "-m", "jointembed", *words])


def run_script(script: str, words: Sequence[str], capture: bool = False) -> str:
    """Run a script of a recipe, and return what it printed if that is to be captured."""
    print(f"$ {shlex.join(['python', script, *words])}", flush=True)
    return run_process([sys.executable, script, *words], capture)


def run_process(words: Sequence[str], capture: bool = False) -> str:
    """Run a process to its end, and return what it printed if that is to be captured.

    A signal goes on to the process, which saves what it has.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped it.
        SystemExit: it failed, after a line of its own that says why, or a signal stopped it.
    """
    alone = os.name == "posix"  # elsewhere Ctrl-C reaches all processes of a terminal by itself
    pipe = subprocess.PIPE if capture else None
    output = []
    with subprocess.Popen(words, start_new_session=alone, stdout=pipe, text=True, encoding="utf-8") as process:
        with _forward_signals(process, alone) as received:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                output.append(line)
            code = process.wait()
    if received or code:
        print("jointembed: what is finished is kept; the same command goes on", file=sys.stderr)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received or code:
        raise SystemExit(128 + received[0] if received else code if code > 0 else 128 - code)
    return "".join(output)


@contextmanager
def _forward_signals(process: subprocess.Popen[str], alone: bool) -> Iterator[list[int]]:
    """Hand signals on to a process while the block runs; gives the list of those that arrived."""
    received: list[int] = []

    def forward(signum: int, frame: object) -> None:
        received.append(signum)
        if alone:
            process.send_signal(signum)

    previous = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
