"""Settings are searched by training, the search goes on where it was, and its best is a layer that trains."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
import yaml

pytest.importorskip("optuna")

from jointembed import JointEmbedding
from jointembed.__main__ import main
from jointembed.tuning import trial

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

RECIPE = """\
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: words, target: genre, candidates: all}}
trainer:
  callbacks:
    - {class_path: jointembed.Evaluate, init_args: {query: words, target: genre, k: [2, 3]}}
    - {class_path: jointembed.training.callbacks.BestAndLast, init_args: {monitor: null}}
"""
FIT = ["--fit", "-c tiny --data.table rows.jsonl --trainer.accelerator cpu"]
FIGURE = "words-genre/recall@3"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table and a recipe, to work in."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(n), "split": "dev" if n % 4 == 0 else "train", "words": f"{'abc'[n % 3] * 3} tune {n}",
             "genre": "xyz"[n % 3]} for n in range(40)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def stub(here, monkeypatch):
    """Trainings without a training: `stub.figures` gives the figures of the nth."""

    class Stub:
        words: list = []
        closed: list = []

        @staticmethod
        def figures(nth):
            return [0.5, 0.6]

        def logged(self, words, folder):
            folder.mkdir(parents=True)
            (folder / "last.ckpt").touch()
            self.words.append(words)
            try:
                for figure in self.figures(len(self.words) - 1):
                    yield {FIGURE: figure, "dev/loss": 1.0}
            except GeneratorExit:
                self.closed.append(folder.name)
                raise

    made = Stub()
    made.words, made.closed = [], []
    monkeypatch.setattr(trial, "logged", made.logged)
    monkeypatch.setattr(trial, "settings", lambda words: yaml.safe_load(RECIPE.replace("k: [2, 3]", "k: [3]")))
    return made


def sweep(*words, keys=("model.dim=4:12",)):
    asked = [part for key in keys for part in ("--set", key)]
    return main(["sweep", "recipe.yaml", "--study", "sqlite:///x.db", *asked, *words])


def refused(capsys, *words, **keys):
    assert sweep(*words, **keys) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Fix: " in error, error
    return error


def test_a_sweep_ends_in_a_layer_that_trains_and_goes_on_to_more_trials(here, capsys):
    keys = ("model.dim=5:9", "model.lr=1e-3:1e-1:log", "data.batch_size=[2,4]", "model.encoders.genre.sparse=[true]")
    assert sweep(*FIT, "--trials", "2", keys=keys) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert f"{FIGURE}, max" in said.splitlines()[0] and "2/2  trial 1  model.dim " in said and " s  best " in said
    layer = yaml.safe_load((here / "best.yaml").read_text())
    assert 5 <= layer["model"]["dim"] <= 9 and 1e-3 <= layer["model"]["lr"] <= 1e-1
    assert layer["model"]["encoders"]["genre"]["init_args"]["sparse"] and "words" in layer["model"]["encoders"]
    assert len(list(here.glob("x.trials/*/best.ckpt"))) == 1, "checkpoints of the best trial only"
    table = ["--data.table", "rows.jsonl", "--trainer.default_root_dir", "run"]
    assert main(["fit", "-c", "recipe.yaml", "-c", "tiny", "-c", "best.yaml", *table]) == 0
    assert JointEmbedding.load(here / "run").dim == layer["model"]["dim"]
    capsys.readouterr()
    assert sweep(*FIT, "--trials", "2", keys=keys) == 0
    assert "all 2 trials are done" in capsys.readouterr().out and not (here / "x.trials" / "2").exists()
    assert sweep(*FIT, "--trials", "3", keys=keys) == 0
    said = capsys.readouterr().out
    assert "3/3  trial 2" in said and "trial 0  " not in said and (here / "x.trials" / "2" / "metrics.csv").is_file()


def test_a_trial_behind_the_others_is_stopped_and_counts(stub, here, capsys):
    stub.figures = lambda nth: [0.1, 0.2, 0.9] if nth == 5 else [0.5 + nth / 100, 0.6, 0.7]
    assert sweep("--trials", "7") == 0, capsys.readouterr().err
    assert stub.closed == ["5"] and len(stub.words) == 7
    assert f"6/7  trial 5  model.dim {stub.words[5][-1].partition('=')[2]}  stopped at" in capsys.readouterr().out
    assert not (here / "x.trials" / "5" / "last.ckpt").exists()


def test_a_figure_that_is_no_number_stops_its_trial_and_never_wins(stub, here, capsys):
    stub.figures = lambda nth: [0.9, float("nan"), 1.0] if nth == 0 else [0.5]
    assert sweep("--trials", "2") == 0
    assert "trial 1, the best of 2" in (here / "best.yaml").read_text() and stub.closed == ["0"]


def test_the_figure_of_a_trial_is_that_of_the_checkpoint_it_keeps(stub, here, capsys):
    stub.figures = lambda nth: [0.9, 0.4]  # the last is kept
    assert sweep("--trials", "1") == 0
    assert f"{FIGURE} 0.4" in (here / "best.yaml").read_text()


def test_a_stopped_sweep_tries_the_broken_trial_again(stub, here, capsys):
    def broken(nth):
        yield 0.5
        raise KeyboardInterrupt

    stub.figures = lambda nth: broken(nth) if nth == 1 else [0.5 + nth / 10]
    assert sweep("--trials", "3", keys=("model.dim=4:400",)) == 130
    assert "stopped" in capsys.readouterr().err and not (here / "best.yaml").exists()
    assert sweep("--trials", "3", keys=("model.dim=4:400",)) == 0
    dims = [words[-1] for words in stub.words]
    assert dims[2] == dims[1] and len(dims) == 4 and len(set(dims)) == 3, "a study that goes on draws anew"


def test_settings_that_diverge_are_passed_over_and_three_failures_in_a_row_end_the_sweep(stub, here, capsys):
    from jointembed.errors import DamagedError, UserError

    def failing(kind):
        raise kind("words", "the model gives vectors that are not finite", "train again")
        yield

    stub.figures = lambda nth: failing(DamagedError) if nth == 0 else failing(UserError) if nth == 1 else [0.5]
    assert sweep("--trials", "2") == 0
    said = capsys.readouterr()
    assert "1/2  trial 0" in said.out and "not finite" in said.out and "warning: " in said.err and len(stub.words) == 3
    stub.figures = lambda nth: failing(UserError)
    assert sweep("--trials", "9") == 1 and len(stub.words) == 6


def test_a_training_that_is_no_longer_wanted_is_stopped(tmp_path, monkeypatch):
    child = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[-1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
try:
    (folder / "metrics.csv").write_text("epoch,dev/loss\\n0,1.5\\n1,")
    time.sleep(60)
except KeyboardInterrupt:
    (folder / "stopped").touch()
"""
    monkeypatch.setattr(trial, "FIT", (sys.executable, "-c", child))
    start = time.monotonic()
    with closing(trial.logged([], tmp_path / "0")) as rows:
        assert next(rows) == {"epoch": 0.0, "dev/loss": 1.5}, "half a line is none"
    assert (tmp_path / "0" / "stopped").exists() and time.monotonic() - start < 20


@pytest.mark.slow
def test_ctrl_c_ends_the_running_training(here):
    words = ["sweep", "recipe.yaml", "--study", "sqlite:///x.db", "--set", "model.dim=4:12", "--trials", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "jointembed", *words, FIT[0], FIT[1] + " --trainer.max_epochs 100000"]
    )
    while not (here / "x.trials" / "0" / "metrics.csv").exists():
        assert run.poll() is None
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    assert run.wait(40) == 130
    before = os.stat(here / "x.trials" / "0" / "metrics.csv").st_mtime
    time.sleep(2)
    assert os.stat(here / "x.trials" / "0" / "metrics.csv").st_mtime == before


def test_what_cannot_be_searched_is_one_line(stub, here, capsys):
    for key in ("model.dim", "model.dim=", "=3:4", "model.dim=4", "model.dim=9:4", "model.dim=a:b", "model.lr=0:1:log",
                "model.dim=4:8:lin", "model.lr=0:inf", "data.batch_size=[", "data.batch_size=[]"):  # fmt: skip
        assert "--set" in refused(capsys, keys=(key,)), key
    assert "nothing to draw" in refused(capsys, keys=())
    assert "already" in refused(capsys, keys=("model.dim=4:8", "model.dim=4:9"))
    assert "did you mean words-genre/recall@3" in refused(capsys, "--metric", "words-genre/recal@3")
    assert "no train/loss on dev rows" in refused(capsys, "--metric", "train/loss")
    assert "logged no such figure" in refused(capsys, "--metric", "dev/los")
    assert "1 or more" in refused(capsys, "--trials", "0")
    assert "best.yaml" in refused(capsys, "--out", "best.txt")
    assert main(["sweep", "recipe.yaml", "--study", "x.db", "--set", "model.dim=4:8"]) == 2
    assert "sqlite:///FILE.db" in capsys.readouterr().err
    (here / "x.db").write_text("no study, but some text that is long enough to be looked at" * 20)
    assert "cannot be opened" in refused(capsys)


def test_a_study_takes_no_other_ranges_and_no_second_sweep(stub, here, capsys):
    import fcntl

    assert sweep("--trials", "1") == 0
    assert "another --set" in refused(capsys, keys=("model.dim=4:13",))
    assert "another --mode" in refused(capsys, "--mode", "min")
    with open(here / "x.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another sweep" in refused(capsys)


def test_a_file_of_others_is_not_written_over(stub, here, capsys):
    (here / "best.yaml").write_text("mine")
    assert "--force" in refused(capsys, "--trials", "1") and (here / "best.yaml").read_text() == "mine"
    assert sweep("--trials", "1", "--force") == 0 and "model:" in (here / "best.yaml").read_text()
    assert sweep("--trials", "2") == 0, "its own file is"


def test_a_key_or_a_value_that_fit_does_not_take_ends_the_sweep_before_any_trial(here, capsys):
    assert "model.dmi" in refused(capsys, *FIT, keys=("model.dmi=4:8",))
    assert "dim" in refused(capsys, *FIT, keys=("model.dim=4:8.5",))
    assert not (here / "x.db").exists()


def test_without_optuna_the_line_says_what_to_install(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert 'pip install "jointembed[hpo]"' in refused(capsys)
