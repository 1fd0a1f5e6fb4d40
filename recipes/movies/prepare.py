"""Films and who watched them, as a table of histories, of ratings, of likes, or of films that nobody has seen yet.

    python recipes/movies/prepare.py data/ml-1m out/films              # id, split, user, history, film, title, ...
    python recipes/movies/prepare.py data/ml-100k out/stars            # id, split, user, film, stars, facts of both
    python recipes/movies/prepare.py data/ml-latest-small out/likes    # id, split, user, history, film, title, ...
    python recipes/movies/prepare.py data/ml-1m out/cold --cold 0.1    # a tenth of the films is in no row to train on

- MovieLens 1M (`ratings.dat` and `movies.dat`; or sequences of numbers, `train.txt`, `val_users.txt`, `val_input.txt`,
  `val_output.txt` and `items.csv`): a row a user, with the films in the order in which they were rated. Of each user's
  films the last is left out, the one before it is what the `val` row asks for, and what came before is trained on. Of
  every tenth user the last film of that becomes a `dev` row. The rows of `films` are the catalogue.
- MovieLens 100k (`u1.base`, `u1.test`, `u.item`, `u.user`): a row a rating; `u1.test` is `test`, a twentieth of
  `u1.base` is `dev`. Without `u1.test`, a fifth of the ratings that looks random is `test`. The facts of a rating, such
  as the means of its user and its film, are learned from other ratings of the training rows alone: see `facts.py`.
- MovieLens latest-small (`ratings.csv`, `movies.csv`): the films that a user gave four stars or more. The target of
  each row is a fifth of them, and the history the others: see `sets.py`.
- `--cold`, of any but 100k: rows that ask for films that are in no row to train on by what they are about, and whose
  items are therefore words, genres and a year: see `sets.py`.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

FETCH = (
    "fetch https://files.grouplens.org/datasets/movielens/ml-1m.zip, ml-100k.zip or ml-latest-small.zip (6, 5 and 1 "
    "MB, for research, the first two not to be passed on), unpack it, then run prepare.py data/ml-1m out/films"
)
facts, sets = (recipe_tools.load_script(Path(__file__).with_name(f"{name}.py")) for name in ("facts", "sets"))


def film(id: str, title: str, genres: list[str], year: str = "") -> recipe_tools.Row:
    """A film's row: its title without the year, and the year as a number."""
    match = re.fullmatch(r"(.*?)\s*\((\d{4})\)", title.strip())
    year = year or (match[2] if match else "")
    row: recipe_tools.Row = {"film": id, "title": match[1] if match else title.strip()}
    row |= {"year": int(year)} if year.isdecimal() else {}
    return row | ({"genres": genres} if genres else {})


# -- histories --------------------------------------------------------------------------------------------------------


def dated(source: Path) -> tuple[dict[str, list[str]], list[recipe_tools.Row]]:
    """Users and the films that they rated, in the order of time, from MovieLens 1M as published; and the films."""
    films = [line.split("::") for line in recipe_tools.lines(source, "movies.dat")]
    rated_by = defaultdict(list)
    for line in recipe_tools.lines(source, "ratings.dat"):
        user, item, _, time = line.split("::")
        rated_by[user].append((int(time), item))
    watched_by = {
        user: [item for _, item in sorted(pairs, key=lambda pair: pair[0])] for user, pairs in rated_by.items()
    }
    return watched_by, [film(id, title, genres.split("|")) for id, title, genres in films]


def numbered(source: Path) -> tuple[dict[str, list[str]], dict[str, str], list[recipe_tools.Row]]:
    """Users and their films, what is asked of some of them, and the films, from sequences of numbers."""
    watched_by = {str(number): line.split() for number, line in enumerate(recipe_tools.lines(source, "train.txt"), 1)}
    users = [line.strip() for line in recipe_tools.lines(source, "val_users.txt")]
    watched_by |= dict(zip(users, (line.split() for line in recipe_tools.lines(source, "val_input.txt")), strict=True))
    target_of = dict(zip(users, (line.strip() for line in recipe_tools.lines(source, "val_output.txt")), strict=True))
    listed = csv.DictReader(recipe_tools.lines(source, "items.csv"))
    film_of = {row["item"]: film(row["item"], row["title"], row["genres"].split("|")) for row in listed if row["title"]}
    ids = sorted({id for films in watched_by.values() for id in films} | set(target_of.values()), key=int)
    return watched_by, target_of, [film_of.get(id, {"film": id}) for id in ids]


def liked(source: Path) -> tuple[dict[str, list[str]], list[recipe_tools.Row]]:
    """Users and the films that they gave four stars or more, in the order of time, from MovieLens latest; the films."""
    rated_by = defaultdict(list)
    for row in csv.DictReader(recipe_tools.lines(source, "ratings.csv")):
        if float(row["rating"]) >= 4:
            rated_by[row["userId"]].append((int(row["timestamp"]), row["movieId"]))
    film_of = {}
    for row in csv.DictReader(recipe_tools.lines(source, "movies.csv")):
        genres = [genre for genre in row["genres"].split("|") if not genre.startswith("(")]
        film_of[row["movieId"]] = film(row["movieId"], row["title"], genres)
    watched_by = {
        user: [item for _, item in sorted(pairs, key=lambda pair: pair[0])] for user, pairs in rated_by.items()
    }
    item_ids = dict.fromkeys(item for items in watched_by.values() for item in items)
    return watched_by, [film_of.get(item, {"film": item}) for item in item_ids]


def watched(source: Path) -> tuple[dict[str, list[str]], list[recipe_tools.Row]]:
    """Users and their films, and the films, of any source that holds histories."""
    if recipe_tools.lines(source, "train.txt"):
        watched_by, _, films = numbered(source)
        return watched_by, films
    return dated(source) if recipe_tools.lines(source, "ratings.dat") else liked(source)


def histories(source: Path) -> Iterator[recipe_tools.Row]:
    """A row a user to train on, one for what is asked of some, and one a film."""
    if recipe_tools.lines(source, "train.txt"):
        watched_by, target_of, films = numbered(source)
    else:
        rated_items, films = dated(source)
        watched_by = {user: items[:-2] for user, items in rated_items.items() if len(items) > 3}
        target_of = {user: rated_items[user][-2] for user in watched_by}
    dev = recipe_tools.hold_out([user for user in watched_by if user not in target_of] or list(watched_by), 0.1)
    for user, watched in watched_by.items():
        ready = watched[:-1] if user in dev else watched
        yield {"id": f"user {user}", "split": "train", "user": user, "history": ready}
        if user in dev:
            yield {"id": f"dev {user}", "split": "dev", "user": user, "history": ready, "film": watched[-1]}
        if user in target_of:
            yield {"id": f"val {user}", "split": "val", "user": user, "history": watched, "film": target_of[user]}
    for row in films:
        yield {"id": f"film {row['film']}", "split": "films", **row}


# -- ratings ----------------------------------------------------------------------------------------------------------

KINDS = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
).split()


def people(source: Path) -> dict[str, recipe_tools.Row]:
    """The users of MovieLens 100k: age, gender and occupation."""
    plain = [line.split("|") for line in recipe_tools.lines(source, "u.user")]
    marked = [line.split("\t") for line in recipe_tools.lines(source, "ml-100k.user")[1:]]
    return {
        id: {"user": id, "age": int(age), "gender": gender, "occupation": job}
        for id, age, gender, job, *_ in plain or marked
    }


def catalogue(source: Path) -> dict[str, recipe_tools.Row]:
    """The films of MovieLens 100k."""
    films = {}
    for line in recipe_tools.lines(source, "u.item"):
        id, title, _, _, _, *flags = line.split("|")
        films[id] = film(id, title, [kind for kind, flag in zip(KINDS, flags, strict=False) if flag == "1"])
    for id, title, year, genres in (line.split("\t") for line in recipe_tools.lines(source, "ml-100k.item")[1:]):
        films[id] = film(id, title, genres.split(), year)
    return films


def ratings(source: Path) -> Iterator[recipe_tools.Row]:
    """A row a rating."""
    users, films = people(source), catalogue(source)
    parts = {"train": recipe_tools.lines(source, "u1.base"), "test": recipe_tools.lines(source, "u1.test")}
    if not parts["test"]:
        held_out = recipe_tools.hold_out(parts["train"], 0.2)
        parts = {"train": [line for line in parts["train"] if line not in held_out], "test": sorted(held_out)}
    dev_lines = recipe_tools.hold_out(parts["train"], 0.05)
    splits = [
        ("dev" if line in dev_lines else split, line.split()) for split, listed in parts.items() for line in listed
    ]
    triples = [(user, item, int(stars)) for _, (user, item, stars, _) in splits]
    features = facts.facts(triples, [split == "train" for split, _ in splits])
    for (split, (user, item, stars, _)), numbers in zip(splits, features, strict=True):
        row = {"id": f"{user} {item}", "split": split, "stars": int(stars)}
        yield {**row, **users.get(user, {"user": user}), **films.get(item, {"film": item}), **numbers}


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument(
        "--cold", type=float, metavar="SHARE", help="share of the films to keep out of the training rows"
    )
    arguments.add_argument("--seed", type=int, default=1, help="seed of the films and ratings that are held back")
    sources, out, options = arguments.read()
    [source] = sources[:1]
    if options.cold is not None and not 0 < options.cold <= 0.4:
        raise UsageError(f"--cold {options.cold}", "the share must be above 0 and at most 0.4", "give 0.1")
    sequences = recipe_tools.lines(source, "train.txt") or recipe_tools.lines(source, "ratings.dat")
    if options.cold and (sequences or recipe_tools.lines(source, "ratings.csv")):
        rows = sets.cold(*watched(source), options.cold, options.seed)
    elif sequences:
        rows = histories(source)
    elif recipe_tools.lines(source, "ratings.csv"):
        rows = sets.likes(*liked(source), options.seed)
    elif recipe_tools.lines(source, "u1.base") and not options.cold:
        rows = ratings(source)
    else:
        raise UsageError(source, "these options need ratings.dat, ratings.csv or u1.base in it", FETCH)
    try:
        table = list(rows)
        if options.split and sequences:  # a row of a user that asks for nothing
            table = [row for row in table if row["split"] != "train"]
        recipe_tools.write_rows(out, table, split=options.split)
    except (ValueError, KeyError, csv.Error) as error:
        raise DamagedError(source, f"a line in it is not as published ({error})", "fetch it again") from error


if __name__ == "__main__":
    recipe_tools.run_script(main)
