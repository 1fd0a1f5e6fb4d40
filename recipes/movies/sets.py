"""Rows whose targets are sets of films: the rest of what a user likes, and films that nobody has rated (cold start)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jointembed import recipe_tools

Watched = Mapping[str, Sequence[str]]
MAX_HISTORY = 30  # films in the history of a training row
MAX_USERS = {"test": 1000, "dev": 500}  # users with cold films as targets


def likes(
    watched: Watched, films: Sequence[recipe_tools.Row], seed: int, copies: int = 8
) -> Iterator[recipe_tools.Row]:
    """A fifth of each user's films for the others: for `test`, for the `dev` rows of every third user, for `train`.

    To train on, a user stands in several rows, in each with another fifth as `film` and the rest as `history`. The rows
    of `films` are the catalogue.
    """
    rng = np.random.default_rng(seed)

    def hold_back(items: Sequence[str]) -> dict[str, list[str]]:
        order = rng.permutation(len(items)).tolist()
        cut = max(1, len(items) // 5)
        parts = {"history": order[cut:], "film": order[:cut]}
        return {name: [items[at] for at in sorted(places)] for name, places in parts.items()}

    dev_users = recipe_tools.hold_out(watched, 1 / 3)
    for user, films_of_user in watched.items():
        if len(films_of_user) < 5:
            continue
        test = hold_back(films_of_user)
        rest = test["history"]
        yield {"id": f"test {user}", "split": "test", "user": user, **test}
        if user in dev_users:
            dev = hold_back(rest)
            rest = dev["history"]
            yield {"id": f"dev {user}", "split": "dev", "user": user, **dev}
        for copy in range(copies):
            yield {"id": f"{user} {copy}", "split": "train", "user": user, **hold_back(rest)}
    for film in films:
        yield {"id": f"film {film['film']}", "split": "films", **film, "film": [film["film"]]}


def cold(
    watched: Watched, films: Sequence[recipe_tools.Row], share: float, seed: int, copies: int = 4
) -> Iterator[recipe_tools.Row]:
    """What users watched and what it is about, for films that they watched and that no row to train on holds.

    A share of the films of known genres, drawn by the seed, is the `cold` ones, which the `test` rows ask for; as
    many others are asked for by the `dev` rows. A row to train on has one film of a user, what is known of it, and up
    to 30 others as its history.
    """
    rng = np.random.default_rng(seed)
    about = {film["film"]: film for film in films if film.get("genres")}
    order = rng.permutation(sorted(about)).tolist()
    count = max(1, round(share * len(order)))
    held_out = {"cold": order[:count], "dev": order[count : 2 * count]}
    away = {split: set(listed) for split, listed in held_out.items()}
    users = {split: recipe_tools.hold_out(watched, min(1, limit / len(watched))) for split, limit in MAX_USERS.items()}
    for user, films_of_user in watched.items():
        warm = [film for film in films_of_user if not any(film in listed for listed in away.values())]
        known_films = [film for film in warm if film in about]
        if len(warm) < 5 or not known_films:
            continue
        for copy in range(copies):
            target = known_films[rng.integers(len(known_films))]
            remaining = [film for film in warm if film != target]
            history = [remaining[at] for at in sorted(rng.permutation(len(remaining))[:MAX_HISTORY].tolist())]
            row = {"id": f"{user} {copy}", "split": "train", "user": user}
            yield {**row, **_history(history, about), "film": target, **_content(about[target])}
        for split, ask in (("test", "cold"), ("dev", "dev")):
            targets = [_content(about[film]) for film in films_of_user if film in away[ask]]
            if targets and user in users[split]:
                viewer = _history(warm, about)
                yield {"id": f"{split} {user}", "split": split, "user": user, "viewer": viewer, "item": targets}
    for id in (film for film in about if film not in away["dev"]):
        columns = {"item": [_content(about[id])]} if id in away["cold"] else {"film": id}
        yield {"id": f"film {id}", "split": "cold" if id in away["cold"] else "films", **columns, **_content(about[id])}


def _content(film: recipe_tools.Row) -> recipe_tools.Row:
    """What is known of a film that nobody has seen."""
    return {"title": film["title"], "genres": film["genres"], "year": str(film.get("year", "unknown"))}


def _history(history: Sequence[str], about: Mapping[str, recipe_tools.Row]) -> recipe_tools.Row:
    """A history: its films, and their titles, genres and years."""
    content = [_content(about[film]) for film in history if film in about]
    return {
        "history": list(history),
        "titles": [film["title"] for film in content],
        "kinds": [genre for film in content for genre in film["genres"]],
        "years": [film["year"] for film in content],
    }
