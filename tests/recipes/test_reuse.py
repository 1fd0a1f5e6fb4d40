"""A frozen encoder as the input of other models, from a few examples a class."""

import json
import re
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jointembed.__main__ import main

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

FOLDER = Path(__file__).parents[2] / "recipes" / "reuse"
LABELS = "frozen, scikit-learn|frozen, jointembed|spectrogram, scikit-learn|from scratch"


@pytest.fixture
def recordings(tmp_path):
    """Forty clips in the layout of the Free Spoken Digit Dataset: the digit is the pitch."""
    folder, rng = tmp_path / "fsdd" / "recordings", np.random.default_rng(0)
    folder.mkdir(parents=True)
    for digit in range(4):
        for number in range(10):
            times = np.arange(2400) / 8000
            sound = 0.3 * np.sin(2 * np.pi * 300 * 1.7**digit * times) + rng.normal(0, 0.02, 2400)
            soundfile.write(folder / f"{digit}_{'ab'[number % 2]}_{number}.wav", sound, 8000)
    return folder.parent


@pytest.fixture
def run(monkeypatch):
    def script(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(FOLDER / name), run_name="__main__")

    return script


def test_unseen_digits_are_never_trained_on(run, recordings, tmp_path):
    out = tmp_path / "out"
    run("prepare.py", recordings, out, "--unseen", "23")
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
    assert Counter(row["split"] for row in rows) == {"train": 18, "dev": 2, "unseen": 20}
    assert {row["digit"] for row in rows if row["split"] == "unseen"} == {"2", "3"}
    assert {row["digit"] for row in rows if row["split"] != "unseen"} == {"0", "1"}
    assert all((out / row["speech"]).is_file() and row["speaker"] in "ab" for row in rows)


@pytest.mark.parametrize("unseen", ["2", "89", "0123", None])
def test_invalid_unseen_digits_are_refused(unseen, run, recordings, tmp_path, capsys):
    words = ["--unseen", unseen] if unseen else []
    with pytest.raises(SystemExit) as stop:
        run("prepare.py", recordings, tmp_path / "out", *words)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "0123" in error


@pytest.mark.slow
def test_fewshot_prints_the_accuracy_of_all_methods(run, recordings, tmp_path, capsys):
    out, model = tmp_path / "out", tmp_path / "run"
    run("prepare.py", recordings, out, "--unseen", "23")
    words = ["--data.table", str(out), "--trainer.default_root_dir", str(model), "--trainer.enable_progress_bar", "no"]
    words += ["--trainer.max_epochs", "2", "--data.batch_size", "6"]
    assert main(["fit", "-c", "reuse/known", *words]) == 0
    before = (model / "best.ckpt").read_bytes()
    capsys.readouterr()
    run("experiments/fewshot.py", model, out, "--shots", "1", "5", "--draws", "2", "--steps", "10")
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(LABELS, line)]
    assert len(lines) == 4
    for line in lines:
        figures = [float(number) for number in re.findall(r"(\d\.\d+) \(", line)]
        assert len(figures) == 2 and all(0 <= number <= 1 for number in figures)
    frozen = [float(number) for number in re.findall(r"(\d\.\d+) \(", lines[0])]
    assert frozen[1] >= 0.9, "a pitch is learned from five examples"
    assert (model / "best.ckpt").read_bytes() == before, "what is frozen stays as it was"
    with pytest.raises(SystemExit) as stop:
        run("experiments/fewshot.py", model, out, "--shots", "10")
    assert stop.value.code == 2 and "fewer --shots" in capsys.readouterr().err


def test_examples_are_balanced_and_excluded_from_questions():
    script = runpy.run_path(str(FOLDER / "experiments/fewshot.py"))
    rows = [{"id": str(number), "kind": "abc"[number % 3]} for number in range(30)]
    examples, questions = script["draw_examples"](rows, "kind", 4, 0)
    assert Counter(row["kind"] for row in examples) == {"a": 4, "b": 4, "c": 4}
    assert sorted(row["id"] for row in examples + questions) == sorted(row["id"] for row in rows)
    assert examples != script["draw_examples"](rows, "kind", 4, 1)[0]
    assert script["interval"]([0.5, 0.5, 0.5]) == "0.500 (0.500 - 0.500)" and script["interval"]([0.4]) == "0.400"
