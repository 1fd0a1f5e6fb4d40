"""A resumed run uses what its recipe has changed, refuses it, or says that it cannot use it; nothing is ignored."""

import json

import pytest
import torch

from jointembed.__main__ import main

RECIPE = """
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: BagOfWords}}
    artist: {class_path: EmbeddingBag, init_args: {reader: Category}}
  objectives: [{class_path: Match, init_args: {query: words, target: artist, candidates: all}}]
  schedule: constant
  warmup: 0.0
data: {batch_size: 8}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false}
"""


def write_rows(folder, artists):
    rows = [
        {"id": str(n), "split": "train", "words": f"w{n % 5}", "artist": artists[n % len(artists)]} for n in range(40)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    write_rows(folder, ["a", "b", "c"])
    (folder / "r.yaml").write_text(RECIPE)
    assert main(words(folder, "run")) == 0
    return folder


def words(home, run):
    return ["fit", "-c", str(home / "r.yaml"), "--data.table", str(home), "--trainer.default_root_dir", str(home / run)]


@pytest.fixture
def resume(home, tmp_path, capsys):
    def go_on(*options):
        capsys.readouterr()
        folder = ["--trainer.default_root_dir", str(tmp_path / "run"), "--ckpt_path", str(home / "run" / "last.ckpt")]
        code = main([*words(home, "run"), *folder, *options])
        return code, capsys.readouterr().err

    return go_on


def rates(folder):
    content = torch.load(folder / "run" / "last.ckpt", weights_only=True)
    groups = content["optimizer_states"][0]["param_groups"]
    assert content["lr_schedulers"][0]["base_lrs"] == [group["initial_lr"] for group in groups]
    return {(group["lr"], group["weight_decay"]) for group in groups if not group["sparse"]}


def test_new_learning_rate_and_weight_decay_are_used(resume, home, tmp_path):
    assert {lr for lr, _ in rates(home)} == {0.001}
    code, err = resume("--trainer.max_epochs", "3", "--model.lr", "0.25", "--model.weight_decay", "0.125")
    assert code == 0 and "those of the recipe are used" in err
    assert rates(tmp_path) <= {(0.25, 0.125), (0.25, 0.0)}
    weights = [torch.load(folder / "run" / "last.ckpt", weights_only=True)["state_dict"] for folder in (home, tmp_path)]
    moved = max(float((weights[1][name] - weights[0][name]).abs().max()) for name in weights[0])
    assert moved > 0.1, "a step of Adam is about as long as the rate"


def test_same_recipe_says_nothing(resume):
    code, err = resume("--trainer.max_epochs", "3")
    assert code == 0 and "warning" not in err.replace("learns nothing", "") and "are used" not in err, err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.max_epochs", "1"], "trainer.max_epochs: the run has had 2 epochs already, more than 1"),
        (["--trainer.max_steps", "3"], "trainer.max_steps: the run has had 10 steps already, more than 3"),
        (["--model.optimizer", "sgd"], "model.optimizer: the run was begun with adamw"),
        (["--model.schedule", "cosine"], "model.schedule: the run was begun with constant"),
        (["--model.encoder_lr", "{words: 0.1}"], "model.encoder_lr: the run was begun with rates for no encoder"),
        (["--model.dim", "6"], "its weights do not fit the recipe"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(resume, options, message):
    code, err = resume("--trainer.max_epochs", "3", *options)
    assert code in (2, 4) and message in err and "error[" in err.splitlines()[-1], err


def test_new_labels_are_reported(resume, home):
    write_rows(home, ["a", "b", "c", "polka", "reel"])
    try:
        code, err = resume("--trainer.max_epochs", "3")
    finally:
        write_rows(home, ["a", "b", "c"])
    assert code == 0 and "artist: 2 values that the run did not have when it began, such as 'polka'" in err
