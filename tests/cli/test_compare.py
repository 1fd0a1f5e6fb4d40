"""`evaluate --card` and `compare`: what they write, twice the same, and what they refuse."""

import json

import pytest
import torch

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, Regression, TableData
from jointembed.__main__ import main
from jointembed.evaluation.card import Card
from jointembed.training.trainer import Trainer

# Lightning asks torch in a way that torch is about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]

GENRES = ["waltz", "reel", "jig"]


def write_rows(path, count=60):
    rows = []
    for n in range(count):
        split = "test" if n % 3 == 0 else "train"
        artist, noise = f"A{n // 3 % 10}", f"w{n * 7 % 11}"
        words = f"{GENRES[n // 3 % 3][: n % 5]} {noise} tune"
        rows.append({"id": f"s{n}", "split": split, "words": words, "genre": GENRES[n // 3 % 3], "artist": artist,
                     "length": n % 7 + 0.5 * (n // 3 % 3), "seen": [words] if n == 0 else None})  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, one_thread):
    """Two models of one table, trained for long and hardly."""
    folder = tmp_path_factory.mktemp("models")
    write_rows(folder / "rows.jsonl")
    for name, epochs in (("a", 1), ("b", 30)):
        torch.manual_seed(0)
        encoders = {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}
        objectives = [Match("words", "genre", "all"), Match("words", "artist", "all", head=[8])]
        model = JointEmbedding(6, encoders, [*objectives, Regression("words", "length", head=[8])], lr=0.05)
        trainer = Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                          enable_model_summary=False, accelerator="cpu")  # fmt: skip
        trainer.fit(model, TableData(str(folder / "rows.jsonl"), batch_size=8))
        model.save(folder / f"{name}.ckpt")
    return folder


@pytest.fixture
def place(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def evaluate(model, card, *more, query="words", target="genre"):
    return main(
        ["evaluate", f"{model}.ckpt", "rows.jsonl", "--query", query, "--target", target, "--card", card, *more]
    )


def test_a_card_says_what_was_measured_and_how(place):
    assert evaluate("a", "a.json", "--group", "artist") == 0
    card = json.loads((place / "a.json").read_text())
    assert card["question"]["group"] == "artist" == card["unit"] and card["question"]["k"] == [1, 5, 10]
    assert set(card["data"]) == {"table", "split", "cells", "answers"} and all(card["data"].values())
    assert set(card["model"]["preprocessing"]) == {"words", "genre"} and len(card["model"]["space"]) == 16
    assert card["versions"]["torch"] == torch.__version__.partition("+")[0] and card["machine"]["cores"]
    assert card["seeds"] == {"training": None, "bootstrap": 0, "ties": 0}
    assert len(card["units"]) == card["queries"] == len(card["scores"]["values"]["map"])
    assert card["metrics"]["map"].keys() == {"value", "low", "high", "chance"}
    assert str(place) not in (place / "a.json").read_text()


def test_evaluating_twice_writes_the_same_bytes(place, capsys):
    for name in ("a", "again"):
        assert evaluate("a", f"{name}.json") == 0
    assert (place / "a.json").read_bytes() == (place / "again.json").read_bytes()
    assert evaluate("b", "b.json") == 0
    first, second = (Card.read(place / f"{name}.json").facts for name in "ab")
    assert first["data"] == second["data"] and first["model"]["whole"] != second["model"]["whole"]


@pytest.mark.parametrize("style", [(), ("--markdown",), ("--latex",), ("--json",)])
def test_comparing_prints_each_style_twice_alike(place, capsys, style):
    for name in "ab":
        assert evaluate(name, f"{name}.json", "--group", "artist") == 0
    texts = []
    for number in (1, 2):
        capsys.readouterr()
        assert main(["compare", "a.json", "b.json", "--metric", "map", "--metric", "recall@1", *style,
                     "--png", f"{number}.png"]) == 0  # fmt: skip
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and (place / "1.png").read_bytes() == (place / "2.png").read_bytes()
    assert "recall@1" in texts[0] and ("better" in texts[0] or style == ("--json",))
    if style == ("--latex",):
        assert r"95 \% interval" in texts[0] and texts[0].count(r"\begin{tabular}") == 2
    elif style == ("--json",):
        report = json.loads(texts[0])
        assert report["units"] == 10 and report["tests"] == 2 and report["unit"] == "artist"
    elif style:
        assert texts[0].count("| ---") > 4


def test_the_longer_trained_model_is_better(place, capsys):
    for name in "ab":
        assert evaluate(name, f"{name}.json") == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metrics"]["map"]["differences"][0]["better"] == "b" and report["unit"] == "query"
    assert main(["compare", "a.json", "b.json,a.json", "--all-pairs"]) == 0
    assert "median" in capsys.readouterr().out


@pytest.mark.parametrize(("target", "metric"), [("length", "rmse"), ("artist", "accuracy")])
def test_predictions_are_compared_too(place, capsys, target, metric):
    for name in "ab":
        assert evaluate(name, f"{name}.json", "--group", "artist", target=target) == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["metrics"]) == [metric]
    assert main(["compare", "a.json", "b.json", "--metric", "ece" if target == "artist" else "r2"]) == 2
    assert "of each query (only of all)" in capsys.readouterr().err


def test_cards_of_other_tasks_are_refused_in_one_line(place, capsys, tmp_path):
    assert evaluate("a", "a.json") == 0
    assert evaluate("b", "words.json", "--relevant", "genre", target="words") == 0
    assert evaluate("b", "train.json", "--split", "train") == 0
    write_rows(place / "longer.jsonl", 66)
    words = ["b.ckpt", "longer.jsonl", "--query", "words", "--target", "genre", "--card", "longer.json"]
    assert main(["evaluate", *words]) == 0
    for name, message in (
        ("words", "--target is words, and genre in a.json"),
        ("train", "--split is train, and test in a.json"),
        ("longer", "other rows are evaluated than in a.json"),
        ("a", "this card is given twice"),
    ):
        capsys.readouterr()
        assert main(["compare", "a.json", f"{name}.json"]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and "Fix: " in error
    assert main(["compare", "a.json"]) == 2
    assert "at least two models" in capsys.readouterr().err
    assert main(["compare", "a.json", "words.json", "--markdown", "--latex"]) == 2


def test_few_units_are_named(place, capsys):
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        row["half"] = row["id"] < "s3"
    (place / "halves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in "ab":
        words = ["--query", "words", "--target", "genre", "--group", "half", "--card", f"{name}.json"]
        assert main(["evaluate", f"{name}.ckpt", "halves.jsonl", *words]) == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json"]) == 0
    assert "2 units are too few" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "words"], "no row has two cells of words, which is the target too"),
        (["--target", "genre", "--relevant", "seen"], "no row of test has a words and a relevant genre"),
        (["--target", "genre", "--candidates-split", "nothing"], "the table has no row of this split"),
        (["--target", "genre", "--exclude", "genre"], "no row of test has a words and a relevant genre"),
    ],
)
def test_an_evaluation_without_answers_is_explained(place, capsys, words, message):
    if "seen" in words:
        rows = [{"id": "x", "split": "test", "words": "tune", "genre": "jig"}]
        rows += [{"id": "y", "split": "train", "words": "tune", "genre": "jig", "seen": "z"}]
        (place / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = "few.jsonl" if "seen" in words else "rows.jsonl"
    capsys.readouterr()
    assert main(["evaluate", "a.ckpt", table, "--query", "words", *words]) == 2
    out, err = capsys.readouterr()
    assert message in err and "Fix: " in err and err.count("\n") == 1 and not out


def test_queries_that_rank_no_answer_are_left_out_and_counted(place, capsys):
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    rows[0]["known"] = rows[0]["genre"]
    (place / "known.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    words = ["a.ckpt", "known.jsonl", "--query", "words", "--target", "genre", "--exclude", "known"]
    assert main(["evaluate", *words]) == 0
    assert "(1 more without a relevant candidate)" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["genre", "artist"])
def test_classes_are_counted_and_drawn(place, capsys, target):
    words = ["evaluate", "b.ckpt", "rows.jsonl", "--query", "words", "--target", target]
    if target == "genre":  # of the nearest candidate, where words have one genre
        rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
        single = list({row["words"]: row for row in rows if row["split"] == "test"}.values())
        (place / "single.jsonl").write_text("".join(json.dumps(row) + "\n" for row in single))
        words[2] = "single.jsonl"
    capsys.readouterr()
    assert main([*words, "--classes", "--json", "--png", "1.png"]) == 0
    report = json.loads(capsys.readouterr().out)
    matrix = report["confusion"]["matrix"]
    assert sum(map(sum, matrix)) == sum(row["rows"] for row in report["classes"]) == report["queries"]
    accuracy = sum(matrix[at][at] for at in range(len(matrix))) / report["queries"]
    assert accuracy == pytest.approx(report["metrics"]["accuracy" if target == "artist" else "hit@1"]["value"])
    assert main([*words, "--classes", "--png", "2.png"]) == 0
    printed = capsys.readouterr().out
    assert "most often taken for" in printed
    low, high = report["classes"][0]["recall_interval"]
    assert low <= report["classes"][0]["recall"] <= high and f"{low:.4f} - {high:.4f}" in printed
    assert (place / "1.png").read_bytes() == (place / "2.png").read_bytes()


def test_classes_of_what_has_none_are_refused(place, capsys):
    words = ["evaluate", "b.ckpt", "rows.jsonl", "--query", "words"]
    assert main([*words, "--target", "length", "--classes"]) == 2
    assert main([*words, "--target", "words", "--relevant", "genre", "--classes"]) == 2
    assert capsys.readouterr().err.count("no single label for each query") == 2


@pytest.mark.parametrize(
    ("name", "value"), [("question", None), ("metrics", []), ("data", {}), ("version", "1"), ("units", 5)]
)
def test_a_card_whose_parts_are_of_other_types_is_refused_in_one_line(place, capsys, name, value):
    assert evaluate("a", "a.json") == evaluate("b", "b.json") == 0
    (place / "b.json").write_text(json.dumps({**json.loads((place / "b.json").read_text()), name: value}))
    capsys.readouterr()
    code, error = main(["compare", "a.json", "b.json"]), capsys.readouterr().err
    assert code in (2, 4, 5) and "b.json: " in error and error.count("\n") == 1 and "Fix: " in error, error
    (place / "b.json").write_text("[" * 100_000)
    assert main(["compare", "a.json", "b.json"]) == 5
    assert "b.json: the card is not complete JSON" in capsys.readouterr().err
