"""Who listens to whom, as a table: the columns id, split, user, heard, artist, name, tags.

    python recipes/artists/prepare.py data/hetrec2011-lastfm-2k out/artists --seed 1

Source: HetRec 2011 Last.fm (`user_artists.dat`, `artists.dat`, `tags.dat`, `user_taggedartists.dat`), or the same as
`user_artists.csv`, `artists.csv`, `tags.csv` and `artist_tags.csv`.

A fifth of each user's artists, drawn by the seed, is what a `test` row asks for, given the others (`heard`). Of every
tenth user a fifth of the others is kept for a `dev` row. What is left is a `train` row, in which `heard` and `artist`
are the same: the model leaves a part of `heard` out. The rows of `artists` are the catalogue.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

FETCH = (
    "fetch https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip (3 MB, for research, not "
    "commercial), unpack it, then run prepare.py data/hetrec2011-lastfm-2k out/artists"
)
TAGS = 5  # of an artist, the commonest ones


def read(source: Path, *names: str) -> list[dict[str, str]]:
    """The rows of the first of these files that a source holds; none without any."""
    found = recipe_tools.lines(source, *names)
    tabs = bool(found) and "\t" in found[0]
    return list(csv.DictReader(found, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else 0))


def column(rows: list[dict[str, str]], *names: str) -> str:
    """The first of these names that the rows have."""
    for name in names:
        if rows and name in rows[0]:
            return name
    raise DamagedError(names[0], "no column of this name is in its file", FETCH)


def tagged(source: Path) -> dict[str, list[str]]:
    """The commonest tags of each artist."""
    words = read(source, "tags.dat", "tags.csv")
    given = read(source, "user_taggedartists.dat", "artist_tags.csv")
    if not words or not given:
        return {}
    id, word = column(words, "tagID", "tag_id"), column(words, "tagValue", "tag")
    artist, tag = column(given, "artistID", "artist_id"), column(given, "tagID", "tag_id")
    known = {row[id]: row[word] for row in words}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in given:
        counts[row[artist]][known.get(row[tag], row[tag])] += int(row.get("count") or 1)
    return {artist: [name for name, _ in found.most_common(TAGS)] for artist, found in counts.items()}


def rows(source: Path, seed: int) -> list[recipe_tools.Row]:
    """The table.

    Raises:
        UsageError: the source holds no plays.
    """
    plays = read(source, "user_artists.dat", "user_artists.csv")
    if not plays:
        raise UsageError(source, "it holds no user_artists.dat", FETCH)
    user, artist = column(plays, "userID", "user_id"), column(plays, "artistID", "artist_id")
    heard: dict[str, list[str]] = defaultdict(list)
    for row in plays:
        heard[row[user]].append(row[artist])
    rng, made = np.random.default_rng(seed), list[recipe_tools.Row]()

    def parted(items: list[str]) -> tuple[list[str], list[str]]:
        order = rng.permutation(len(items)).tolist()
        cut = max(1, len(items) // 5)
        return [items[at] for at in sorted(order[cut:])], [items[at] for at in sorted(order[:cut])]

    dev = recipe_tools.hold_out(heard, 0.1)
    for name, whole in heard.items():
        if len(whole) < 5:
            made.append({"id": name, "split": "train", "user": name, "heard": whole, "artist": whole})
            continue
        kept, asked = parted(whole)
        made.append({"id": f"test {name}", "split": "test", "user": name, "heard": kept, "artist": asked})
        if name in dev:
            kept, asked = parted(kept)
            made.append({"id": f"dev {name}", "split": "dev", "user": name, "heard": kept, "artist": asked})
        made.append({"id": name, "split": "train", "user": name, "heard": kept, "artist": kept})
    tags, listed = tagged(source), read(source, "artists.dat", "artists.csv")
    names = {row.get("id") or row["artist_id"]: row["name"] for row in listed}
    for id in sorted({one for whole in heard.values() for one in whole}, key=lambda one: (len(one), one)):
        row = {"id": f"artist {id}", "split": "artists", "artist": id, "name": names.get(id), "tags": tags.get(id)}
        made.append({key: value for key, value in row.items() if value})
    return made


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--seed", type=int, default=1, help="of what is held back")
    sources, out, options = arguments.read()
    recipe_tools.write_rows(out, rows(sources[0], options.seed))


if __name__ == "__main__":
    recipe_tools.run_script(main)
