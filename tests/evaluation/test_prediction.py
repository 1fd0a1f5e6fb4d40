"""Metrics of predicted numbers, labels and likelihoods, and `jointembed evaluate` for models that predict."""

import json

import lightning
import numpy as np
import pytest

from jointembed import MLP, Category, EmbeddingBag, JointEmbedding, Match, Numbers, Quantiles, Regression, TableData
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.evaluation import prediction

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


def test_regression_metrics_equal_their_formulas():
    rng = np.random.default_rng(0)
    true = rng.normal(10, 3, 200)
    predicted = true + rng.normal(0, 1, 200)
    metrics = prediction.regression(true, predicted, 9.0)
    squares = np.square(true - predicted)
    assert metrics["rmse"]["value"] == pytest.approx(np.sqrt(squares.mean()))
    assert metrics["mae"]["value"] == pytest.approx(np.abs(true - predicted).mean())
    assert metrics["r2"]["value"] == pytest.approx(1 - squares.sum() / np.square(true - true.mean()).sum())
    assert metrics["rmse"]["chance"] == pytest.approx(np.sqrt(np.mean((true - 9.0) ** 2)))
    assert metrics["rmse"]["low"] < metrics["rmse"]["value"] < metrics["rmse"]["high"]
    with pytest.raises(UsageError, match="equal"):
        prediction.regression(np.ones(4), np.ones(4), 1.0)


def test_regression_interval_over_groups_ignores_copies():
    rng = np.random.default_rng(0)
    true, error = rng.normal(10, 3, 10), rng.normal(0, 1, 10)
    once = prediction.regression(true, true + error, 9.0)["rmse"]
    copies, errors = np.repeat(true, 20), np.repeat(error, 20)
    copied = prediction.regression(copies, copies + errors, 9.0, np.repeat(np.arange(10), 20).tolist())["rmse"]
    assert copied["high"] - copied["low"] == pytest.approx(once["high"] - once["low"], rel=0.05)


def test_balanced_accuracy_weighs_every_label_alike():
    metrics = prediction.classification(["a"] * 9 + ["b"], ["a"] * 10, "a", None, np.full(10, 0.9), 0.5)
    assert metrics["accuracy"]["value"] == 0.9 and metrics["balanced"]["value"] == 0.5
    assert metrics["accuracy"]["chance"] == 0.9 and metrics["balanced"]["chance"] == 0.5
    assert metrics["ece"]["value"] == pytest.approx(0) and metrics["ece"]["chance"] == pytest.approx(0.4)


def test_calibration_error_is_the_gap_between_probability_and_accuracy():
    confidences, correct = np.array([0.95] * 10 + [0.55] * 10), np.array([1] * 9 + [0] + [1] * 3 + [0] * 7)
    expected = (abs(0.95 - 0.9) + abs(0.55 - 0.3)) / 2
    assert prediction.expected_calibration_error(confidences, correct) == pytest.approx(expected)
    first = np.array([1] * 10 + [0] * 10)
    assert prediction.expected_calibration_error(confidences, correct, first) == pytest.approx(0.05)


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_the_temperature_of_scaled_logits_is_found(is_exclusive):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    if is_exclusive:
        truth = np.eye(3, dtype=bool)[(logits + rng.gumbel(size=logits.shape)).argmax(1)]
    else:
        truth = logits + rng.logistic(size=logits.shape) > 0
    assert prediction.fit_temperature(logits * 5, truth, is_exclusive) == pytest.approx(5, rel=0.05)


def test_likelihood_interval_draws_whole_rows():
    rng = np.random.default_rng(0)
    rows = [np.full(40, level) + rng.normal(0, 0.1, 40) for level in rng.normal(5, 1, 20)]
    rows[0] = rows[0][:3]
    metrics = prediction.likelihood(rows, [row + 2 for row in rows])
    assert metrics["nats"]["value"] == pytest.approx(np.concatenate(rows).mean())
    assert metrics["nats_after_first"]["value"] == pytest.approx(np.concatenate([row[1:] for row in rows]).mean())
    assert metrics["nats"]["chance"] == pytest.approx(metrics["nats"]["value"] + 2)
    # The 763 pieces are not independent: the twenty rows differ by about 1 from each other.
    assert 0.4 < metrics["nats"]["high"] - metrics["nats"]["low"] < 1.5
    assert set(prediction.likelihood([np.ones(1)], [np.ones(1)])) == {"nats"}


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


def test_evaluate_reports_the_predictions_of_a_network(tmp_path, capsys):
    lightning.seed_everything(0)
    space = JointEmbedding(
        8,
        {"rooms": MLP(Numbers(), 8), "year": EmbeddingBag(Quantiles(bins=8))},
        [Regression("home", "price", head=[16]), Match("home", "kind", "all", head=[16])],
        fusions={"home": ["rooms", "year"]},
        lr=0.02,
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
    report = json.loads(capsys.readouterr().out)
    assert report["queries"] == 30 and report["metrics"]["r2"]["value"] > 0.9
    test = [row for row in rows if row["split"] == "test"]
    predicted = space.predict("home", test, "price")
    assert report["metrics"]["mae"]["value"] == pytest.approx(
        np.abs(predicted - [row["price"] for row in test]).mean(), rel=1e-3
    )
    assert main([*words, "--target", "kind"]) == 0
    assert "balanced" in capsys.readouterr().out
    assert main([*words, "--target", "prise"]) == 2
    assert "no such column" in capsys.readouterr().err
    with pytest.raises(UsageError, match="kind"):
        space.predict("home", test, "kinds")


def test_plain_column_predicts_too():
    space = JointEmbedding(4, {"word": EmbeddingBag(Category())}, [Match("word", "kind", "all", head=[8])])
    for reader, columns in space.readers():
        reader.fit({"word": ["x", "y"], "kind": ["p", "q"]}[columns[0]])
    space.configure_model()
    assert set(space.predict("word", ["x", "y"], "kind")) <= {"p", "q"}
