"""`jointembed check`: what it prints and writes, and its exit codes."""

import json

import pytest
import torch

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, TableData
from jointembed.__main__ import main
from jointembed.training.trainer import Trainer

# Lightning asks torch in a way that torch is about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, one_thread):
    """A model, its table and its index."""
    folder = tmp_path_factory.mktemp("home")
    rows = [
        {"id": f"s{n}", "split": "test" if n % 4 == 0 else "train", "words": f"w{n % 7} x{n % 11} y{n % 5} z{n % 3}",
         "genre": f"g{n % 7}", "artist": f"A{n % 4}"} for n in range(80)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    leaky = [{**row, "words": rows[n - n % 4]["words"] if n % 4 == 1 else row["words"]} for n, row in enumerate(rows)]
    (folder / "leaky.jsonl").write_text("".join(json.dumps(row) + "\n" for row in leaky))
    torch.manual_seed(0)
    encoders = {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}
    model = JointEmbedding(8, encoders, [Match("words", "genre", "all")], lr=0.02)
    trainer = Trainer(max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(model, TableData(str(folder / "rows.jsonl"), batch_size=8))
    model.save(folder / "m.ckpt")
    words = [str(folder / "m.ckpt"), str(folder / "rows.jsonl"), str(folder / "s.index"), "--column", "words"]
    assert main(["index", *words]) == 0
    return folder


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def execute(*words, code=0):
        capsys.readouterr()
        assert main(["check", *words]) == code
        return capsys.readouterr()

    return execute


def test_a_table_is_checked_twice_alike(ask, folder):
    first, second = (
        ask("m.ckpt", "rows.jsonl", "--group", "artist", "--page", f"{number}.html").out for number in (1, 2)
    )
    assert first == second and (folder / "1.html").read_bytes() == (folder / "2.html").read_bytes()
    lines = [line.split() for line in first.splitlines()]
    assert lines[0] == ["verdict", "column", "check", "value", "thresholds", "note"]
    assert {line[0] for line in lines[2:] if line and line[0] != "note:"} <= {"ok", "warn"}
    assert ["ok", "artist", "held-out", "cells", "in", "training", "0"] == lines[2][:7]
    page = (folder / "1.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and "http" not in page and "<script" not in page
    assert page.count("<tr>") == len([line for line in lines[2:] if line and line[0] in ("ok", "warn", "fail")]) + 1


def test_a_failed_check_exits_with_1_after_the_table(ask, folder):
    printed = ask("m.ckpt", "leaky.jsonl", "--json", "--page", "leak.html", code=1)
    checks = json.loads(printed.out)["checks"]
    failed = [(check["column"], check["check"]) for check in checks if check["verdict"] == "fail"]
    assert failed == [("words", "held-out cells in training")]
    assert printed.err.count("\n") == 1 and "error[E-CHECK]: m.ckpt: 1 of" in printed.err
    assert (
        "words: held-out cells in training (1)" in printed.err
        and "<td class=fail>" in (folder / "leak.html").read_text()
    )
    assert set(checks[0]) == {"column", "check", "value", "warn", "fail", "bad", "verdict", "note"}


def test_an_index_and_vocabularies_are_checked(ask):
    assert "held-out vectors in training" in ask("m.ckpt", "s.index", "--group", "artist").out
    assert "genre has 7 different cells, too few to measure" in ask("m.ckpt").out
    only = json.loads(ask("m.ckpt", "rows.jsonl", "--column", "genre", "--json").out)["checks"]
    assert {check["column"] for check in only} == {"genre"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m.ckpt", "rows.jsonl", "--column", "wordz"], "did you mean words?"),
        (["m.ckpt", "s.index", "--column", "genre"], "the index has no such field"),
        (["m.ckpt", "rows.jsonl", "--group", "band"], "the table has no such column"),
        (["m.ckpt", "s.index", "--group", "band"], "the index has no such column"),
        (["m.ckpt", "--group", "artist"], "it is a column of a table or an index"),
        (["m.ckpt", "rows.jsonl", "--rows", "3"], "must be at least 16, got 3"),
        (["m.ckpt", "rows.jsonl", "--page", "page.png"], "a page is written as .html"),
    ],
)
def test_wrong_words_end_with_one_line(ask, words, message):
    printed = ask(*words, code=2)
    assert message in printed.err and printed.err.count("\n") == 1 and not printed.out


def test_an_index_given_as_the_model_is_called_an_index(ask):
    printed = ask("s.index", code=4)
    assert "this is an index, not a model" in printed.err and printed.err.count("\n") == 1
