"""Listening histories as a table: the columns id, split, user, heard, artist, name, tags.

    python recipes/artists/prepare.py data/hetrec2011-lastfm-2k out/artists --seed 1

Source: HetRec 2011 Last.fm (`user_artists.dat`, `artists.dat`, `tags.dat`, `user_taggedartists.dat`), or the same as
`user_artists.csv`, `artists.csv`, `tags.csv` and `artist_tags.csv`.

A fifth of each user's artists, drawn by the seed, is the target of a `test` row, given the others (`heard`). For every
tenth user, a fifth of the others is the target of a `dev` row. The rest is a `train` row, in which `heard` and `artist`
are equal: the model leaves a part of `heard` out. Further `train` rows have an artist and its tags. The rows of
`artists` are the catalogue.
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
TAGS = 5  # kept for an artist, the most common


def read(source: Path, *names: str) -> list[dict[str, str]]:
    """The rows of the first of these files that exists in a source; an empty list if none does."""
    records = recipe_tools.lines(source, *names)
    tabs = bool(records) and "\t" in records[0]
    return list(csv.DictReader(records, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else 0))


def column(rows: list[dict[str, str]], *names: str) -> str:
    """The first of these names that the rows have."""
    for name in names:
        if rows and name in rows[0]:
            return name
    raise DamagedError(names[0], "its file has no column of this name", FETCH)


def common_tags(source: Path) -> dict[str, list[str]]:
    """The most common tags of each artist.

    Raises:
        UsageError: the source has no tags.
    """
    words = read(source, "tags.dat", "tags.csv")
    taggings = read(source, "user_taggedartists.dat", "artist_tags.csv")
    if not words or not taggings:
        raise UsageError(source, "tags.dat or user_taggedartists.dat is missing", FETCH)
    id, word = column(words, "tagID", "tag_id"), column(words, "tagValue", "tag")
    artist, tag = column(taggings, "artistID", "artist_id"), column(taggings, "tagID", "tag_id")
    word_of = {row[id]: row[word] for row in words}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in taggings:
        counts[row[artist]][word_of.get(row[tag], row[tag])] += int(row.get("count") or 1)
    return {artist: [name for name, _ in count.most_common(TAGS)] for artist, count in counts.items()}


def rows(source: Path, seed: int) -> list[recipe_tools.Row]:
    """The table.

    Raises:
        UsageError: the source has no plays, or no tags.
    """
    plays = read(source, "user_artists.dat", "user_artists.csv")
    if not plays:
        raise UsageError(source, "user_artists.dat is missing", FETCH)
    user, artist = column(plays, "userID", "user_id"), column(plays, "artistID", "artist_id")
    heard_by: dict[str, list[str]] = defaultdict(list)
    for row in plays:
        heard_by[row[user]].append(row[artist])
    rng, table = np.random.default_rng(seed), list[recipe_tools.Row]()

    def hold_back(items: list[str]) -> tuple[list[str], list[str]]:
        order = rng.permutation(len(items)).tolist()
        cut = max(1, len(items) // 5)
        return [items[at] for at in sorted(order[cut:])], [items[at] for at in sorted(order[:cut])]

    dev = recipe_tools.hold_out(heard_by, 0.1)
    for name, whole in heard_by.items():
        if len(whole) < 5:
            table.append({"id": name, "split": "train", "user": name, "heard": whole, "artist": whole})
            continue
        history, target = hold_back(whole)
        table.append({"id": f"test {name}", "split": "test", "user": name, "heard": history, "artist": target})
        if name in dev:
            history, target = hold_back(history)
            table.append({"id": f"dev {name}", "split": "dev", "user": name, "heard": history, "artist": target})
        table.append({"id": name, "split": "train", "user": name, "heard": history, "artist": history})
    tags, listed = common_tags(source), read(source, "artists.dat", "artists.csv")
    names = {row.get("id") or row["artist_id"]: row["name"] for row in listed}
    for id in sorted(
        {artist_id for whole in heard_by.values() for artist_id in whole},
        key=lambda artist_id: (len(artist_id), artist_id),
    ):
        row = {"id": f"artist {id}", "split": "artists", "artist": id, "name": names.get(id), "tags": tags.get(id)}
        table.append({key: value for key, value in row.items() if value})
        if tags.get(id):
            table.append({"id": f"tags {id}", "split": "train", "artist": id, "tags": tags[id]})
    return table


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--seed", type=int, default=1, help="seed of the artists that are held back")
    sources, out, options = arguments.read()
    table = rows(sources[0], options.seed)
    if options.split:
        table = [row for row in table if row["split"] not in ("train", "dev")]
    recipe_tools.write_rows(out, table, split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
