"""Runs of `fit` side by side."""

import csv
import io
import json

import pytest

from jointembed.__main__ import main
from jointembed.analyze.runs import read_runs, short_keys

CONFIG = """\
seed_everything: {seed}
model:
  dim: {dim}
  encoders:
    words: {{class_path: jointembed.EmbeddingBag, init_args: {{width: null}}}}
{more}
trainer:
  default_root_dir: {place}
  callbacks:
  - class_path: jointembed.BestAndLast
    init_args: {{monitor: a-b/map, mode: max}}
"""


def write_run(folder, name, maps, losses, seed=0, dim=8, more=""):
    place = folder / name
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(CONFIG.format(seed=seed, dim=dim, more=more, place=place))
    lines = [
        "a-b/map,dev/loss,epoch,step",
        *(f"{best},{loss},{n},{n}" for n, (best, loss) in enumerate(zip(maps, losses, strict=True))),
    ]
    (place / "metrics.csv").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_run(tmp_path, "small", [0.1, 0.5, 0.3], [3, 2, 1])
    write_run(tmp_path, "sweep/0", [0.2, 0.7], [4, 5], dim=16, seed=1)
    audio = "    audio: {class_path: jointembed.ConvNet, init_args: {width: 4}}"
    write_run(tmp_path, "sweep/1", [0.6], [2], more=audio)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.yaml").write_text("a: 1")
    (tmp_path / "elsewhere" / "metrics.csv").write_text("x\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(capsys, *words, code=0):
    capsys.readouterr()
    assert main(["runs", *words]) == code
    return capsys.readouterr()[code > 0]


def test_runs_are_sorted_by_the_metric_that_chose_their_checkpoints(folder, capsys):
    listed = json.loads(ask(capsys, ".", "--json"))
    assert [run["run"] for run in listed] == ["sweep/0", "sweep/1", "small"]
    assert listed[2]["metrics"] == {"a-b/map": 0.5, "dev/loss": 2.0}, "of the epoch that is kept, not the best of each"
    assert [run["epochs"] for run in listed] == [2, 1, 3]
    losses = json.loads(ask(capsys, ".", "--json", "--metric", "dev/loss"))
    assert [run["metrics"]["dev/loss"] for run in losses] == [2, 2, 5]


def test_only_settings_that_differ_are_listed(folder, capsys):
    listed = json.loads(ask(capsys, ".", "--json"))
    assert listed[0]["settings"] == {"seed_everything": 1, "model.dim": 16, "model.encoders.audio": None}
    assert listed[1]["settings"]["model.encoders.audio"] == "ConvNet"
    lines = ask(capsys, ".").splitlines()
    assert lines[0].split() == ["run", "seed_everything", "dim", "audio", "a-b/map", "dev/loss", "epochs", "time"]
    assert "ConvNet" in lines[3] and "0.6000" in lines[3]
    alone = ask(capsys, "sweep/0").splitlines()
    assert alone[0].split() == ["run", "a-b/map", "dev/loss", "epochs", "time"] and alone[2].startswith(".")
    write_run(folder, "twins/1", [0.1], [3])
    twin = write_run(folder, "twins/2", [0.1], [3])
    with open(twin / "config.yaml", "a") as config:
        config.write("ckpt_path: auto\n")  # of --resume
    assert "all runs have the same settings" in ask(capsys, "twins")


def test_csv_has_whole_keys_and_is_the_same_each_time(folder, capsys):
    text = ask(capsys, ".", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[1]["model.encoders.audio"] == "ConvNet" and rows[0]["model.dim"] == "16"
    assert float(rows[0]["a-b/map"]) == 0.7 and text == ask(capsys, ".", "--csv")


def test_what_cannot_be_listed_is_named(folder, capsys):
    assert "did you mean a-b/map" in ask(capsys, ".", "--metric", "a-b/mapp", code=2)
    assert "holds no run of `jointembed fit`" in ask(capsys, "elsewhere", code=2)
    assert "does not exist" in ask(capsys, "nowhere", code=2)
    assert "exclude each other" in ask(capsys, ".", "--csv", "--json", code=2)
    (folder / "small" / "metrics.csv").write_text("a,b\nx,1\n")
    assert "small/metrics.csv: it is not a table of metrics" in ask(capsys, ".", code=5)
    (folder / "small" / "config.yaml").write_text("a: [")
    assert "small/config.yaml: it is not YAML" in ask(capsys, ".", code=5)


def test_a_run_that_was_stopped_before_its_first_metrics_is_listed(folder):
    (write_run(folder, "begun", [], []) / "metrics.csv").write_text("")
    run = next(run for run in read_runs(folder) if run.name == "begun")
    assert run.metrics == {} and run.epochs == 0


def test_keys_are_shortened_as_far_as_they_differ():
    assert short_keys(["model.lr", "data.lr", "lr"]) == ["model.lr", "data.lr", "lr"]
    assert short_keys([]) == []
