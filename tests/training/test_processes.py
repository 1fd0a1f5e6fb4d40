"""Two processes that `fit` starts itself: they end with the same model as one, and with an error if either dies."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jointembed import Space
from jointembed.space import checkpoint
from jointembed.training.checkpoints import newest_checkpoint

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
RECIPE = """
model:
  dim: 8
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: BagOfWords}}
    genre: {class_path: EmbeddingBag, init_args: {reader: Category}}
  objectives:
    - {class_path: Match, init_args: {query: words, target: genre}}
trainer: {accelerator: cpu, precision: 32-true, log_every_n_steps: 1}
"""

TWO = ["--data.batch_size", "16", "--trainer.devices", "2", "--trainer.strategy", "ddp"]  # 10 steps an epoch


@pytest.fixture
def folder(tmp_path):
    with open(tmp_path / "rows.jsonl", "w") as file:
        for n in range(400):
            row = {"split": "train" if n < 320 else "dev", "words": f"w{n % 50} x{n % 7}", "genre": "abcdefg"[n % 7]}
            file.write(json.dumps(row) + "\n")
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def start(folder, run, *options):
    words = ["fit", "-c", "r.yaml", "--data.table", "rows.jsonl", "--trainer.default_root_dir", run, *options]
    command = [sys.executable, "-m", "jointembed", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / "output", "w") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stderr=output, stdout=output)


def read_metrics(run):
    with open(run / "metrics.csv") as file:
        return [row for row in csv.DictReader(file)]


def test_two_processes_write_the_losses_and_the_model_of_one(folder):
    for run, options in [
        ("one", ["--data.batch_size", "32"]),
        ("two", TWO),
    ]:
        process = start(folder, run, "--trainer.max_epochs", "2", *options)
        assert process.wait(300) == 0, (folder / "output").read_text()
    alone, together = read_metrics(folder / "one"), read_metrics(folder / "two")
    assert len(alone) == len(together) >= 22
    for row, other_row in zip(alone, together, strict=True):
        for name in ("train/loss", "dev/loss"):
            assert bool(row[name]) == bool(other_row[name])
            if row[name]:
                assert float(row[name]) == pytest.approx(float(other_row[name]), rel=1e-3)
    first, second = (Space.load(folder / run).embed("words", ["w1 x2", "w3"]) for run in ("one", "two"))
    assert abs(first - second).max() < 1e-2


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_running(pid):
    """Whether a process is there, and not a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start_two(folder, *options):
    """A run of two processes that has trained some steps, and the process that the first one has started."""
    process = start(folder, "run", *TWO, *options)
    metrics = folder / "run" / "metrics.csv"
    before = metrics.stat().st_size if metrics.exists() else 0
    wait_until(lambda: metrics.exists() and metrics.stat().st_size > before, process)
    (second,) = children(process)
    return process, second


def wait_until(condition, process=None, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.05)


@needs_proc
@pytest.mark.parametrize("victim", ["first", "second"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_no_process_waits_for_one_that_is_dead(victim, number, folder):
    process, second = start_two(folder, "--trainer.max_epochs", "100000")
    os.kill(process.pid if victim == "first" else second, number)
    assert process.wait(60) != 0
    wait_until(lambda: not is_running(second), seconds=60)


@needs_proc
@pytest.mark.parametrize("trial", range(int(os.environ.get("JOINTEMBED_TRIALS", "4"))))
def test_a_signal_to_any_process_ends_all_of_them_and_the_run_goes_on(trial, folder):
    rng = random.Random(trial)
    number, code = [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)][trial % 3]
    process, second = start_two(folder, "--trainer.max_epochs", "100000")
    time.sleep(rng.uniform(0, 1))
    os.kill(rng.choice([process.pid, second]), number)
    assert process.wait(60) == code, (folder / "output").read_text()
    wait_until(lambda: not is_running(second), seconds=60)
    stopped = newest_checkpoint(folder / "run")
    step = checkpoint.read(stopped)["global_step"]
    epochs = str(step // 10 + 3)
    done = start(folder, "run", *TWO, "--resume", "auto", "--trainer.max_epochs", epochs)
    assert done.wait(120) == 0, (folder / "output").read_text()
    assert [int(row["step"]) for row in read_metrics(folder / "run") if row["train/loss"]] == list(
        range(10 * int(epochs))
    )
