"""Films: histories and ratings, as MovieLens publishes them."""

import gzip
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "recipes" / "movies" / "prepare.py"


@pytest.fixture
def prepare(monkeypatch):
    def run(source, out):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(source), str(out)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]

    return run


def test_histories_as_published(prepare, tmp_path):
    source = tmp_path / "ml-1m"
    source.mkdir()
    titles = [f"{n}::Été {n} (19{n + 40})::Drama|War" for n in range(1, 9)]
    (source / "movies.dat").write_bytes("\n".join(titles).encode("latin-1"))
    # Films stand in any order in the file; the time says which came first.
    rated = [f"{user}::{film}::4::{1000 - film}" for user in range(1, 6) for film in range(1, 9)]
    (source / "ratings.dat").write_text("\n".join(rated))
    rows = prepare(source, tmp_path / "out")
    assert Counter(row["split"] for row in rows) == {"train": 5, "dev": 1, "val": 5, "films": 8}
    for row in (row for row in rows if row["split"] == "val"):
        assert row["history"] == ["8", "7", "6", "5", "4", "3"] and row["film"] == "2"
    [dev] = [row for row in rows if row["split"] == "dev"]
    assert dev["history"] == ["8", "7", "6", "5", "4"] and dev["film"] == "3"
    for row in (row for row in rows if row["split"] == "train"):
        assert row["history"] == ["8", "7", "6", "5", "4"] + ["3"] * (row["user"] != dev["user"])
    film = next(row for row in rows if row["id"] == "film 3")
    assert (film["title"], film["year"], film["genres"]) == ("Été 3", 1943, ["Drama", "War"])


def test_histories_of_numbers(prepare, tmp_path):
    source = tmp_path / "seq"
    source.mkdir()
    lines = [" ".join(str(film) for film in range(1, 6 + user)) for user in range(1, 11)]
    with gzip.open(source / "train.txt.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    (source / "val_users.txt").write_text("2\n")
    (source / "val_input.txt").write_text("1 2 3 4 5 6 7 16\n")
    (source / "val_output.txt").write_text("17\n")
    (source / "items.csv").write_text('item,movielens_id,title,genres\n1,9,"Toy, The (1995)",Comedy\n2,8,,\n')
    rows = {row["id"]: row for row in prepare(source, tmp_path / "out")}
    assert rows["val 2"]["film"] == "17" and rows["val 2"]["history"][-1] == "16"
    assert "17" not in rows["user 2"]["history"]
    assert rows["film 1"]["title"] == "Toy, The" and rows["film 17"] == {
        "id": "film 17",
        "split": "films",
        "film": "17",
    }
    [dev] = [row for row in rows.values() if row["split"] == "dev"]
    assert rows[f"user {dev['user']}"]["history"] == dev["history"] and dev["film"] not in dev["history"]


@pytest.mark.parametrize("published", [True, False])
def test_ratings(prepare, tmp_path, published):
    source = tmp_path / "ml-100k"
    source.mkdir()
    base = [f"{user}\t{film}\t{1 + film % 5}\t88{user}{film}" for user in range(1, 5) for film in range(1, 6)]
    (source / "u1.base").write_text("\n".join(base))
    if published:
        (source / "u1.test").write_text("1\t6\t5\t881\n")
        (source / "u.user").write_text("1|24|M|technician|85711\n")
        flags = "|".join("1" if at in (1, 5) else "0" for at in range(19))
        (source / "u.item").write_bytes(f"6|Café (1994)|01-Jan-1994||http://x|{flags}\n".encode("latin-1"))
    else:
        (source / "ml-100k.user").write_text("user_id:token\tage:token\n1\t24\tM\ttechnician\t85711\n")
        (source / "ml-100k.item").write_text("item_id:token\n6\tCafé\t1994\tAction Comedy\n")
    rows = prepare(source, tmp_path / "out")
    splits = Counter(row["split"] for row in rows)
    assert splits == ({"train": 19, "dev": 1, "test": 1} if published else {"train": 15, "dev": 1, "test": 4})
    first = next(row for row in rows if row["user"] == "1")
    assert (first["age"], first["occupation"]) == (24, "technician")
    if published:
        [test] = [row for row in rows if row["split"] == "test"]
        assert (test["title"], test["year"], test["genres"], test["stars"]) == ("Café", 1994, ["Action", "Comedy"], 5)


def test_without_films_it_says_what_to_fetch(prepare, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "empty", tmp_path / "out")
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and "ml-1m.zip" in said
    (tmp_path / "empty" / "ratings.dat").write_text("1::2::3\n")
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "empty", tmp_path / "out")
    said = capsys.readouterr().err
    assert stop.value.code == 5 and said.count("\n") == 1
