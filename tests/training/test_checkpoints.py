"""Checkpoints that survive: kills while they are saved, damage, and folders that hold something else."""

import os
import random
import shutil
import signal
import sys
import time
import zipfile
from types import SimpleNamespace

import pytest
import torch
from fine_tuning import Stop, fit, make_model

from jointembed import BestAndLast, EmbeddingBag, SparseImage
from jointembed.errors import DamagedError, UsageError
from jointembed.files import remove_parts
from jointembed.space import checkpoint
from jointembed.training.checkpoints import newest_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),
    pytest.mark.usefixtures("one_thread"),
]


def bags():
    return make_model(EmbeddingBag(SparseImage([8, 8])))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of three epochs of two steps, saved at each step."""
    folder = tmp_path_factory.mktemp("trained")
    fit(bags(), folder, epochs=3, callbacks=[BestAndLast(every_n_steps=1), Stop(2)])
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "truncated":
        del content[len(content) // 2 :]
    elif kind == "empty":
        content.clear()
    elif kind == "zeros":
        content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    elif kind == "a byte":
        with zipfile.ZipFile(path) as archive:
            content[content.index(archive.read(max(archive.infolist(), key=lambda entry: entry.file_size))) + 9] ^= 1
    path.unlink()  # of files that are one, only this name
    path.write_bytes(content)


def steps(folder):
    return {path.name: torch.load(path, weights_only=True)["global_step"] for path in folder.glob("*.ckpt")}


def test_a_run_keeps_the_last_two_checkpoints(trained):
    assert steps(trained) == {"best.ckpt": 4, "last.ckpt": 4, "previous.ckpt": 3}
    assert os.path.samefile(trained / "best.ckpt", trained / "last.ckpt"), "what is equal takes its space once"


@pytest.mark.parametrize("kind", ["truncated", "empty", "zeros", "a byte"])
def test_the_newest_intact_checkpoint_is_resumed_and_the_others_are_named(run, kind, capsys):
    (run / "best.ckpt").unlink()
    damage(run / "last.ckpt", kind)
    assert newest_checkpoint(run) == run / "previous.ckpt"
    error = capsys.readouterr().err
    assert f"warning: {run / 'last.ckpt'} is passed over: " in error and "damaged" in error
    assert f"{run / 'previous.ckpt'}: resumed after step 3" in error


def test_the_newest_checkpoint_is_told_by_its_content(run):
    (run / "best.ckpt").unlink()
    (run / "last.ckpt").rename(run / "x.ckpt")
    (run / "previous.ckpt").rename(run / "last.ckpt")
    (run / "x.ckpt").rename(run / "previous.ckpt")
    assert newest_checkpoint(run).name == "previous.ckpt"


def test_a_folder_of_damaged_checkpoints_is_not_trained_from_scratch(run):
    for path in run.glob("*.ckpt"):
        damage(path, "truncated")
    with pytest.raises(DamagedError, match="none of its checkpoints can be resumed"):
        newest_checkpoint(run)


def test_a_model_without_the_state_of_its_training_is_passed_over(run, tmp_path, capsys):
    model = bags()
    fit(model, tmp_path / "other", epochs=1)
    for path in run.glob("*.ckpt"):
        path.unlink()
    model.save(run / "best.ckpt")
    with pytest.raises(DamagedError):
        newest_checkpoint(run)
    assert "it holds a model without the state of its training" in capsys.readouterr().err


def test_last_is_a_checkpoint_that_exists(tmp_path):
    with pytest.raises(UsageError, match=r"the folder holds no last.ckpt. Fix: write --resume auto"):
        fit(bags(), tmp_path, ckpt_path="last")
    assert not list((tmp_path / "run").glob("*.ckpt"))


def test_auto_begins_a_run_and_removes_what_killed_ones_left(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".last.ckpt.123.part").write_bytes(b"half a checkpoint")
    (tmp_path / "run" / ".notes.part").write_text("not ours")
    fit(bags(), tmp_path, ckpt_path="auto")
    assert "holds no checkpoint: training from scratch" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").glob(".*")] == [".notes.part"]
    assert steps(tmp_path / "run")["last.ckpt"] == 4


def test_a_run_that_was_killed_before_it_wrote_its_best_checkpoint_writes_it(run, trained):
    """Also if that was after its last step, so that nothing is left to train."""
    (run / "best.ckpt").unlink()
    shutil.copy(run / "previous.ckpt", run / "best.ckpt")
    fit(bags(), run.parent, epochs=2, ckpt_path="auto")
    assert steps(run) == steps(trained)


def test_the_best_checkpoint_survives_a_resume(tmp_path):
    """Of two metrics that a resumed run logs, the better one was logged before the break."""
    rows = [{"bitmap": [[0.0, number % 2], [number % 3 / 2, 1]], "digit": "ab"[number % 2]} for number in range(12)]
    rows = [{**row, "split": "dev" if number > 8 else "train"} for number, row in enumerate(rows)]

    def train(epochs, **options):
        model = make_model(EmbeddingBag(SparseImage([2, 2])))
        callbacks = [BestAndLast("train/loss", "max"), Stop(epochs)]  # the loss falls: the first epoch is the "best"
        return fit(model, tmp_path, rows, 4, callbacks, **options)

    train(1)
    train(3, ckpt_path="auto")
    assert steps(tmp_path / "run") == {"best.ckpt": 1, "last.ckpt": 3, "previous.ckpt": 2}


def save_for_ever(folder, size):
    """Save checkpoints of growing steps until the process is killed, with a dot in the log after each."""
    saver, log = BestAndLast(), os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    loops = {
        "fit_loop": {name: {"total": {"processed": 0}} for name in ("epoch_loop.batch_progress", "epoch_progress")}
    }
    trainer = SimpleNamespace(default_root_dir=folder, is_global_zero=True)
    trainer.save_checkpoint = lambda path: checkpoint.write(path, content)
    for step in range(sys.maxsize):
        weights = {"weight": torch.full((size // 4,), float(step))}
        content = {"state_dict": weights, "optimizer_states": [], "global_step": step, "loops": loops,
                   checkpoint.KEY: {"version": checkpoint.VERSION}}  # fmt: skip
        saver.save(trainer)
        os.write(log, b".")


def kill_while_saving(folder, rng, size, kills):
    """Kill a saving process again and again; the newest checkpoint must be the last that was saved, or the next."""
    folder.mkdir()
    for _ in range(kills):
        for path in folder.glob("*"):
            path.unlink()
        pid = os.fork()
        if not pid:
            save_for_ever(folder, size)
        while not (folder / "last.ckpt").exists():
            time.sleep(0.001)
        time.sleep(rng.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        remove_parts(folder)
        done = (folder / "log").read_bytes().count(b".")
        newest = newest_checkpoint(folder, verbose=False)
        content = checkpoint.read(newest)
        assert content["global_step"] in (done - 1, done)
        assert (content["state_dict"]["weight"] == content["global_step"]).all()
        assert not list(folder.glob(".*.part"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_while_a_checkpoint_is_saved_loses_no_earlier_one(kills, tmp_path, monkeypatch):
    if os.path.isdir("/dev/shm"):
        monkeypatch.setenv("TMPDIR", "/dev/shm")  # another file system
    kill_while_saving(tmp_path / "run", random.Random(kills), 4_000_000, kills)
