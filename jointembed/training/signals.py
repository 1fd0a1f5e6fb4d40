"""Signals that stop a training: SIGTERM, SIGUSR1 and Ctrl-C save it first, on all of its processes together.

A process that gets a signal in the middle of a step goes on to its end. There all processes compare what they got, so
that a signal to any of them stops them all at the same step; see `Trainer.between_steps`. The exit code is 128 and the
number of the signal, as shells have it: 143, 138 and 130.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class TrainingInterrupt(SystemExit):
    """A signal has ended the training.

    Args:
        signum: the number of the signal.
        step: the optimizer step after which the run was saved; None if it was not.
    """

    def __init__(self, signum: int, step: int | None = None) -> None:
        super().__init__(128 + signum)
        self.signum, self.step = signum, step

    @property
    def signal_name(self) -> str:
        """`SIGTERM` and its like."""
        return signal.Signals(self.signum).name


class StopSignals:
    """Handles the signals while a training runs: the first one is noted, a second one ends the process at once."""

    def __init__(self) -> None:
        self.signum = 0  # the number of the signal that arrived; 0 for none
        self._previous: dict[int, Any] = {}

    def register(self) -> None:
        """Take over from the previous handlers; outside the main thread, where Python has none, nothing happens."""
        if threading.current_thread() is threading.main_thread():
            self.signum = 0
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}

    def restore(self) -> None:
        """Give the signals back to the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def _handle(self, signum: int, frame: object) -> None:
        if self.signum:
            raise TrainingInterrupt(signum)
        self.signum = signum
        name = signal.Signals(signum).name
        # `print` fails where a signal has interrupted it.
        os.write(2, f"\njointembed: {name}: saving after this step; once more to stop without saving\n".encode())


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 end the process with `TrainingInterrupt` where there is nothing to save."""

    def stop(signum: int, frame: object) -> None:
        raise TrainingInterrupt(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in SIGNALS if number != signal.SIGINT}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def largest(values: Sequence[int], device: torch.device) -> list[int]:
    """Of each value the largest over all processes that train together; each of them must call it."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return list(values)
    agreed = torch.tensor(values, device=device)
    dist.all_reduce(agreed, dist.ReduceOp.MAX)
    return [int(value) for value in agreed]
