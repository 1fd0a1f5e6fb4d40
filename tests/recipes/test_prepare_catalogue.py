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
def made(tmp_path_factory):
    """The three tables of a small catalogue, and the catalogue itself."""
    out = tmp_path_factory.mktemp("catalogue")
    with pytest.MonkeyPatch.context() as patch:
        run(patch, [out], *SIZES)
    tables = (pandas.read_parquet(out / f"{name}.parquet") for name in ("rows", "items", "neighbours"))
    return *tables, runpy.run_path(str(SCRIPT))["Catalogue"](500, 0)


def apart(places, others):
    """How far places lie apart on the torus."""
    gaps = np.abs(places - others)
    return np.sqrt((np.minimum(gaps, 1 - gaps) ** 2).sum(-1))


def test_a_row_is_a_user_with_a_history_and_the_next_id(made):
    rows, items, _, _ = made
    assert len(rows) == 3000 and rows["id"].is_unique and rows["history"].map(len).eq(7).all()
    assert {"train", "dev", "test"} == set(rows["split"]) and rows["split"].eq("train").mean() > 0.95
    assert sorted(items["item"]) == list(range(500)) and items["price"].gt(0).all()
    assert set(rows["item"]) | set(np.concatenate(rows["history"].to_list())) <= set(items["item"])


def test_users_draw_ids_near_each_other_and_popular_ones_more_often():
    known = runpy.run_path(str(SCRIPT))["Catalogue"](20_000, 0)
    first, last = known.histories(20_000, 2).T
    near = apart(known.places[first], known.places[last]).mean()
    assert near < 0.75 * apart(known.places[first], known.places[np.roll(last, 1)]).mean()
    drawn = np.bincount(last, minlength=20_000)[np.argsort(known.popularity)]
    assert drawn[-1000:].sum() > 5 * drawn[:1000].sum()


def test_the_neighbours_are_the_nearest_of_the_pool_and_none_asks_itself(made):
    _, _, neighbours, known = made
    pool = neighbours.loc[neighbours["split"] == "pool", "history"].to_numpy()
    pairs = neighbours[neighbours["split"] != "pool"]
    assert Counter(pairs["split"]) == {"dev": 400, "test": 400}
    assert not set(pairs.loc[pairs["split"] == "dev", "item"]) & set(pairs.loc[pairs["split"] == "test", "item"])
    for item, listed in list(pairs.groupby("item")["history"])[:10]:
        others = pool[pool != item]
        nearest = others[np.argsort(apart(known.places[others], known.places[int(item)]))[:10]]
        assert set(listed) == set(nearest)


def test_the_content_of_an_id_tells_roughly_where_it_lies(made):
    _, items, _, known = made
    same = items.groupby("category")["item"].apply(list)
    spread = [apart(known.places[one[0]], known.places[one[1:]]).mean() for one in same if len(one) > 4]
    assert np.mean(spread) < 0.7 * apart(known.places[:250], known.places[250:]).mean()


def test_the_same_seed_gives_the_same_tables_and_another_one_others(made, tmp_path, monkeypatch):
    run(monkeypatch, [tmp_path / "again"], *SIZES)
    run(monkeypatch, [tmp_path / "other"], *SIZES, "--seed", "1")
    again, other = (pandas.read_parquet(tmp_path / name / "rows.parquet")["item"] for name in ("again", "other"))
    assert again.equals(made[0]["item"]) and not other.equals(again)


@pytest.mark.parametrize(("out", "options", "words"), [
    ([], [], "it writes one folder"),
    (["a", "b"], [], "it writes one folder"),
    (["a"], ["--events", "5"], "make no histories"),
    (["a"], [*SIZES, "--least", "9999"], "too few to ask for 80"),
    (["a"], ["--users", "many"], "invalid int"),
])  # fmt: skip
def test_what_it_cannot_make_is_said_in_one_line(out, options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, out, *options)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and words in said and "Fix: " in said
