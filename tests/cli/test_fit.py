"""A recipe that fine-tunes: what it prints, what it writes, and how its mistakes are explained."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from fine_tuning import BITMAPS, save_source

from jointembed import Space, TableData
from jointembed.__main__ import main
from jointembed.cli.sweep import read_config

pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def recipe(tmp_path):
    """The words of a command that fine-tunes."""
    pytest.importorskip("peft")
    source = str(tmp_path / "source.ckpt")
    save_source(tmp_path / "source.ckpt")
    rows = [{"bitmap": f"{number}.npy", "digit": "abc"[number % 3]} for number in range(12)]
    for row, bitmap in zip(rows, BITMAPS, strict=True):
        np.save(tmp_path / row["bitmap"], bitmap)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"checkpoint": source, "column": "bitmap", "lora": {"rank": 2, "targets": ["head.*"]}}
    model = {
        "dim": 6,
        "encoders": {
            "bitmap": {"class_path": "jointembed.from_checkpoint", "init_args": settings},
            "digit": {"class_path": "EmbeddingBag", "init_args": {"reader": {"class_path": "Category"}}},
        },
        "objectives": [
            {"class_path": "Match", "init_args": {"query": "bitmap", "target": "digit", "candidates": "all"}},
            {"class_path": "Distillation", "init_args": {"query": "bitmap", "teacher": source}},
        ],
        "encoder_lr": {"bitmap": 0.01},
        "layer_lr_decay": {"bitmap": 0.8},
    }
    callbacks = [{"class_path": "jointembed.EMA", "init_args": {"decay": 0.5}}]
    trainer = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "callbacks": callbacks}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"model": model, "data": {"batch_size": 6}, "trainer": trainer}))
    run = str(tmp_path / "run")
    return ["fit", "-c", str(path), "--data.table", str(tmp_path), "--trainer.default_root_dir", run]


def test_fine_tuning_is_a_recipe(recipe, tmp_path, capsys):
    assert main(recipe) == 0
    counts = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    head = 8 * 2 * 2  # the pixels that are left of a bitmap, in 8 channels
    assert counts["bitmap"][1] == str(2 * (head + 16)) and counts["digit"][1] == "24"
    (tmp_path / "source.ckpt").unlink()
    assert Space.load(tmp_path / "run").embed("bitmap", BITMAPS).shape == (12, 6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.encoders.bitmap.init_args.column", "bitmaps"], "did you mean bitmap"),
        (["--model.encoders.bitmap.init_args.trainable", "[stage.1]"], "trainable: stage.1: it matches no layer"),
        (["--model.encoders.bitmap.init_args.lora.targets", "[heads]"], "lora.targets: heads: it matches no layer"),
        (["--model.encoder_lr", "{bitmaps: 0.1}"], "encoder_lr.bitmaps: the model has no such encoder"),
    ],
)
def test_mistakes_are_one_line(recipe, capsys, words, message):
    assert main([*recipe, *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["fit", "--resume", "last"], "its value must be auto, got 'last'"),
        (["fit", "--resume"], "its value must be auto, got ''"),
        (["fit", "--resume", "auto", "--ckpt_path", "last"], "it cannot be used with --ckpt_path"),
        (["test", "--resume", "auto"], "jointembed test has no such option"),
    ],
)
def test_resume_takes_auto_and_belongs_to_fit(words, wrong, capsys):
    assert main(words) == 2
    assert f"--resume: {wrong}" in capsys.readouterr().err


def test_missing_recipe_files_and_unknown_recipe_names_get_different_fixes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", "my.yaml"]) == 2
    assert "my.yaml: no file and no recipe has this name. Fix: jointembed init" in capsys.readouterr().err
    assert main(["fit", "-c", "mnist/depp3d"]) == 2
    assert "mnist/depp3d: this recipe does not exist. Fix: did you mean mnist/deep3d?" in capsys.readouterr().err


def test_the_help_of_fit_names_resume(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert "--resume auto" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["#1", "~", "&a", "007"])
def test_text_among_the_options_is_text(text, tmp_path):
    objectives = [{"class_path": "Match", "init_args": {"query": "words", "target": "words"}}]
    model = {"dim": 2, "encoders": {"words": {"class_path": "MLP"}}, "objectives": objectives}
    model["encoders"]["words"]["init_args"] = {"reader": {"class_path": "Numbers"}, "width": 2}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"model": model}))
    options = ["--data.table", text, "--data.group", text, "--data.balance+", text]
    options += ["--data.join.item", "2024", "--trainer.default_root_dir", text]
    config = read_config(["-c", str(tmp_path / "r.yaml"), *options])
    assert config["data"]["table"] == text and config["data"]["group"] == text
    assert config["data"]["balance"] == [text] and config["data"]["join"] == {"item": "2024"}
    assert config["trainer"]["default_root_dir"] == text


def test_null_among_the_options_is_none(tmp_path):
    config = read_config(["-c", "tiny", "--data.table", "x", "--data.group", "null", "--model.dim", "3"])
    assert config["data"]["group"] is None


def test_table_may_be_named_like_the_home_of_nobody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~nobody.jsonl").write_text('{"id": "a"}\n')
    assert TableData("~nobody.jsonl").open().cells("id") == ["a"]
