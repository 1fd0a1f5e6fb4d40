"""The end of `fit`: its figures, its curves, and the commands that it names."""

import csv
import json
import shlex
import sys

import numpy as np
import pytest
from PIL import Image

from jointembed.__main__ import main
from jointembed.analyze.curves import families, read_curves

pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]

RECIPE = """\
model:
  dim: 6
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: words, target: genre, candidates: all}}
  lr: 0.05
data: {batch_size: 8}
trainer:
  max_epochs: 3
  accelerator: cpu
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - {class_path: jointembed.Evaluate, init_args: {query: words, target: genre, k: [1, 2]}}
    - {class_path: jointembed.BestAndLast, init_args: {monitor: words-genre/map, mode: max}}
"""


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"id": f"r{n}", "split": ("train", "train", "dev", "test")[n // 12 % 4], "words": f"{'abc'[n % 3]}a {n % 5}x",
         "genre": "xyz"[n % 3]} for n in range(48)
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def fit(folder, *more, run="a run"):
    words = ["--data.table", str(folder / "rows.jsonl"), "--trainer.default_root_dir", str(folder / run), *more]
    return main(["fit", "-c", str(folder / "recipe.yaml"), *words])


def logged(folder):
    with open(folder / "a run" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_fit_ends_with_figures_curves_and_commands_that_run(folder, capsys):
    assert fit(folder) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out.splitlines()
    figures = {
        line.split()[0].rstrip(","): line.replace(", mean of an epoch", "").split()[1:]
        for line in printed
        if "/" in line
    }
    losses = [float(row["dev/loss"]) for row in logged(folder) if row["dev/loss"]]
    assert figures["dev/loss"] == [f"{losses[-1]:.4f}", f"{min(losses):.4f}", str(int(np.argmin(losses)))]
    precision = [float(row["words-genre/map"]) for row in logged(folder) if row["words-genre/map"]]
    best = int(np.argmax(precision))
    assert figures["words-genre/map"] == [f"{precision[-1]:.4f}", f"{max(precision):.4f}", str(best), "best.ckpt"]
    assert {"train/loss", "words-genre/recall@1", "words-genre/recall@2"} <= set(figures)
    image = np.asarray(Image.open(folder / "a run" / "curves.png").convert("RGB"))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50, "something is drawn"
    commands = [shlex.split(line.removeprefix("next: ")) for line in printed if "jointembed " in line]
    assert [command[1] for command in commands] == ["evaluate", "index"] and "test" in commands[0]
    for command in commands:
        assert main(command[1:]) == 0, capsys.readouterr().err
    assert (folder / "a run" / "words.index").exists()


def test_the_curves_of_a_resumed_run_are_those_of_the_whole_run(folder, capsys):
    assert fit(folder) == 0
    assert fit(folder, "--resume", "auto", "--trainer.max_epochs", "5") == 0, capsys.readouterr().err
    curves = read_curves(folder / "a run" / "metrics.csv")
    assert curves["dev/loss"].epochs.tolist() == [0, 1, 2, 3, 4]
    assert curves["train/loss"].steps.tolist() == list(range(15))


def test_without_matplotlib_a_line_says_how_to_install_it(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert fit(folder, "--trainer.max_epochs", "1") == 0
    printed = capsys.readouterr()
    assert [line for line in printed.err.splitlines() if "curves" in line] == [
        'curves: not drawn; to draw them, pip install "jointembed[map]"'
    ]
    assert "next: jointembed evaluate" in printed.out and not (folder / "a run" / "curves.png").exists()


def test_a_table_without_ids_and_held_out_rows_is_not_evaluated_or_indexed(folder, capsys):
    rows = [{"words": f"{'abc'[n % 3]}a", "genre": "xyz"[n % 3]} for n in range(16)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fit(folder, "--trainer.callbacks", "null", "--trainer.max_epochs", "1") == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "train/loss" in printed and "next:" not in printed


def test_curves_are_in_panels_by_family(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "a-b/map,a-b/recall@10,a-b/recall@5,dev/0_a_b,dev/1_b_a,dev/loss,epoch,lr-Adam,step,train/loss\n"
        ",,,,,,0,,0,4.0\n,,,,,,,0.1,0,\n,,,,,,0,,1,nan\n,,,,,,0,,2,2.0\n0.5,0.9,0.7,1.0,2.0,3.0,0,,2,\n,,,,,,1,,3,inf\n,,,,,,1,,4,1.0\n"
    )
    curves = read_curves(tmp_path / "metrics.csv")
    assert curves["train/loss"].values.tolist() == [4, 2, 1], "values that are not finite are left out"
    assert curves["train/loss"].by_epoch().values.tolist() == [3, 1]
    assert {title: list(panel) for title, panel in families(curves).items()} == {  # in this order
        "loss": ["train", "dev"],
        "dev loss of each objective": ["0_a_b", "1_b_a"],
        "a-b": ["map", "recall@5", "recall@10"],
        "learning rate": ["lr-Adam"],
    }
    assert read_curves(tmp_path / "absent.csv") == {}
