"""The planted catalogue: what users draw, what its ids are, and which lie nearest to which."""

import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "catalogue" / "prepare.py"
SIZES = ["--users", "3000", "--items", "500", "--events", "24000", "--held", "40", "--least", "5"]


def run(monkeypatch, out, *options):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, out), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The three tables of a small catalogue, and the catalogue itself."""
    out = tmp_path_factory.mktemp("catalogue")
    with pytest.MonkeyPatch.context() as patch:
        run(patch, [out], *SIZES)
    tables = (pandas.read_parquet(out / f"{name}.parquet") for name in ("rows", "items", "neighbours"))
    return *tables, runpy.run_path(str(SCRIPT))["Catalogue"](500, 0)


def apart(places, centres):
    """How far places lie apart on the torus."""
    gaps = np.abs(places - centres)
    return np.sqrt((np.minimum(gaps, 1 - gaps) ** 2).sum(-1))


def test_rows_are_histories_with_the_next_id(tables):
    rows, items, _, _ = tables
    assert len(rows) == 3000 and rows["id"].is_unique and rows["history"].map(len).eq(7).all()
    assert {"train", "dev", "test"} == set(rows["split"]) and rows["split"].eq("train").mean() > 0.95
    assert sorted(items["item"]) == list(range(500)) and items["price"].gt(0).all()
    assert set(rows["item"]) | set(np.concatenate(rows["history"].to_list())) <= set(items["item"])


def test_histories_are_local_and_favour_popular_ids():
    catalogue = runpy.run_path(str(SCRIPT))["Catalogue"](20_000, 0)
    first, last = catalogue.histories(20_000, 2).T
    near = apart(catalogue.places[first], catalogue.places[last]).mean()
    assert near < 0.75 * apart(catalogue.places[first], catalogue.places[np.roll(last, 1)]).mean()
    counts = np.bincount(last, minlength=20_000)[np.argsort(catalogue.popularity)]
    assert counts[-1000:].sum() > 5 * counts[:1000].sum()


def test_neighbours_are_the_nearest_of_the_pool(tables):
    _, _, neighbours, catalogue = tables
    pool = neighbours.loc[neighbours["split"] == "pool", "history"].to_numpy()
    pairs = neighbours[neighbours["split"] != "pool"]
    assert Counter(pairs["split"]) == {"dev": 400, "test": 400}
    assert not set(pairs.loc[pairs["split"] == "dev", "item"]) & set(pairs.loc[pairs["split"] == "test", "item"])
    for item, listed in list(pairs.groupby("item")["history"])[:10]:
        centres = pool[pool != item]
        nearest = centres[np.argsort(apart(catalogue.places[centres], catalogue.places[int(item)]))[:10]]
        assert set(listed) == set(nearest)


def test_content_hints_at_the_place(tables):
    _, items, _, catalogue = tables
    same = items.groupby("category")["item"].apply(list)
    spread = [apart(catalogue.places[group[0]], catalogue.places[group[1:]]).mean() for group in same if len(group) > 4]
    assert np.mean(spread) < 0.7 * apart(catalogue.places[:250], catalogue.places[250:]).mean()


def test_tables_depend_on_the_seed(tables, tmp_path, monkeypatch):
    run(monkeypatch, [tmp_path / "again"], *SIZES)
    run(monkeypatch, [tmp_path / "other"], *SIZES, "--seed", "1")
    again, different = (pandas.read_parquet(tmp_path / name / "rows.parquet")["item"] for name in ("again", "other"))
    assert again.equals(tables[0]["item"]) and not different.equals(again)


@pytest.mark.parametrize(("out", "options", "words"), [
    ([], [], "it writes one folder"),
    (["a", "b"], [], "it writes one folder"),
    (["a"], ["--events", "5"], "make no histories"),
    (["a"], [*SIZES, "--least", "9999"], "too few to ask for 80"),
    (["a"], ["--users", "many"], "invalid int"),
])  # fmt: skip
def test_impossible_sizes_are_refused(out, options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, out, *options)
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.count("\n") == 1 and words in message and "Fix: " in message
