"""A million users and 500,000 ids with known true neighbours, generated from a seed: nothing is fetched.

    python recipes/catalogue/prepare.py out/catalogue
    python recipes/catalogue/prepare.py out/small --users 100000 --items 50000 --events 800000

Each id has a place on a torus, and a popularity that falls with its rank as Zipf's law has it. Users
have a taste, a place near an id drawn by popularity. Each of their ids is drawn by popularity among the ids in the cell
of a random place around the taste, in one of several grids.

- `rows.parquet`: a row a user, with a short history and the next id; a hundredth each is `dev` and `test`.
- `items.parquet`: of each id a category and a price, a noisy hint of its place; for `data.join`, and to be indexed.
- `neighbours.parquet`: `dev` and `test` pairs of an id and one of its ten nearest neighbours, among the ids that occur
  at least `--least` times in the training rows. These ids are its rows `pool`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from scipy.spatial import KDTree

from jointembed import recipe_tools
from jointembed.errors import UsageError
from jointembed.files import atomic_write

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DIMS = 2  # of the torus
SHIFTS = 8  # grids: ids that share a cell in one are separated by others
CELL = 16  # ids in a cell on average
NEAR = 10  # neighbours of an id
BLOCK = 100_000  # users at once


class Catalogue:
    """Ids with places, popularity and a way to draw those near a place.

    Args:
        items: how many ids.
        seed: of everything.
    """

    def __init__(self, items: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.places = self.rng.random((items, DIMS))
        self.popularity = self.rng.permutation(1 / (np.arange(items) + 100.0))
        self.cumulative = self.popularity.cumsum() / self.popularity.sum()
        self.side = max(2, round((items / CELL) ** (1 / DIMS)))
        self.width = 0.75 / self.side  # how far from a taste users draw
        self.shifts = self.rng.random((SHIFTS, DIMS))
        self.grids = [self._grid(shift) for shift in self.shifts]

    def _cell(self, places: Floats) -> Ints:
        """The numbers (N,) of the cells that places (N, D) lie in."""
        corner = np.minimum((places % 1 * self.side).astype(np.int64), self.side - 1)
        return np.asarray(corner @ self.side ** np.arange(DIMS))

    def _grid(self, shift: Floats) -> tuple[Ints, Ints, Floats]:
        """The ids cell by cell, their cells, and the popularity of all that stand before each of them and of all."""
        cells = self._cell(self.places + shift)
        order = np.argsort(cells, kind="stable")
        return order, cells[order], np.append(0, self.popularity[order].cumsum())

    def tastes(self, count: int) -> Floats:
        """Places (N, D) around ids that are drawn by their popularity."""
        ids = np.searchsorted(self.cumulative, self.rng.random(count)).clip(max=len(self.places) - 1)
        return np.asarray(self.places[ids] + self.rng.normal(0, self.width, (count, DIMS)))

    def near(self, places: Floats) -> Ints:
        """An id (N,) near each place (N, D), by popularity among those of its cell."""
        which, chance = self.rng.integers(SHIFTS, size=len(places)), self.rng.random(len(places))
        nearest = np.empty(len(places), np.int64)
        for number, (order, cells, cumulative) in enumerate(self.grids):
            queries = which == number
            cell = self._cell(places[queries] + self.shifts[number])
            first, last = (cumulative[np.searchsorted(cells, cell, side)] for side in ("left", "right"))
            at = np.searchsorted(cumulative, first + chance[queries] * (last - first), "right") - 1
            nearest[queries] = order[at.clip(max=len(order) - 1)]
        return nearest

    def histories(self, users: int, length: int) -> Ints:
        """The ids (N, L) that `users` users draw."""
        tastes = self.tastes(users).repeat(length, 0)
        return self.near(tastes + self.rng.normal(0, self.width, tastes.shape)).reshape(users, length)

    def neighbours(self, queries: Ints, pool: Ints) -> Ints:
        """The ids (N, 10) of the pool nearest to the queries (N,), themselves excluded."""
        tree = KDTree(self.places[pool], boxsize=1)
        nearest = pool[tree.query(self.places[queries], NEAR + 1)[1]]
        own = nearest == queries[:, None]
        own[~own.any(1), NEAR] = True
        return np.asarray(nearest[~own].reshape(len(queries), NEAR))


def split(user: int) -> str:
    """The split of a user, by a hash of the number."""
    place = recipe_tools.hash_fraction(f"user {user}")
    return "dev" if place < 0.01 else "test" if place < 0.02 else "train"


def events(path: Path, catalogue: Catalogue, users: int, length: int) -> Ints:
    """Write a row for each user, and count how often each id occurs in the training rows."""
    counts = np.zeros(len(catalogue.places), np.int64)
    schema = pa.schema(
        {"id": pa.string(), "split": pa.string(), "history": pa.list_(pa.int32(), length - 1), "item": pa.int32()}
    )
    with atomic_write(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for first in range(0, users, BLOCK):
            numbers = range(first, min(first + BLOCK, users))
            ids = catalogue.histories(len(numbers), length)
            splits = np.array([split(number) for number in numbers])
            counts += np.bincount(ids[splits == "train"].ravel(), minlength=len(counts))
            lists = pa.FixedSizeListArray.from_arrays(pa.array(ids[:, :-1].ravel(), pa.int32()), length - 1)
            columns = [[f"user {number}" for number in numbers], splits, lists, pa.array(ids[:, -1], pa.int32())]
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema))
    return counts


def content(catalogue: Catalogue) -> dict[str, Any]:
    """The content of the ids: a category, a tenth of them wrong, and a price that varies along the torus."""
    corner = (catalogue.places * 9).astype(np.int64) @ 9 ** np.arange(DIMS)
    wrong = catalogue.rng.random(len(corner)) < 0.1
    corner[wrong] = catalogue.rng.integers(9**DIMS, size=int(wrong.sum()))
    price = np.exp(np.sin(2 * np.pi * catalogue.places[:, 0]) + catalogue.rng.normal(3, 0.3, len(corner)))
    items = np.arange(len(corner), dtype=np.int32)
    categories = [f"c{number}" for number in corner]
    return {"id": list(map(str, items)), "item": items, "category": categories, "price": price.round(2)}


def pairs(catalogue: Catalogue, counts: Ints, queries_per_split: int, least: int) -> dict[str, Any]:
    """Query ids, each with its nearest neighbours; and the pool of candidates."""
    pool = np.flatnonzero(counts >= least)
    if len(pool) <= max(NEAR, 2 * queries_per_split):
        wrong = f"{len(pool)} ids were drawn {least} times, too few to ask for {2 * queries_per_split}"
        raise UsageError("--least", wrong, "give more --events, or a smaller --least or --held")
    queries = catalogue.rng.permutation(pool)[: 2 * queries_per_split]
    near = catalogue.neighbours(queries, pool)
    splits = np.repeat(["dev", "test"], queries_per_split * NEAR).tolist() + ["pool"] * len(pool)
    items = [*queries.repeat(NEAR).tolist(), *[None] * len(pool)]
    return {"id": [f"{number}" for number in range(len(items))], "split": splits, "item": pa.array(items, pa.int32()),
            "history": np.concatenate([near.ravel(), pool]).astype(np.int32)}  # fmt: skip


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, "")
    numbers = {"users": 1_000_000, "items": 500_000, "events": 8_000_000, "held": 2000, "least": 20, "seed": 0}
    for name, value in numbers.items():
        arguments.add_argument(f"--{name}", type=int, default=value, help=f"{value:,} if not given")
    options = arguments.parse_intermixed_args()
    if len(options.places) != 1:
        raise UsageError("prepare.py", "it writes one folder and reads none", "python recipes/catalogue/prepare.py OUT")
    length = options.events // max(1, options.users)
    if length < 2 or options.items < CELL:
        wrong = f"{options.events} events of {options.users} users and {options.items} ids make no histories"
        raise UsageError("--events", wrong, f"give at least 2 events a user and {CELL} ids")
    out, catalogue = Path(options.places[0]), Catalogue(options.items, options.seed)
    counts = events(out / "rows.parquet", catalogue, options.users, length)
    for name, columns in {
        "items": content(catalogue),
        "neighbours": pairs(catalogue, counts, options.held, options.least),
    }.items():
        with atomic_write(out / f"{name}.parquet") as file:
            parquet.write_table(pa.table(columns), file, compression="zstd")
    ids = int((counts > 0).sum())
    print(f"{out}: {options.users} users, histories of {length - 1} and the next; {ids} of {options.items} ids drawn")


if __name__ == "__main__":
    recipe_tools.run_script(main)
