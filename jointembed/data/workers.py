"""Keeping the processes that load batches alive when a signal reaches the whole process group."""

from __future__ import annotations

import os
import signal
import sys
import threading


def ignore_signals(worker: int) -> None:
    """Leave the signals that stop a run to its main process, which may be sent to every process of it.

    SIGTERM from the main process itself ends the worker: torch and `multiprocessing` send it, and wait for the end.
    """
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # On Windows and macOS, which do not say who sent a signal, SIGTERM ends the worker.
    if sys.platform != "win32" and sys.platform != "darwin" and hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if sys.platform != "win32" and sys.platform != "darwin":
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)
