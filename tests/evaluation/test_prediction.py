"""What a model answers, and figures over what a row has not seen and over those that rows belong to."""

import json

import lightning
import numpy as np
import pytest

from jointembed import MLP, Category, EmbeddingBag, JointEmbedding, Match, Numbers, Quantiles, Regression, TableData
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.evaluation import prediction
from jointembed.evaluation.retrieval import figures
from jointembed.evaluation.retrieval_task import task, units

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


def test_numbers_against_plain_formulas_and_whole_units():
    rng = np.random.default_rng(0)
    right = rng.normal(10, 3, 200)
    given = right + rng.normal(0, 1, 200)
    found = prediction.numbers(right, given, 9.0)
    assert found["rmse"]["value"] == pytest.approx(np.sqrt(np.mean((right - given) ** 2)))
    assert found["mae"]["value"] == pytest.approx(np.abs(right - given).mean())
    assert found["r2"]["value"] == pytest.approx(1 - ((right - given) ** 2).sum() / ((right - right.mean()) ** 2).sum())
    assert found["rmse"]["chance"] == pytest.approx(np.sqrt(np.mean((right - 9.0) ** 2)))
    assert found["rmse"]["low"] < found["rmse"]["value"] < found["rmse"]["high"]
    # Twenty copies of ten listings are ten listings: the interval must not shrink.
    few, many = right[:10], np.repeat(right[:10], 20)
    error = np.repeat(rng.normal(0, 1, 10), 20)
    one = prediction.numbers(few, few + error[::20], 9.0)["rmse"]
    copied = prediction.numbers(many, many + error, 9.0, np.repeat(np.arange(10), 20).tolist())["rmse"]
    assert copied["high"] - copied["low"] == pytest.approx(one["high"] - one["low"], rel=0.05)
    with pytest.raises(UsageError, match="equal"):
        prediction.numbers(np.ones(4), np.ones(4), 1.0)


def test_labels_count_rare_ones_as_much_where_balanced():
    found = prediction.labels(["a"] * 9 + ["b"], ["a"] * 10, "a")
    assert found["accuracy"]["value"] == 0.9 and found["balanced"]["value"] == 0.5
    assert found["accuracy"]["chance"] == 0.9 and found["balanced"]["chance"] == 0.5


ROWS = [{"split": "test", "user": "u", "history": ["a", "b"], "next": "c"},
        {"split": "test", "user": "u", "history": ["b"], "next": "a"},
        {"split": "films", "next": "a"}, {"split": "films", "next": "b"}, {"split": "films", "next": "c"}]  # fmt: skip


def test_what_a_row_has_seen_is_no_candidate():
    asked = task(ROWS, "history", "next", None, "test", "films", "history", {"history"})
    assert asked.queries == [["a", "b"], ["b"]] and asked.candidates == ["a", "b", "c"]
    assert [one.tolist() for one in asked.hidden] == [[0, 1], [1]]
    # Both queries lie on b, which they have seen: a is next for the second one, and c all that is left for the first.
    vectors = np.eye(3)[[1, 1]], np.array([[0.5, 0.5, 0], [0, 1, 0], [0, 0.1, 1]])
    found = figures(asked, *vectors, "cosine", (1,), bootstrap=5)
    assert found["recall@1"]["value"] == 1.0
    assert found["recall@1"]["chance"] == pytest.approx((1 / 1 + 1 / 2) / 2)
    plain = task(ROWS, "history", "next", None, "test", "films", None, {"history"})
    assert figures(plain, *vectors, "cosine", (1,), bootstrap=5)["recall@1"]["value"] == 0.0


def test_intervals_over_units_are_wider_than_over_their_rows():
    rng = np.random.default_rng(0)
    rows = [{"split": "test", "song": f"s{n}", "words": f"w{n}", "artist": n // 20} for n in range(200)]
    asked = task(rows, "words", "song")
    right = np.repeat(rng.random(10) < 0.5, 20)  # an artist is known, or it is not
    songs = np.eye(200)
    queries = np.where(right[:, None], songs, np.roll(songs, 1, 0))
    plain, artists = (
        figures(asked, queries, songs, "cosine", (1,), units=units(rows, asked, column))["recall@1"]
        for column in (None, "artist")
    )
    assert plain["value"] == artists["value"]
    assert artists["high"] - artists["low"] > 2 * (plain["high"] - plain["low"])
    with pytest.raises(UsageError, match="no such column"):
        units(rows, asked, "band")


def homes(count=120):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        rooms, year = int(rng.integers(1, 6)), int(rng.integers(1900, 2000))
        price = 50.0 * rooms + (80.0 if year < 1930 else 0.0)
        split = "test" if number % 4 == 0 else "train"
        kind = "old" if year < 1930 else "new"
        rows.append({"id": str(number), "split": split, "rooms": rooms, "year": year, "price": price, "kind": kind})
    return rows


def test_evaluate_reports_what_a_network_answers(tmp_path, capsys):
    lightning.seed_everything(0)
    space = JointEmbedding(
        8,
        {"rooms": MLP(Numbers(), 8), "year": EmbeddingBag(Quantiles(bins=8))},
        [Regression("home", "price", hidden=[16]), Match("home", "kind", "all", hidden=[16])],
        fused={"home": ["rooms", "year"]},
        lr=0.02,
        bf16=False,
    )
    rows = homes()
    trainer = lightning.Trainer(max_epochs=40, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(space, TableData(rows, batch_size=30))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    space.save(tmp_path / "homes.ckpt")
    words = ["evaluate", str(tmp_path / "homes.ckpt"), str(tmp_path / "rows.jsonl"), "--query", "home"]
    capsys.readouterr()
    assert main([*words, "--target", "price", "--group", "year", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["queries"] == 30 and found["figures"]["r2"]["value"] > 0.9
    test = [row for row in rows if row["split"] == "test"]
    given = space.answer("home", test, "price")
    assert found["figures"]["mae"]["value"] == pytest.approx(
        np.abs(given - [row["price"] for row in test]).mean(), rel=1e-3
    )
    assert main([*words, "--target", "kind"]) == 0
    assert "balanced" in capsys.readouterr().out
    assert main([*words, "--target", "prise"]) == 2
    assert "no such column" in capsys.readouterr().err
    with pytest.raises(UsageError, match="kind"):
        space.answer("home", test, "kinds")


def test_the_query_of_a_plain_column_is_answered_too():
    space = JointEmbedding(
        4, {"word": EmbeddingBag(Category())}, [Match("word", "kind", "all", hidden=[8])], bf16=False
    )
    for reader, columns in space.readers().values():
        reader.fit({"word": ["x", "y"], "kind": ["p", "q"]}[columns[0]])
    space.configure_model()
    assert set(space.answer("word", ["x", "y"], "kind")) <= {"p", "q"}
