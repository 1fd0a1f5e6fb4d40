"""Figures of seeds and folds: their means, intervals and agreement, and the file of a card."""

import json

import numpy as np
import pytest

from jointembed.errors import DamagedError, MismatchError, UsageError
from jointembed.evaluation.intervals import Bootstrap
from jointembed.evaluation.reproduction import (
    FORMAT,
    VERSION,
    agrees,
    bounds,
    differing_data,
    join_folds,
    read_reproduction,
    spread,
    write_reproduction,
)


def test_the_interval_of_folds_is_about_that_of_a_bootstrap_within_each():
    """It only needs the ends of each fold's interval, where the bootstrap needs its rows."""
    rng = np.random.default_rng(0)
    folds = [rng.random(size) < share for size, share in ((130, 0.5), (120, 0.75), (140, 0.6), (125, 0.9))]
    metrics, resampled = [], []
    for number, rows in enumerate(folds):
        bootstrap = Bootstrap(len(rows), None, 2000, seed=number)
        means = np.array([[weights @ rows / len(rows)] for weights in bootstrap.weights()])
        (low,), (high,) = bootstrap.interval(means)
        metrics.append({"value": rows.mean(), "low": low, "high": high})
        resampled.append(means[:, 0])
    joined = join_folds(metrics)
    low, high = np.percentile(np.mean(resampled, 0), (2.5, 97.5))
    assert joined["value"] == pytest.approx(np.mean([rows.mean() for rows in folds]))
    assert joined["low"] == pytest.approx(low, abs=0.005) and joined["high"] == pytest.approx(high, abs=0.005)


def test_folds_without_intervals_or_values():
    whole = {"value": 0.5, "low": 0.4, "high": 0.6}
    assert join_folds([whole]) == pytest.approx(whole)
    joined = join_folds([whole, {"value": 0.7, "low": None, "high": None}])
    assert joined["value"] == pytest.approx(0.6) and joined["low"] is joined["high"] is None
    with pytest.raises(UsageError, match="no value in a fold"):
        join_folds([whole, {"value": None, "low": None, "high": None}])


def figure(*values, width=0.01, **data):
    seeds = {str(seed): {"value": v, "low": v - width, "high": v + width} for seed, v in enumerate(values)}
    return {"seeds": seeds, "data": [{"split": "a", "cells": "b", "answers": "c", "table": "d", **data}]}


def test_seeds_are_summed_up_by_their_median():
    seeds = spread(figure(0.3, 0.1, 0.2))
    assert seeds.pop("values") == [0.1, 0.2, 0.3]
    assert seeds == pytest.approx({"least": 0.1, "median": 0.2, "greatest": 0.3, "low": 0.19, "high": 0.21})
    assert spread(figure(0.4, 0.1, 0.2, 0.3))["median"] == pytest.approx(0.25)
    assert spread(figure(0.5))["least"] == spread(figure(0.5))["greatest"] == 0.5


def test_a_figure_agrees_within_the_intervals_of_all_seeds():
    reference = figure(0.50, 0.52)
    assert bounds(reference) == pytest.approx((0.49, 0.53))
    assert agrees(figure(0.495), reference) and agrees(figure(0.2, 0.529, 0.9), reference)
    assert not agrees(figure(0.48), reference) and not agrees(figure(0.54, 0.54, 0.5), reference)


def test_other_rows_are_noticed_but_not_another_table_of_the_same_rows():
    assert differing_data(figure(0.5, table="e"), figure(0.5)) == []
    assert differing_data(figure(0.5, cells="e", answers="f"), figure(0.5)) == ["cells", "answers"]


def test_a_card_is_written_and_read(tmp_path):
    path = tmp_path / "card.json"
    card = {"protocol": "näme", "figures": {"x": figure(0.123456789, 0.5)}, "folds": []}
    write_reproduction(path, card)
    assert read_reproduction(path) == {"format": FORMAT, "version": VERSION, **card}
    assert max(map(len, path.read_text("utf-8").splitlines())) <= 122
    for content, error, message in (
        (path.read_bytes()[:-20], DamagedError, "not complete JSON"),
        (b"[]", DamagedError, "not the card of a reproduction"),
        (json.dumps({"format": "jointembed card"}).encode(), DamagedError, "not the card of a reproduction"),
        (path.read_bytes().replace(b'"version": 1', b'"version": 9'), MismatchError, "newer version"),
    ):
        path.write_bytes(content)
        with pytest.raises(error, match=message):
            read_reproduction(path)
