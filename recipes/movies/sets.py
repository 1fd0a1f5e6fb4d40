"""Rows that ask for films by a set of others: the rest of what a user likes, and films that nobody has seen yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jointembed import recipe_tools

Watched = Mapping[str, Sequence[str]]
MOST = 30  # films of a history that is trained on
ASKED = {"test": 1000, "dev": 500}  # users who are asked for films that nobody has seen, at most


def likes(
    watched: Watched, films: Sequence[recipe_tools.Row], seed: int, copies: int = 8
) -> Iterator[recipe_tools.Row]:
    """A fifth of each user's films for the others: for `test`, for the `dev` rows of every third user, for `train`.

    To train on, a user stands in several rows, in each with another fifth as `film` and the rest as `history`. The rows
    of `films` are the catalogue.
    """
    rng = np.random.default_rng(seed)

    def parted(items: Sequence[str]) -> dict[str, list[str]]:
        order = rng.permutation(len(items)).tolist()
        cut = max(1, len(items) // 5)
        parts = {"history": order[cut:], "film": order[:cut]}
        return {name: [items[at] for at in sorted(places)] for name, places in parts.items()}

    dev = recipe_tools.hold_out(watched, 1 / 3)
    for user, whole in watched.items():
        if len(whole) < 5:
            continue
        test = parted(whole)
        kept = test["history"]
        yield {"id": f"test {user}", "split": "test", "user": user, **test}
        if user in dev:
            asked = parted(kept)
            kept = asked["history"]
            yield {"id": f"dev {user}", "split": "dev", "user": user, **asked}
        for copy in range(copies):
            yield {"id": f"{user} {copy}", "split": "train", "user": user, **parted(kept)}
    for one in films:
        yield {"id": f"film {one['film']}", "split": "films", **one, "film": [one["film"]]}


def cold(
    watched: Watched, films: Sequence[recipe_tools.Row], share: float, seed: int, copies: int = 4
) -> Iterator[recipe_tools.Row]:
    """What users watched and what it is about, for films that they watched and that no row to train on holds.

    A share of the films of known genres, drawn by the seed, is the `cold` ones, which the `test` rows ask for; as
    many others are asked for by the `dev` rows. A row to train on has one film of a user, what is known of it, and up
    to 30 others as its history.
    """
    rng = np.random.default_rng(seed)
    about = {one["film"]: one for one in films if one.get("genres")}
    order = rng.permutation(sorted(about)).tolist()
    count = max(1, round(share * len(order)))
    kept = {"cold": order[:count], "dev": order[count : 2 * count]}
    away = {split: set(listed) for split, listed in kept.items()}
    asking = {split: recipe_tools.hold_out(watched, min(1, most / len(watched))) for split, most in ASKED.items()}
    for user, whole in watched.items():
        warm = [one for one in whole if not any(one in listed for listed in away.values())]
        known = [one for one in warm if one in about]
        if len(warm) < 5 or not known:
            continue
        for copy in range(copies):
            target = known[rng.integers(len(known))]
            others = [one for one in warm if one != target]
            some = [others[at] for at in sorted(rng.permutation(len(others))[:MOST].tolist())]
            row = {"id": f"{user} {copy}", "split": "train", "user": user}
            yield {**row, **_seen(some, about), "film": target, **_content(about[target])}
        for split, ask in (("test", "cold"), ("dev", "dev")):
            asked = [_content(about[one]) for one in whole if one in away[ask]]
            if asked and user in asking[split]:
                viewer = _seen(warm, about)
                yield {"id": f"{split} {user}", "split": split, "user": user, "viewer": viewer, "item": asked}
    for id in (one for one in about if one not in away["dev"]):
        asked = {"item": [_content(about[id])]} if id in away["cold"] else {"film": id}
        yield {"id": f"film {id}", "split": "cold" if id in away["cold"] else "films", **asked, **_content(about[id])}


def _content(film: recipe_tools.Row) -> recipe_tools.Row:
    """What is known of a film that nobody has seen."""
    return {"title": film["title"], "genres": film["genres"], "year": str(film.get("year", "unknown"))}


def _seen(history: Sequence[str], about: Mapping[str, recipe_tools.Row]) -> recipe_tools.Row:
    """A history: its films, and their titles, genres and years."""
    told = [_content(about[one]) for one in history if one in about]
    return {
        "history": list(history),
        "titles": [one["title"] for one in told],
        "kinds": [genre for one in told for genre in one["genres"]],
        "years": [one["year"] for one in told],
    }
