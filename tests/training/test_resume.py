"""A run that is killed or stopped at any step goes on to the weights and metrics of one without a break."""

import multiprocessing
import re
import signal

import pytest
from resumable_runs import differences, kill_at_step, start, write_recipe, write_table

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
