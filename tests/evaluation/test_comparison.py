"""Paired tests and intervals of models, cards and what they refuse."""

import json

import numpy as np
import pytest
from scipy import stats

from jointembed.errors import DamagedError, MismatchError, UsageError
from jointembed.evaluation import prediction
from jointembed.evaluation.card import Card, hash_answers, hash_cells, hash_rows
from jointembed.evaluation.comparison import Model, compare, fewest_units, holm, sign_flip_test
from jointembed.evaluation.retrieval import score_queries, summarize
from jointembed.evaluation.retrieval_task import build_task
from jointembed.evaluation.scores import Scores

QUESTION = {"query": "words", "target": "song", "relevant": None, "split": "test", "candidates_split": None,
            "exclude": None, "group": "artist", "k": [1]}  # fmt: skip


def card(scores, units=None, question=QUESTION, data=None):
    units = list(map(str, range(len(scores.values)))) if units is None else units
    metrics = {name: {"value": value, "low": None, "high": None, "chance": 0.1}
               for name, value in zip(scores.names, scores.means().tolist(), strict=True)}  # fmt: skip
    facts = {"question": question, "data": data or {"table": "t", "split": "s", "cells": "c", "answers": "a"},
             "model": {}, "seeds": {}, "versions": {}, "machine": {}, "queries": len(units), "pool": 9,
             "metrics": metrics, "unit": question["group"] or "query"}  # fmt: skip
    return Card(facts, units, scores)


def hits(values):
    return Scores(["hit@1"], np.asarray(values, np.float64)[:, None])


def two(first, second, **options):
    return compare([Model("a", [card(hits(first), **options)]), Model("b", [card(hits(second), **options)])])


def test_sign_flips_equal_scipys_exact_permutation_test():
    rng = np.random.default_rng(0)
    for count in (2, 5, 9, 12):
        differences = np.round(rng.normal(0.4, 1, count), 1)  # with ties
        expected = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        )
        assert sign_flip_test(differences) == pytest.approx(expected.pvalue)


def test_drawn_sign_flips_are_near_the_exact_p_value(monkeypatch):
    differences = np.random.default_rng(1).normal(0.4, 1, 14)
    exact = sign_flip_test(differences)
    monkeypatch.setattr("jointembed.evaluation.comparison.MAX_EXACT_UNITS", 3)
    assert sign_flip_test(differences) == pytest.approx(exact, abs=0.002) and 0.005 < exact < 0.5
    assert sign_flip_test(np.ones(40)) == 1 / 20_001
    assert sign_flip_test(np.zeros(40)) == 1


def test_holm_gives_the_values_of_rs_p_adjust():
    assert holm(np.array([0.01, 0.02, 0.03, 0.04, 0.05])) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm(np.array([0.5, 0.001, 0.9])) == pytest.approx([1.0, 0.003, 1.0])


@pytest.mark.parametrize("grouped", [False, True])
def test_false_alarms_of_equal_models_stay_below_five_percent(grouped):
    rng, alarms = np.random.default_rng(2), 0
    for _ in range(300):
        ease = np.repeat(rng.random(12), 5 if grouped else 1)
        lucky = np.repeat(rng.random((2, 12)), 5 if grouped else 1, axis=1)  # of all queries of a unit alike
        differences = (lucky < ease)[0].astype(float) - (lucky < ease)[1]
        if grouped:
            differences = np.bincount(np.repeat(np.arange(12), 5), differences)
        alarms += sign_flip_test(differences) < 0.05
    assert alarms <= 15 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_many_queries_of_few_units_are_no_evidence():
    units = [f"u{n // 50}" for n in range(200)]
    better = np.repeat([1.0, 0.0, 1.0, 1.0], 50)
    worse = np.zeros(200)
    alone = two(worse, better, question={**QUESTION, "group": None})["metrics"]["hit@1"]["differences"][0]
    grouped = two(worse, better, units=units)["metrics"]["hit@1"]["differences"][0]
    assert alone["p"] < 0.001 and alone["better"] == "b"
    assert grouped["p"] == pytest.approx(0.25) and grouped["better"] is None
    assert grouped["high"] - grouped["low"] > 3 * (alone["high"] - alone["low"])
    assert fewest_units() == 6


def test_pairs_make_a_small_gain_certain_that_two_intervals_would_hide():
    rng = np.random.default_rng(3)
    first = rng.random(200)
    report = two(first, first + rng.normal(0.02, 0.02, 200), question={**QUESTION, "group": None})
    models = report["metrics"]["hit@1"]["models"]
    difference = report["metrics"]["hit@1"]["differences"][0]
    assert models["b"]["low"] < models["a"]["high"], "the intervals overlap"
    assert 0 < difference["low"] < 0.02 < difference["high"] and difference["better"] == "b"


def test_the_better_model_of_an_error_is_the_lower_one():
    rng = np.random.default_rng(4)
    true = rng.normal(0, 1, 60)
    parts = [prediction.regression_scores(true, true + rng.normal(0, noise, 60)) for noise in (1.0, 0.2)]
    report = compare([Model(name, [card(part)]) for name, part in zip("ab", parts, strict=True)], ["rmse", "mae"])
    assert [metric["differences"][0]["better"] for metric in report["metrics"].values()] == ["b", "b"]
    assert report["tests"] == 2


def test_seeds_are_averaged_query_by_query():
    seeds = [np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 1, 0])]
    models = [Model("a", [card(hits(np.zeros(4)))]), Model("b", [card(hits(seed)) for seed in seeds])]
    report = compare(models)["metrics"]["hit@1"]
    assert report["models"]["b"]["value"] == pytest.approx(0.625)
    assert report["models"]["b"]["seeds"] == pytest.approx([0.5, 0.75])
    squares = Scores(["rmse"], np.array([[3.0], [4.0]]), exponents=np.array([2.0]))
    averaged = Model("c", [card(squares), card(Scores(["rmse"], squares.values[::-1], exponents=squares.exponents))])
    assert averaged.scores(["rmse"]).means() == pytest.approx(np.sqrt(12.5))


def test_all_pairs_are_compared_on_demand():
    models = [Model(name, [card(hits(np.full(8, at)))]) for at, name in enumerate("abc")]
    pairs = [
        [
            (pair["second"], pair["first"])
            for pair in compare(models, all_pairs=every)["metrics"]["hit@1"]["differences"]
        ]
        for every in (False, True)
    ]
    assert pairs == [[("b", "a"), ("c", "a")], [("b", "a"), ("c", "a"), ("c", "b")]]


def test_means_of_scores_are_the_metrics():
    rng = np.random.default_rng(5)
    true, predicted = rng.normal(10, 3, 50), rng.normal(10, 3, 50)
    metrics = prediction.regression(true, predicted, 9.0)
    scores = prediction.regression_scores(true, predicted)
    assert scores.means() == pytest.approx([metrics[name]["value"] for name in scores.names])
    labels = rng.choice(["p", "q", "r"], (2, 60), p=[0.7, 0.2, 0.1])
    metrics = prediction.classification(*labels, "p")
    scores = prediction.classification_scores(*labels)
    assert scores.means() == pytest.approx([metrics[name]["value"] for name in scores.names])
    rows = [rng.random(length) for length in (1, 4, 9, 1)]
    metrics = prediction.likelihood(rows, rows)
    scores = prediction.likelihood_scores(rows)
    assert scores.means() == pytest.approx([metrics[name]["value"] for name in scores.names])
    assert len(prediction.likelihood_scores([np.ones(1)]).names) == 1
    task = build_task([{"a": n, "b": n % 3} for n in range(9)], "a", "b", split="all")
    scores = score_queries(task, rng.normal(size=(9, 4)), rng.normal(size=(3, 4)), "cosine", (1, 2))
    metrics = summarize(task, scores, (1, 2))
    assert scores.means() == pytest.approx([metric["value"] for metric in metrics.values()])


def test_intervals_of_a_model_are_those_of_its_card():
    rng = np.random.default_rng(6)
    rows = [{"a": n, "b": n % 4, "artist": n // 5} for n in range(40)]
    task = build_task(rows, "a", "b", split="all")
    scores = score_queries(task, rng.normal(size=(40, 4)), rng.normal(size=(4, 4)), "cosine", (1,))
    units = [str(row["artist"]) for row in rows]
    metrics = summarize(task, scores, (1,), groups=units)
    models = [Model(name, [card(scores, units)]) for name in "ab"]
    compared = compare(models, ["map"])["metrics"]["map"]["models"]["a"]
    for end in ("value", "low", "high"):
        assert compared[end] == pytest.approx(metrics["map"][end])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": {**QUESTION, "target": "genre"}}, "--target is genre, and song in"),
        ({"question": {**QUESTION, "group": None}}, "--group is None, and artist in"),
        ({"data": {"split": "z", "cells": "c", "answers": "a"}}, "other rows are evaluated"),
        ({"data": {"split": "s", "cells": "z", "answers": "a"}}, "cells of the evaluated rows differ"),
        ({"data": {"split": "s", "cells": "c", "answers": "z"}}, "other candidates are relevant"),
        ({"units": ["x", "y"]}, "queries are not those of"),
    ],
)
def test_cards_of_different_tasks_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        compare([Model("a", [card(hits([0, 1]))]), Model("b", [card(hits([0, 1]), **change)])])


def test_other_values_of_k_and_other_training_rows_are_not():
    changed = card(hits([0, 1]), question={**QUESTION, "k": [1, 5]},
                   data={"table": "z", "split": "s", "cells": "c", "answers": "a"})  # fmt: skip
    assert compare([Model("a", [card(hits([0, 1]))]), Model("b", [changed])])["tests"] == 1


def test_a_metric_without_scores_of_each_query_is_refused():
    parts = [card(hits([0, 1])) for _ in range(2)]
    parts[1].facts["metrics"]["r2"] = parts[1].facts["metrics"]["hit@1"]
    models = [Model(name, [part]) for name, part in zip("ab", parts, strict=True)]
    with pytest.raises(UsageError, match="no hits@1 of each query. Fix: did you mean hit@1"):
        compare(models, ["hits@1"])
    with pytest.raises(UsageError, match="at least two models"):
        compare(models[:1])


def test_cards_survive_their_file(tmp_path):
    weights, exponents = np.array([[1.0], [0.5]]), np.array([2.0])
    written = card(Scores(["rmse"], np.array([[1 / 3], [0.1]]), weights, exponents))
    written.facts["metrics"]["rmse"]["low"] = float("nan")
    written.write(tmp_path / "c.json")
    read = Card.read(tmp_path / "c.json")
    for name in ("values", "weights", "exponents"):
        assert np.array_equal(getattr(read.scores, name), getattr(written.scores, name))
    assert read.units == written.units and read.facts["metrics"]["rmse"]["low"] is None
    assert read.facts["question"] == written.facts["question"]
    content = json.loads((tmp_path / "c.json").read_text())
    for error, change in [
        (MismatchError, {"version": 99}),
        (UsageError, {"format": "something"}),
        (DamagedError, {"units": ["x"]}),
        (DamagedError, {"metrics": {}}),
        (DamagedError, {"scores": {"values": {"rmse": ["x", 1]}, "exponents": None}}),
    ]:
        (tmp_path / "d.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(error):
            Card.read(tmp_path / "d.json")


def test_hashes_follow_content_and_not_paths(tmp_path):
    for folder, text in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(text)
    first, copy, changed = (
        hash_cells([("file", [str(tmp_path / name / "a.txt"), [str(tmp_path / name / "a.txt")]])], {"file"})
        for name in ("one", "two", "three")
    )
    assert first == copy != changed
    fused = [
        hash_cells([("item", [{"file": str(tmp_path / name / "a.txt"), "n": 3}])], {"file"}) for name in ("one", "two")
    ]
    assert fused[0] == fused[1]
    assert hash_cells([("a", ["x"])], ()) != hash_cells([("b", ["x"])], ())
    rows = [{"id": n, "split": "test" if n % 2 else "train"} for n in range(6)]
    assert hash_rows(rows, ["test"]) == hash_rows([*rows, {"id": 9, "split": "train"}], ["test"])
    assert hash_rows(rows, ["test"]) != hash_rows(rows[:-1], ["test"])
    tasks = [build_task([{"a": 1, "b": 2}, {"a": cell, "b": 3}], "a", "b", split="all") for cell in (1, 2)]
    assert hash_answers(tasks[0]) != hash_answers(tasks[1])
