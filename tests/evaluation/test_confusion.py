"""The metrics of each label, with their intervals."""

import numpy as np
import pytest

from jointembed.evaluation.confusion import label_metrics


def test_the_interval_of_a_recall_is_that_of_its_rows():
    true = ["jazz"] * 100 + ["rock"] * 400
    predicted = ["jazz"] * 80 + ["rock"] * 420
    rock, jazz = label_metrics(true, predicted)
    assert (rock["label"], jazz["label"]) == ("rock", "jazz")
    low, high = jazz["recall_interval"]
    deviation = np.sqrt(0.8 * 0.2 / 100)
    assert low == pytest.approx(0.8 - 1.96 * deviation, abs=0.02)
    assert high == pytest.approx(0.8 + 1.96 * deviation, abs=0.02)
    assert rock["recall_interval"] == [1, 1] and jazz["precision_interval"] == [1, 1]
    assert rock["precision_interval"][0] < rock["precision"] < rock["precision_interval"][1]


def test_groups_are_resampled_whole():
    true, predicted = ["jazz"] * 200, ["jazz"] * 100 + ["rock"] * 100
    [by_row, _] = label_metrics(true, predicted)
    [by_artist, _] = label_metrics(true, predicted, groups=[number // 50 for number in range(200)])
    width = [np.ptp(metrics["recall_interval"]) for metrics in (by_row, by_artist)]
    assert width[1] > 4 * width[0]
    [alone, _] = label_metrics(true, predicted, groups=["one artist"] * 200)
    assert alone["recall_interval"] is None and alone["recall"] == 0.5


def test_a_label_that_is_never_true_has_no_recall_and_no_interval():
    metrics = {row["label"]: row for row in label_metrics(["jazz"] * 20, ["jazz"] * 10 + ["rock"] * 10)}
    assert metrics["rock"]["recall"] is None and metrics["rock"]["recall_interval"] is None
    assert metrics["rock"]["precision"] == 0 and metrics["rock"]["precision_interval"] == [0, 0]
