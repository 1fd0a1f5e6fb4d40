"""Numbers that are not usable are counted by column, and neither train nor flatten anything."""

import json

import numpy as np
import pytest
import yaml

from jointembed import HashedCross, LogMel, Numbers, PiecewiseLinear, Quantiles
from jointembed.__main__ import main
from jointembed.data.number_report import describe_outlier
from jointembed.errors import UsageError

UNUSABLE = [float("nan"), float("inf"), -float("inf"), 1e30, -3e38]


def make_recipe():
    reader = {"class_path": "Numbers", "init_args": {"columns": ["age", "price", "area"]}}
    bins = {"class_path": "Quantiles", "init_args": {"columns": ["year"]}}
    model = {
        "dim": 4,
        "encoders": {
            "facts": {"class_path": "MLP", "init_args": {"reader": reader}},
            "when": {"class_path": "EmbeddingBag", "init_args": {"reader": bins}},
        },
        "fusions": {"home": ["facts", "when"]},
        "objectives": [{"class_path": "Regression", "init_args": {"query": "home", "target": "cost"}}],
    }
    return {"model": model, "trainer": {"enable_model_summary": False}}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_unusable_cells_are_counted_by_column_and_training_stays_finite(suffix, tmp_path, capsys):
    rows = [{"age": n % 50, "price": 9.5, "area": n % 7, "year": 1990 + n, "cost": n % 9} for n in range(200)]
    for row, price, area in zip(rows, UNUSABLE, (1.0, 1e12, None, 3.0, 4.0), strict=False):
        row["price"], row["area"], row["year"] = price, area, price
    rows[9]["cost"], rows[10]["cost"] = 1e38, float("inf")
    table = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        table.write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = [",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows]
        table.write_text("\n".join([",".join(rows[0]), *lines]))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(make_recipe()))
    words = ["fit", "-c", tmp_path / "r.yaml", "-c", "tiny", "--data.table", table]
    assert main([*map(str, words), "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    warnings = capsys.readouterr().err.splitlines()
    counts = "cells that are read as missing: 1 NaN, 2 infinite, 2 1e+30 or more"
    assert warnings[0] == f"warning: {table}: price: {counts}" and warnings[2].endswith(f": year: {counts}")
    assert "area: 1e+12 is so far from the others, about 3 ± 2" in warnings[1] and "PiecewiseLinear" in warnings[1]
    assert warnings[3].endswith(": cost: cells that are read as missing: 1 infinite, 1 1e+30 or more")
    assert len(warnings) == 4
    assert "nan" not in (tmp_path / "run" / "metrics.csv").read_text()


@pytest.mark.parametrize("reader", [Numbers(), PiecewiseLinear(bins=4), Quantiles(bins=4)])
def test_unusable_numbers_do_not_change_what_is_learned(reader):
    usable = [1.0, 2.0, 4.0, 7.0]
    reader.fit(usable)
    expected = reader.state(), reader.encode(usable).values.tolist()
    reader.fit([*usable, *UNUSABLE])
    assert (reader.state(), reader.encode(usable).values.tolist()) == expected
    missing, unusable = reader.preprocess(None), [reader.preprocess(number) for number in UNUSABLE]
    assert all(np.array_equal(array, missing) for array in unusable)


def test_number_far_outside_the_training_rows_is_missing():
    reader = Numbers()
    reader.fit([1.0, 2.0, 3.0])
    assert reader.preprocess(1e9).tolist() == [0] and reader.preprocess(1e4)[0] > 1e4


def test_unusable_target_is_no_target():
    assert Numbers().encode([1.0, float("inf"), 1e31, None]).rows.tolist() == [0]


def test_hashed_cross_of_an_unusable_number_is_unknown():
    reader = HashedCross(["street", "size"], bins=2, buckets=100)
    reader.fit([{"street": "a", "size": size} for size in (1, 3, float("inf"), 1e30)])
    assert reader.edges == [None, [2.0]]
    assert [reader.token_ids({"street": "a", "size": size}) for size in UNUSABLE[1:]] == [[100]] * 4


@pytest.mark.parametrize(
    ("numbers", "is_reported"),
    [
        (np.random.default_rng(0).normal(size=500), False),
        (np.random.default_rng(0).lognormal(sigma=2, size=5000), False),
        (np.r_[np.zeros(990), np.arange(10)], False),
        (np.r_[np.arange(100), 999_999.0], True),
        (np.r_[np.zeros(500), np.arange(400), 1e20, np.nan], True),
        (np.full(9, 3.0), False),
        (np.full(9, np.nan), False),
    ],
)
def test_outlier_that_flattens_its_column_is_reported(numbers, is_reported):
    assert (describe_outlier(numbers) is not None) == is_reported


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(number):
    samples = np.zeros(8000, np.float32)
    samples[5] = number
    with pytest.raises(UsageError, match="some of its samples are not finite"):
        LogMel(8000, 0.5).preprocess(samples)
