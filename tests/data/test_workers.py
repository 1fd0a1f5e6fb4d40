"""A data worker outlives signals to the whole run, and ends when its main process wants it to."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest

from jointembed.data.workers import ignore_signals

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not tell who sends a signal"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="it forks"),
]


def work(ready):
    ignore_signals(0)
    ready.set()
    while True:
        time.sleep(0.01)


@pytest.fixture
def worker():
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=work, args=(ready,), daemon=True)
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_a_worker_outlives_the_signals_that_stop_a_run(worker):
    for name in ("INT", "USR1", "TERM", "TERM"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)  # sent by another process
    worker.join(0.2)
    assert worker.is_alive()
    worker.terminate()
    worker.join(60)
    assert worker.exitcode == 0


def test_a_worker_that_has_not_run_for_a_while_ends_at_the_first_request(worker):
    """Signals of one kind do not queue: a process that does not run gets one of two."""
    os.kill(worker.pid, signal.SIGSTOP)
    worker.terminate()
    worker.terminate()
    os.kill(worker.pid, signal.SIGCONT)
    worker.join(60)
    assert worker.exitcode == 0
