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
- MovieLens latest-small (`ratings.csv`, `movies.csv`): the films that a user gave four stars or more, of which each row
  asks for a fifth by the others: see `sets.py`.
- `--cold`, of any but 100k: rows that ask for films that are in no row to train on by what they are about, and whose
  items are therefore words, genres and a year: see `sets.py`.
"""

from __future__ import annotations

import csv
import re
import runpy
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

FETCH = (
    "fetch https://files.grouplens.org/datasets/movielens/ml-1m.zip, ml-100k.zip or ml-latest-small.zip (6, 5 and 1 "
    "MB, for research, the first two not to be passed on), unpack it, then run prepare.py data/ml-1m out/films"
)
# Recipes are no package; what takes a page of its own is a script of its own.
facts, sets = (runpy.run_path(str(Path(__file__).parent / f"{name}.py")) for name in ("facts", "sets"))


def film(id: str, title: str, genres: list[str], year: str = "") -> recipe_tools.Row:
    """A film's row: its title without the year, and the year as a number."""
    found = re.fullmatch(r"(.*?)\s*\((\d{4})\)", title.strip())
    year = year or (found[2] if found else "")
    row: recipe_tools.Row = {"film": id, "title": found[1] if found else title.strip()}
    row |= {"year": int(year)} if year.isdecimal() else {}
    return row | ({"genres": genres} if genres else {})


# -- histories --------------------------------------------------------------------------------------------------------


def dated(source: Path) -> tuple[dict[str, list[str]], list[recipe_tools.Row]]:
    """Users and the films that they rated, in the order of time, from MovieLens 1M as published; and the films."""
    films = [line.split("::") for line in recipe_tools.lines(source, "movies.dat")]
    rated = defaultdict(list)
    for line in recipe_tools.lines(source, "ratings.dat"):
        user, item, _, time = line.split("::")
        rated[user].append((int(time), item))
    kept = {user: [item for _, item in sorted(one, key=lambda pair: pair[0])] for user, one in rated.items()}
    return kept, [film(id, title, genres.split("|")) for id, title, genres in films]


def numbered(source: Path) -> tuple[dict[str, list[str]], dict[str, str], list[recipe_tools.Row]]:
    """Users and their films, what is asked of some of them, and the films, from sequences of numbers."""
    kept = {str(number): line.split() for number, line in enumerate(recipe_tools.lines(source, "train.txt"), 1)}
    users = [line.strip() for line in recipe_tools.lines(source, "val_users.txt")]
    kept |= dict(zip(users, (line.split() for line in recipe_tools.lines(source, "val_input.txt")), strict=True))
    asked = dict(zip(users, (line.strip() for line in recipe_tools.lines(source, "val_output.txt")), strict=True))
    listed = csv.DictReader(recipe_tools.lines(source, "items.csv"))
    known = {row["item"]: film(row["item"], row["title"], row["genres"].split("|")) for row in listed if row["title"]}
    ids = sorted({id for films in kept.values() for id in films} | set(asked.values()), key=int)
    return kept, asked, [known.get(id, {"film": id}) for id in ids]


def liked(source: Path) -> tuple[dict[str, list[str]], list[recipe_tools.Row]]:
    """Users and the films that they gave four stars or more, in the order of time, from MovieLens latest; the films."""
    rated = defaultdict(list)
    for row in csv.DictReader(recipe_tools.lines(source, "ratings.csv")):
        if float(row["rating"]) >= 4:
            rated[row["userId"]].append((int(row["timestamp"]), row["movieId"]))
    known = {}
    for row in csv.DictReader(recipe_tools.lines(source, "movies.csv")):
        genres = [genre for genre in row["genres"].split("|") if not genre.startswith("(")]
        known[row["movieId"]] = film(row["movieId"], row["title"], genres)
    kept = {user: [item for _, item in sorted(one, key=lambda pair: pair[0])] for user, one in rated.items()}
    seen = dict.fromkeys(item for one in kept.values() for item in one)
    return kept, [known.get(item, {"film": item}) for item in seen]


def watched(source: Path) -> tuple[dict[str, list[str]], list[recipe_tools.Row]]:
    """Users and their films, and the films, of any source that holds histories."""
    if recipe_tools.lines(source, "train.txt"):
        kept, _, films = numbered(source)
        return kept, films
    return dated(source) if recipe_tools.lines(source, "ratings.dat") else liked(source)


def histories(source: Path) -> Iterator[recipe_tools.Row]:
    """A row a user to train on, one for what is asked of some, and one a film."""
    if recipe_tools.lines(source, "train.txt"):
        kept, asked, films = numbered(source)
    else:
        whole, films = dated(source)
        kept = {user: one[:-2] for user, one in whole.items() if len(one) > 3}
        asked = {user: whole[user][-2] for user in kept}
    dev = recipe_tools.hold_out([user for user in kept if user not in asked] or list(kept), 0.1)
    for user, watched in kept.items():
        ready = watched[:-1] if user in dev else watched
        yield {"id": f"user {user}", "split": "train", "user": user, "history": ready}
        if user in dev:
            yield {"id": f"dev {user}", "split": "dev", "user": user, "history": ready, "film": watched[-1]}
        if user in asked:
            yield {"id": f"val {user}", "split": "val", "user": user, "history": watched, "film": asked[user]}
    for one in films:
        yield {"id": f"film {one['film']}", "split": "films", **one}


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
    found = {}
    for line in recipe_tools.lines(source, "u.item"):
        id, title, _, _, _, *flags = line.split("|")
        found[id] = film(id, title, [kind for kind, flag in zip(KINDS, flags, strict=False) if flag == "1"])
    for id, title, year, genres in (line.split("\t") for line in recipe_tools.lines(source, "ml-100k.item")[1:]):
        found[id] = film(id, title, genres.split(), year)
    return found


def ratings(source: Path) -> Iterator[recipe_tools.Row]:
    """A row a rating."""
    users, films = people(source), catalogue(source)
    parts = {"train": recipe_tools.lines(source, "u1.base"), "test": recipe_tools.lines(source, "u1.test")}
    if not parts["test"]:
        kept = recipe_tools.hold_out(parts["train"], 0.2)
        parts = {"train": [line for line in parts["train"] if line not in kept], "test": sorted(kept)}
    carved = recipe_tools.hold_out(parts["train"], 0.05)
    splits = [("dev" if line in carved else split, line.split()) for split, listed in parts.items() for line in listed]
    given = [(user, item, int(stars)) for _, (user, item, stars, _) in splits]
    known = facts["facts"](given, [split == "train" for split, _ in splits])
    for (split, (user, item, stars, _)), numbers in zip(splits, known, strict=True):
        row = {"id": f"{user} {item}", "split": split, "stars": int(stars)}
        yield {**row, **users.get(user, {"user": user}), **films.get(item, {"film": item}), **numbers}


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--cold", type=float, metavar="SHARE", help="of the films, kept out of the training rows")
    arguments.add_argument("--seed", type=int, default=1, help="of the films kept out, and of what is held back")
    sources, out, options = arguments.read()
    [source] = sources[:1]
    if options.cold is not None and not 0 < options.cold <= 0.4:
        raise UsageError(f"--cold {options.cold}", "it is no share that leaves films to train on", "give 0.1")
    sequences = recipe_tools.lines(source, "train.txt") or recipe_tools.lines(source, "ratings.dat")
    if options.cold and (sequences or recipe_tools.lines(source, "ratings.csv")):
        rows = sets["cold"](*watched(source), options.cold, options.seed)
    elif sequences:
        rows = histories(source)
    elif recipe_tools.lines(source, "ratings.csv"):
        rows = sets["likes"](*liked(source), options.seed)
    elif recipe_tools.lines(source, "u1.base") and not options.cold:
        rows = ratings(source)
    else:
        raise UsageError(source, "it holds no ratings.dat, ratings.csv or u1.base that can be used so", FETCH)
    try:
        recipe_tools.write_rows(out, list(rows))
    except (ValueError, KeyError, csv.Error) as error:
        raise DamagedError(source, f"a line in it is not as published ({error})", "fetch it again") from error


if __name__ == "__main__":
    recipe_tools.run_script(main)
