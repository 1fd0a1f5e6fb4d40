"""A run that is killed or stopped at any step goes on to the weights and metrics of one without a break."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from resumable_runs import differences, kill_at_step, start, wait_for, write_recipe, write_table

fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="it forks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the table; what every run imports is imported once."""
    import lightning.pytorch.cli  # noqa: F401

    import jointembed.training.trainer  # noqa: F401

    folder = tmp_path_factory.mktemp("runs")
    write_table(folder)
    return folder


def train(*args, **kwargs):
    process = start(*args, **kwargs)
    process.join()
    return process.exitcode


CASES = {
    # recipe: workers, then after the resume; what happens, in which hook, at which step, to all processes of the run
    "images": (2, 0, "SIGTERM", "on_train_batch_start", 3, True),
    "songs": (0, 2, "SIGINT", "on_train_batch_start", 2, False),
    "films": (0, 0, "SIGUSR1", "on_validation_batch_start", 6, False),
    "captions": (0, 0, "SIGKILL", "on_train_batch_end", 9, False),
}
SLOW = "songs", "captions"


@fork
@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CASES]
)
def test_a_run_that_is_stopped_ends_like_one_without_a_break(recipe, folder):
    workers, workers_later, name, hook, step, group = CASES[recipe]
    words, output = write_recipe(folder, recipe), folder / f"{recipe}.log"
    assert train(words, folder / f"{recipe} whole", output=output) == 0, output.read_text()
    parts, number = folder / f"{recipe} parts", getattr(signal, name)
    stop, words = kill_at_step(step, hook, number, group), [*words, "--resume", "auto", "--data.workers"]
    code = train([*words, str(workers)], parts, stop, output=output)
    assert code == (-number if number == signal.SIGKILL else 128 + number), output.read_text()
    if number != signal.SIGKILL:
        assert re.search(f"{name}: saved after step [{step}{step + 1}]. To go on: jointembed fit ", output.read_text())
        assert f"--data.workers {workers} --trainer.default_root_dir" in output.read_text().splitlines()[-1]
        assert output.read_text().rstrip().endswith("--resume auto")
    assert train([*words, str(workers_later)], parts, output=output) == 0, output.read_text()
    assert not differences(folder / f"{recipe} whole", parts)
    assert not list(parts.glob(".*.part"))
    assert f"{parts} holds no checkpoint: training from scratch" in output.read_text()
    assert f"{parts / 'last.ckpt'}: resumed after step" in output.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_any_process_stops_all_of_them_at_one_step(rank, folder):
    """Two processes of a run; the second is a child of the first."""
    devices = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_epochs", "6"]
    words = [
        sys.executable,
        "-m",
        "jointembed",
        *write_recipe(folder, "images"),
        *devices,
        "--trainer.default_root_dir",
    ]
    whole, parts = folder / "ddp whole", folder / f"ddp {rank}"
    if not whole.exists():
        subprocess.run([*words, str(whole)], check=True)
    process = subprocess.Popen([*words, str(parts), "--resume", "auto"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (parts / "metrics.csv").exists())
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child) if rank else process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 143, error
    assert error.count("SIGTERM: saved after step") == 1
    wait_for(lambda: not Path(f"/proc/{child}").exists())
    subprocess.run([*words, str(parts), "--resume", "auto"], check=True)
    assert not differences(whole, parts)
