"""Films: histories and ratings, as MovieLens publishes them."""

import gzip
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "movies" / "prepare.py"


@pytest.fixture
def prepare(prepared):
    return lambda source, out, *options: prepared("movies", out, source, out, *options)


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
    assert {"user_mean", "user_count", "film_mean", "film_count", "near_films", "near_users"} <= set(first)
    if published:
        [test] = [row for row in rows if row["split"] == "test"]
        assert (test["title"], test["year"], test["genres"], test["stars"]) == ("Café", 1994, ["Action", "Comedy"], 5)


def test_facts_use_other_ratings_only():
    facts = runpy.run_path(str(SCRIPT.with_name("facts.py")))["facts"]
    rng = np.random.default_rng(0)
    rated = [(f"u{user}", f"f{film}", int(rng.integers(1, 6))) for user in range(20) for film in range(15)]
    train = [at % 4 > 0 for at in range(len(rated))]
    before = facts(rated, train)
    for at in (1, 2, 3, 4):
        changed = list(rated)
        changed[at] = (*rated[at][:2], 6 - rated[at][2] if rated[at][2] != 3 else 5)
        after = facts(changed, train)
        assert after[at] == before[at], "nobody's facts hold the stars that they are to foretell"
        differs = [row_of_facts != two for row_of_facts, two in zip(before, after, strict=True)]
        assert any(differs) == train[at], "and nobody learns from rows that are not trained on"


def test_facts_reflect_means_and_counts():
    facts = runpy.run_path(str(SCRIPT.with_name("facts.py")))["facts"]
    rated = [(f"u{user}", f"f{film}", 5 if user < 5 else 1) for user in range(10) for film in range(12)]
    rated += [("u0", "rare", 5), ("u9", "new", 1), ("stranger", "f0", 3)]
    table = facts(rated, [True] * 121 + [False] * 2)
    assert table[0]["user_mean"] > 1 and table[119]["user_mean"] < -1
    assert table[-2]["film_count"] == 0 and table[-2]["film_mean"] == 0, "nothing is known of a new film"
    assert table[-1]["user_count"] == 0 and table[-1]["film_count"] == pytest.approx(np.log(11), abs=1e-3)
    assert table[120]["film_count"] == 0 < table[0]["film_count"], "its only rating is the target"


def test_facts_use_similar_users():
    facts = runpy.run_path(str(SCRIPT.with_name("facts.py")))["facts"]
    # Half like the first films and hate the last, half the other way round: all means are the same.
    rated = [
        (f"u{user}", f"f{film}", 5 if (user < 20) == (film < 20) else 1) for user in range(40) for film in range(40)
    ]
    table = facts(rated, [True] * len(rated))
    for name in ("near_films", "near_users"):
        assert (
            np.corrcoef([row_of_facts[name] for row_of_facts in table], [stars for _, _, stars in rated])[0, 1] > 0.95
        )


@pytest.fixture
def latest(tmp_path):
    """MovieLens latest-small with ten users, who rate the 20 films with five stars and two stars in turn."""
    source = tmp_path / "ml-latest-small"
    source.mkdir()
    films = [f'{n},"Film, {n} ({1980 + n})",Drama|War' for n in range(1, 20)] + ["20,Untitled,(no genres listed)"]
    (source / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n")
    rated = [f"{user},{film},{5.0 if (user + film) % 2 else 2.0},{99 - film}" for user in range(1, 11)
             for film in range(1, 21)]  # fmt: skip
    (source / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rated]) + "\n")
    return source


def test_targets_of_likes_are_other_likes(prepare, latest, tmp_path):
    rows = prepare(latest, tmp_path / "out")
    assert Counter(row["split"] for row in rows) == {"train": 80, "dev": 3, "test": 10, "films": 20}
    for user in range(1, 11):
        own = {row["id"]: row for row in rows if row.get("user") == str(user)}
        test = own[f"test {user}"]
        liked = {str(film) for film in range(1, 21) if (user + film) % 2}
        assert {*test["history"], *test["film"]} == liked and len(test["film"]) == 2
        hidden = {*test["film"], *own.get(f"dev {user}", {"film": []})["film"]}
        for row in own.values():
            assert not set(row["history"]) & set(row["film"])
            if row["split"] == "train":
                assert not hidden & {*row["history"], *row["film"]}
    film = next(row for row in rows if row["id"] == "film 3")
    assert (film["film"], film["title"], film["year"], film["genres"]) == (["3"], "Film, 3", 1983, ["Drama", "War"])
    assert rows == prepare(latest, tmp_path / "again"), "the same in every run"
    assert rows != prepare(latest, tmp_path / "other", "--seed", "2")


def test_cold_films_are_never_in_training_rows(prepare, latest, tmp_path):
    rows = prepare(latest, tmp_path / "out", "--cold", "0.2")
    cold = [row for row in rows if row["split"] == "cold"]
    assert len(cold) == 4 and all("film" not in row for row in cold), "a cold film is what it is about, and no id"
    away = {row["title"].split()[-1] for row in cold}
    targets = {
        row_of_facts["title"].split()[-1] for row in rows if row["split"] == "dev" for row_of_facts in row["item"]
    }
    assert targets and not targets & away
    for row in rows:
        if row["split"] == "train":
            films_in_row = {*row["history"], row["film"]}
            assert not films_in_row & (away | targets) and row["film"] not in row["history"] and "20" not in row["film"]
            assert len(row["titles"]) == len(row["history"]) - ("20" in row["history"])
        if row["split"] == "test":
            assert {row_of_facts["title"].split()[-1] for row_of_facts in row["item"]} <= away and not set(
                row["viewer"]["history"]
            ) & away
            assert all(row_of_facts in [row["item"][0] for row in cold] for row_of_facts in row["item"])
    assert rows != prepare(latest, tmp_path / "other", "--cold", "0.2", "--seed", "2")


def test_cold_films_of_histories_as_published(prepare, tmp_path):
    source = tmp_path / "ml-1m"
    source.mkdir()
    (source / "movies.dat").write_text("\n".join(f"{n}::Film {n} (1990)::Drama" for n in range(1, 11)))
    (source / "ratings.dat").write_text("\n".join(f"{user}::{n}::4::{n}" for user in range(1, 6) for n in range(1, 11)))
    rows = prepare(source, tmp_path / "out", "--cold", "0.1")
    assert Counter(row["split"] for row in rows) == {"train": 20, "dev": 5, "test": 5, "cold": 1, "films": 8}


@pytest.mark.parametrize("share", ["0", "0.9", "-1"])
def test_invalid_share_is_refused(prepare, latest, tmp_path, capsys, share):
    with pytest.raises(SystemExit) as stop:
        prepare(latest, tmp_path / "out", f"--cold={share}")
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.count("\n") == 1 and "give 0.1" in message


def test_missing_films_are_reported_with_what_to_fetch(prepare, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "empty", tmp_path / "out")
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.count("\n") == 1 and "ml-1m.zip" in message
    (tmp_path / "empty" / "ratings.dat").write_text("1::2::3\n")
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "empty", tmp_path / "out")
    message = capsys.readouterr().err
    assert stop.value.code == 5 and message.count("\n") == 1
