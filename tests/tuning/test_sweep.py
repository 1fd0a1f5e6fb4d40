"""A sweep trains, resumes, and ends in a recipe layer that trains."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

import optuna

from jointembed import Space, files
from jointembed.__main__ import main
from jointembed.errors import DamagedError, UsageError, UserError
from jointembed.tuning.runner import best_trial, count_finished, open_study, run_trial
from jointembed.tuning.search_space import SweepMetric, parse_ranges

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
    - {class_path: jointembed.BestAndLast, init_args: {monitor: null}}
"""
FIT = ["--fit", "-c tiny --data.table rows.jsonl --trainer.accelerator cpu"]
METRIC = "words-genre/recall@3"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table and a recipe, to work in."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(n), "split": "dev" if n % 4 == 0 else "train", "words": f"{'abc'[n % 3] * 3} tune {n}",
             "genre": "xyz"[n % 3]} for n in range(40)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


class Trainings:
    """Stands in for trainings: `metrics(n)` gives the metric after each validation of the nth."""

    def __init__(self, metrics):
        self.metrics, self.words, self.stopped = metrics, [], []

    def __call__(self, words, folder, report):
        (folder / "last.ckpt").touch()
        self.words.append(words)
        try:
            for metric in self.metrics(len(self.words) - 1):
                report({METRIC: metric, "dev/loss": 1.0})
        except optuna.TrialPruned:
            self.stopped.append(folder.name)
            raise


def search(train, trials, key="model.dim=4:12", metric=METRIC):
    """Continue a study with a stub for the trainings; its best trial."""
    goal = SweepMetric(metric, "max", None, "min")
    with open_study("sqlite:///x.db", "max", {"--set": [key]}) as study:
        while count_finished(study) < trials:
            run_trial(study, parse_ranges([key]), goal, ["-c", "recipe.yaml"], Path("x.trials"), trials, train)
        return best_trial(study)


def sweep(*words, keys=("model.dim=4:12",)):
    options = [part for key in keys for part in ("--set", key)]
    return main(["sweep", "recipe.yaml", "--study", "sqlite:///x.db", *options, *words])


def refused(capsys, *words, **keys):
    assert sweep(*words, **keys) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Fix: " in error, error
    return error


@pytest.fixture
def commands(monkeypatch):
    """Commands run in this process, which is faster, and are listed."""
    ran = []

    def run(words):
        ran.append(words)
        assert main(words) == 0

    monkeypatch.setattr("jointembed.cli.processes.run_command", run)
    return ran


@pytest.mark.slow
def test_the_best_values_are_trained_with_seeds_and_compared(here, commands, capsys):
    words = [*FIT, "--trials", "1", "--seeds", "2", "--evaluate", "--query words --target genre --split dev -k 2"]
    assert sweep(*words) == 0
    paths = [here / f"x.trials/best-0/seed-{seed}/card.json" for seed in (0, 1)]
    cards = [json.loads(path.read_text()) for path in paths]
    values = [card["metrics"]["map"]["value"] for card in cards]
    ends = "  ".join(f"{value:.4f}" for value in (min(values), sum(values) / 2, max(values)))
    printed = capsys.readouterr().out
    assert ends in printed and "jointembed compare x.trials/best-0 OTHER" in printed
    assert [card["seeds"]["training"] for card in cards] == [0, 1]
    dim = yaml.safe_load((here / "best.yaml").read_text())["model"]["dim"]
    assert Space.load(paths[0].parent).dim == Space.load(paths[1].parent).dim == dim
    assert main(["compare", "x.trials/best-0", str(paths[0]), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["metrics"]["map"]["models"]
    assert report["best-0"]["seeds"] == pytest.approx(values)
    before, count = [path.read_bytes() for path in paths], len(commands)
    assert sweep(*words) == 0 and len(commands) == 2 * count
    assert [path.read_bytes() for path in paths] == before, "the same command goes on, and trains nothing again"


@pytest.mark.slow
def test_a_sweep_ends_in_a_layer_that_trains_and_goes_on_to_more_trials(here, capsys):
    keys = ("model.dim=5:9", "model.lr=1e-3:1e-1:log", "data.batch_size=[2,4]", "model.encoders.genre.sparse=[true]")
    assert sweep(*FIT, "--trials", "2", "--seeds", "0", keys=keys) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert (
        f"{METRIC}, max" in printed.splitlines()[0] and "2/2  trial 1  model.dim " in printed and " s  best " in printed
    )
    layer = yaml.safe_load((here / "best.yaml").read_text())
    assert 5 <= layer["model"]["dim"] <= 9 and 1e-3 <= layer["model"]["lr"] <= 1e-1
    assert layer["model"]["encoders"]["genre"]["init_args"]["sparse"] and "words" in layer["model"]["encoders"]
    assert len(list(here.glob("x.trials/*/best.ckpt"))) == 1, "checkpoints of the best trial only"
    table = ["--data.table", "rows.jsonl", "--trainer.default_root_dir", "run"]
    assert main(["fit", "-c", "recipe.yaml", "-c", "tiny", "-c", "best.yaml", *table]) == 0
    assert Space.load(here / "run").dim == layer["model"]["dim"]
    capsys.readouterr()
    assert sweep(*FIT, "--trials", "2", "--seeds", "0", keys=keys) == 0
    assert "all 2 trials are done" in capsys.readouterr().out and not (here / "x.trials" / "2").exists()
    assert sweep(*FIT, "--trials", "3", "--seeds", "0", keys=keys) == 0
    printed = capsys.readouterr().out
    assert (
        "3/3  trial 2" in printed and "trial 0  " not in printed and (here / "x.trials" / "2" / "metrics.csv").is_file()
    )


def test_a_trial_behind_the_median_is_pruned_and_counts(here, capsys):
    trainings = Trainings(lambda nth: [0.1, 0.2, 0.9] if nth == 5 else [0.5 + nth / 100, 0.6, 0.7])
    search(trainings, 7)
    assert trainings.stopped == ["5"] and len(trainings.words) == 7
    assert f"6/7  trial 5  model.dim {trainings.words[5][-1].partition('=')[2]}  pruned at" in capsys.readouterr().out
    assert not (here / "x.trials" / "5" / "last.ckpt").exists()


def test_a_metric_that_is_not_finite_prunes_its_trial(here):
    trainings = Trainings(lambda nth: [0.9, float("nan"), 1.0] if nth == 0 else [0.5])
    assert search(trainings, 2).number == 1 and trainings.stopped == ["0"]


def test_the_metric_of_a_trial_is_that_of_the_checkpoint_it_keeps(here):
    assert search(Trainings(lambda nth: [0.9, 0.4]), 1).value == 0.4  # the last is kept


def test_an_interrupted_trial_is_repeated(here):
    def interrupted(nth):
        yield 0.5
        raise KeyboardInterrupt

    trainings = Trainings(lambda nth: interrupted(nth) if nth == 1 else [0.5 + nth / 10])
    with pytest.raises(KeyboardInterrupt):
        search(trainings, 3, "model.dim=4:400")
    search(trainings, 3, "model.dim=4:400")
    dims = [words[-1] for words in trainings.words]
    assert dims[2] == dims[1] and len(dims) == 4 and len(set(dims)) == 3, "a resumed study draws new values"


def test_diverging_trials_are_pruned_and_three_failures_in_a_row_end_the_sweep(here, capsys):
    def fail(kind):
        raise kind("words", "the model gives vectors that are not finite", "train again")
        yield

    trainings = Trainings(lambda nth: fail(DamagedError) if nth == 0 else fail(UserError) if nth == 1 else [0.5])
    search(trainings, 2)
    printed = capsys.readouterr()
    assert "1/2  trial 0" in printed.out and "not finite" in printed.out and "warning: " in printed.err
    assert len(trainings.words) == 3
    trainings.metrics = lambda nth: fail(UserError)
    with pytest.raises(UserError):
        search(trainings, 9)
    assert len(trainings.words) == 6


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


@pytest.mark.parametrize(
    "key",
    ["model.dim", "model.dim=", "=3:4", "model.dim=4", "model.dim=9:4", "model.dim=a:b", "model.lr=0:1:log",
     "model.dim=4:8:lin", "model.lr=0:inf", "data.batch_size=[", "data.batch_size=[]"],
)  # fmt: skip
def test_invalid_ranges_are_refused(key, here, capsys):
    assert "--set" in refused(capsys, keys=(key,))


def test_mistakes_end_a_sweep_before_any_trial(here, capsys):
    assert "no key is given" in refused(capsys, keys=())
    assert "repeated" in refused(capsys, keys=("model.dim=4:8", "model.dim=4:9"))
    assert "did you mean words-genre/recall@3" in refused(capsys, *FIT, "--metric", "words-genre/recal@3")
    assert "no train/loss on dev rows" in refused(capsys, *FIT, "--metric", "train/loss")
    assert "at least 1" in refused(capsys, "--trials", "0")
    assert "--seeds: must not be negative, got -1" in refused(capsys, "--seeds=-1")
    assert "--evaluate: it needs --seeds" in refused(capsys, *FIT, "--seeds", "0", "--evaluate", "--query words")
    assert "--evaluate: --querry: " in refused(capsys, *FIT, "--evaluate", "--querry words")
    assert "--seed_everything: it cannot be used with --seeds" in refused(
        capsys, FIT[0], f"{FIT[1]} --seed_everything 3"
    )
    assert "best.yaml" in refused(capsys, "--out", "best.txt")
    assert "model.dmi" in refused(capsys, *FIT, keys=("model.dmi=4:8",))
    assert "dim" in refused(capsys, *FIT, keys=("model.dim=4:8.5",))
    assert main(["sweep", "recipe.yaml", "--study", "x.db", "--set", "model.dim=4:8"]) == 2
    assert "sqlite:///FILE.db" in capsys.readouterr().err
    assert not (here / "x.db").exists()
    (here / "x.db").write_text("some text that is long enough to be read as a database" * 20)
    assert "cannot be opened" in refused(capsys, *FIT)
    (here / "best.yaml").write_text("mine")
    assert "--force" in refused(capsys, "--trials", "1") and (here / "best.yaml").read_text() == "mine"


def test_a_metric_that_is_not_logged_is_named(here):
    with pytest.raises(UsageError, match="did you mean dev/loss"):
        search(Trainings(lambda nth: [0.5]), 1, metric="dev/los")


def test_a_study_refuses_other_ranges_and_a_second_sweep(here):
    search(Trainings(lambda nth: [0.5]), 1)
    with pytest.raises(UsageError, match="another --set"):
        search(Trainings(lambda nth: [0.5]), 1, "model.dim=4:13")
    with files.lock(here / "x.db.lock"), pytest.raises(UsageError, match="another sweep"):
        search(Trainings(lambda nth: [0.5]), 1)


def test_without_optuna_the_error_names_the_extra_to_install(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert 'pip install "jointembed[hpo]"' in refused(capsys)
