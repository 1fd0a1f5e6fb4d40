"""The processes that load batches, when somebody sends a signal to a whole run."""

from __future__ import annotations

import signal


def ignore_signals(worker: int) -> None:
    """Leave the signals that stop a run to its main process, which may send them to every process of it.

    A second SIGTERM ends the worker: torch sends it to workers that hang.
    """
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.signal(signum, signal.SIG_DFL))
