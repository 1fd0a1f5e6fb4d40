"""Homes: three public tables of what they cost, and gradient boosting on them."""

import csv
import math
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "homes" / "prepare.py"


@pytest.fixture
def prepare(prepared):
    return lambda source, out, *options: prepared("homes", out, source, out, *options)


def write(path, rows):
    path.parent.mkdir()
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def listings(count=60):
    return [
        {"id": n, "name": f"Room {n}", "description": f"Words {n // 2}", "host_id": n // 6, "latitude": 42 + n / 100,
         "longitude": -71, "room_type": "Private room", "bedrooms": "" if n % 5 == 0 else 1 + n % 3,
         "amenities": '["Wifi", "Oven"]', "price": "" if n == 7 else f"${1000 + n:,}.00"}
        for n in range(count)
    ]  # fmt: skip


def test_listings_of_one_host_or_description_are_in_one_split(prepare, tmp_path):
    write(tmp_path / "airbnb" / "listings.csv", listings())
    rows = prepare(tmp_path / "airbnb", tmp_path / "out", "--fold", "2")
    assert len(rows) == 59 and "7" not in {row["id"] for row in rows}
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    splits = {}
    for row in rows:
        splits.setdefault(int(row["id"]) // 6, set()).add(row["split"])
    assert all(len(splits_of_group) == 1 for splits_of_group in splits.values())
    first = rows[0]
    assert first["price"] == 1000 and first["log_price"] == pytest.approx(math.log(1000))
    assert first["kinds"] == ["room_type=Private room"] and first["amenities"] == ["Wifi", "Oven"]
    assert "bedrooms" not in first and rows[1]["bedrooms"] == 2


def test_homes_are_tested_once_or_always_dev(prepare, tmp_path):
    write(tmp_path / "airbnb" / "listings.csv", listings())
    tested, dev_rows = [], []
    for fold in range(1, 6):
        rows = prepare(tmp_path / "airbnb", tmp_path / "out", "--fold", str(fold))
        tested += [row["id"] for row in rows if row["split"] == "test"]
        dev_rows.append({row["id"] for row in rows if row["split"] == "dev"})
    assert all(splits_of_group == dev_rows[0] for splits_of_group in dev_rows) and dev_rows[0], (
        "dev rows are reported on in no fold"
    )
    assert len(tested) == len(set(tested)) == 59 - len(dev_rows[0]) and not dev_rows[0] & set(tested)
    with pytest.raises(SystemExit):
        prepare(tmp_path / "airbnb", tmp_path / "out", "--fold", "6")


def test_only_selects_a_table(prepare, tmp_path, capsys):
    write(tmp_path / "all" / "listings.csv", listings())
    with open(tmp_path / "all" / "ames.csv", "w") as file:
        file.write("Order,PID,MS SubClass,Neighborhood,SalePrice\n" + "".join(f"{n},{n},20,A,9\n" for n in range(10)))
    assert len(prepare(tmp_path / "all", tmp_path / "out")) == 59
    assert len(prepare(tmp_path / "all", tmp_path / "out", "--only", "ames")) == 10
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "all", tmp_path / "out", "--only", "aims")
    assert stop.value.code == 2 and "did you mean ames" in capsys.readouterr().err


def test_baselines_print_the_mean_of_folds(prepare, tmp_path, monkeypatch, capsys):
    homes = listings(300)
    for home in homes:
        home["price"] = 100 * (1 + home["id"] % 3) + (50 if "sea" in home["description"] else 0)
        home["description"] += " by the sea" if home["id"] % 4 == 0 else " in town"
        home["bedrooms"] = 1 + home["id"] % 3
    write(tmp_path / "airbnb" / "listings.csv", homes)
    folds = [tmp_path / f"fold{fold}" for fold in (1, 2)]
    for fold, out in enumerate(folds, 1):
        prepare(tmp_path / "airbnb", out, "--fold", str(fold))
    script = SCRIPT.parent / "experiments" / "baselines.py"

    def run(*words):
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    capsys.readouterr()
    lines = run(*folds)
    assert len(lines) == 4 and lines[0].startswith(f"{folds[0]}: r2 ") and lines[2].startswith("mean r2: ")
    assert float(lines[2].split()[-1]) > 0.9
    assert len(run("--without-words", "--target", "price", folds[0])) == 3
    prepare(tmp_path / "airbnb", tmp_path / "none")
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(SystemExit) as stop:
            run(wrong)
        assert stop.value.code == 2 and "prepare" in capsys.readouterr().err


def test_districts_and_houses(prepare, tmp_path):
    districts = [
        {"longitude": -122, "latitude": 37, "housing_median_age": 41, "total_rooms": 880, "total_bedrooms": "",
         "population": 322, "households": 126, "median_income": 8.3, "median_house_value": 452600,
         "ocean_proximity": "NEAR BAY"}
        for _ in range(10)
    ]  # fmt: skip
    write(tmp_path / "california" / "housing.csv", districts)
    first = prepare(tmp_path / "california", tmp_path / "out")[0]
    assert first["rooms_each"] == pytest.approx(880 / 126) and "bedrooms_each" not in first
    houses = [
        {"Order": n, "PID": f"0{n}", "MS SubClass": "020", "Lot Frontage": "NA" if n else 141, "Street": "Pave",
         "Neighborhood": "NAmes", "SalePrice": 215000}
        for n in range(10)
    ]  # fmt: skip
    write(tmp_path / "ames" / "AmesHousing.csv", houses)
    rows = prepare(tmp_path / "ames", tmp_path / "ames-out")
    assert rows[0]["lot_frontage"] == 141 and "lot_frontage" not in rows[1]
    assert rows[0]["kinds"] == ["MS SubClass=020", "Street=Pave", "Neighborhood=NAmes"]


def test_unknown_table_is_refused(prepare, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "none", tmp_path / "out")
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.count("\n") == 1 and "insideairbnb" in message
    write(tmp_path / "other" / "housing.csv", [{"a": 1}])
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "other", tmp_path / "out")
    assert stop.value.code == 5
