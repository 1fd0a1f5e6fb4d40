"""Homes and their prices, as a table; one of three data sets, detected by the header of the source.

    python recipes/homes/prepare.py data/airbnb out/boston --fold 1       # Inside Airbnb's listings.csv
    python recipes/homes/prepare.py data/california out/california --fold 1
    python recipes/homes/prepare.py data/ames out/ames --fold 1

- Airbnb (`listings.csv`): the price of a night, words of the advert, numbers, kinds and the place. Listings that
  share a description or a host are on one side of every split.
- California (`california_housing.csv` or `housing.csv`): the median value of a district.
- Ames (`ames.csv` or `AmesHousing.csv`): the price of a house from 80 columns.

`price` is what is paid, `log_price` its natural logarithm. A tenth or so is `dev`, the same rows whatever `--fold` is:
settings that they chose are reported on none of them. Of the others `--fold N` makes the Nth fifth `test`. All is drawn
by a hash, so it is the same everywhere. `--only NAME` takes one table of a folder that holds several.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError, did_you_mean

FETCH = (
    "fetch listings.csv.gz of a city from https://insideairbnb.com/get-the-data (2 MB, CC BY 4.0) into data/airbnb, "
    "then run prepare.py data/airbnb out/boston; or fetch housing.csv of https://github.com/ageron/data (1 MB, no "
    "licence is stated) into data/california, then run prepare.py data/california out/california; or fetch "
    "AmesHousing.csv of De Cock (1 MB, no licence is stated) into data/ames, then run prepare.py data/ames out/ames"
)
FOLDS = 5
NAMES = {
    "airbnb": ["listings*.csv*", "airbnb*.csv*"],
    "california": ["*housing.csv*"],
    "ames": ["ames.csv*", "AmesHousing.csv*"],
}
AIRBNB = {
    "numbers": "accommodates bathrooms bedrooms beds minimum_nights availability_365 number_of_reviews "
    "review_scores_rating review_scores_location review_scores_value reviews_per_month host_listings_count",
    "kinds": "neighbourhood_cleansed property_type room_type bathrooms_text host_is_superhost instant_bookable",
}
CALIFORNIA = {
    "numbers": "housing_median_age total_rooms total_bedrooms population households median_income",
    "kinds": "ocean_proximity",
}


def read(source: Path, only: str | None) -> list[dict[str, str]]:
    """The rows of the first table of homes that a source holds.

    Args:
        source: the folder.
        only: take the table of this name in `NAMES`.

    Raises:
        UsageError: the table does not exist.
        DamagedError: it cannot be read.
    """
    for pattern in NAMES[only] if only else [pattern for several in NAMES.values() for pattern in several]:
        for path in sorted(source.glob(pattern)):
            data = path.read_bytes()
            try:
                text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
            except (OSError, EOFError, UnicodeDecodeError) as error:
                raise DamagedError(path, f"it cannot be read ({error})", "fetch it again") from error
            return list(csv.DictReader(text.splitlines(keepends=True)))
    raise UsageError(source, "it has no table of homes", FETCH)


def number(text: str | None) -> float | None:
    """A number as published: `$1,250.00`, `80%`, or nothing."""
    digits = re.sub(r"[$,%]", "", text or "").strip()
    try:
        value = float(digits)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def cells(home: dict[str, str], numbers: str, kinds: str) -> recipe_tools.Row:
    """The numbers and kinds of a home that are there."""
    row: recipe_tools.Row = {name: value for name in numbers.split() if (value := number(home.get(name))) is not None}
    return row | {"kinds": [f"{name}={home[name]}" for name in kinds.split() if home.get(name)]}


def airbnb(homes: list[dict[str, str]]) -> Iterator[recipe_tools.Row]:
    """Listings with a price; `group` ties those of one host or of one description."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    def ties(home: dict[str, str]) -> list[str]:
        host = home.get("host_id") or f"{home.get('host_since')} {home.get('host_listings_count')}"
        return [f"home {home['id']}", f"host {host}", f"words {home.get('description') or home['id']}"]

    for home in homes:
        first, *aliases = ties(home)
        for alias in aliases:
            parents[root(alias)] = root(first)
    for home in homes:
        price = number(home.get("price"))
        if price:
            words = [home.get(name) or "" for name in ("name", "description", "neighborhood_overview")]
            listed = json.loads(home.get("amenities") or "[]")
            place = {name: number(home.get(name)) for name in ("latitude", "longitude")}
            row = {"id": home["id"], "group": root(ties(home)[0]), "price": price, "words": " ".join(words).strip()}
            yield {**row, **place, "amenities": listed or None, **cells(home, **AIRBNB)}


def california(homes: list[dict[str, str]]) -> Iterator[recipe_tools.Row]:
    """Districts; ratios are what they differ by, so they stand beside the counts."""
    for at, home in enumerate(homes):
        row = cells(home, **CALIFORNIA)
        place = {name: number(home[name]) for name in ("latitude", "longitude")}
        each = {
            "rooms_each": row["total_rooms"] / row["households"],
            "people_each": row["population"] / row["households"],
            "bedrooms_each": row["total_bedrooms"] / row["total_rooms"] if "total_bedrooms" in row else None,
        }
        yield {"id": str(at), "group": str(at), "price": number(home["median_house_value"]), **place, **each, **row}


def ames(homes: list[dict[str, str]]) -> Iterator[recipe_tools.Row]:
    """Houses: what is a number in every row is one, all else is a kind."""
    names = [name for name in homes[0] if name not in ("Id", "Order", "PID", "SalePrice", "MS SubClass")]
    counted = {
        name for name in names if all(number(home[name]) is not None or home[name] in ("", "NA") for home in homes)
    }
    for home in homes:
        kinds = [f"{name}={home[name].strip()}" for name in ("MS SubClass", *names) if name not in counted]
        facts = {_plain(name): number(home[name]) for name in sorted(counted)}
        row = {"id": home["PID"], "group": home["PID"], "price": number(home["SalePrice"]), "kinds": kinds}
        yield {**row, "neighborhood": home["Neighborhood"], **facts}


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--fold", metavar="N", type=int, help=f"make the Nth of {FOLDS} parts the test rows")
    arguments.add_argument("--only", metavar="NAME", help=f"take this table of a folder: {', '.join(NAMES)}")
    sources, out, options = arguments.read()
    if options.only and options.only not in NAMES:
        raise UsageError(f"--only {options.only}", "the table does not exist", did_you_mean(options.only, NAMES))
    if options.fold is not None and not 1 <= options.fold <= FOLDS:
        raise UsageError(f"--fold {options.fold}", f"the fold must be between 1 and {FOLDS}", "choose another fold")
    homes = read(sources[0], options.only)
    header = set(homes[0]) if homes else set()
    kind = airbnb if "amenities" in header else california if "median_house_value" in header else ames
    if kind is ames and "SalePrice" not in header:
        raise DamagedError(sources[0], "its header is not that of one of the three data sets", FETCH)
    rows = []
    for row in kind(homes):
        share = recipe_tools.hash_fraction(row["group"])
        fold, rest = int(share * FOLDS) + 1, share * FOLDS % 1
        row["split"] = "dev" if rest < 0.1 else "test" if fold == options.fold else "train"
        rows.append(
            {**{name: cell for name, cell in row.items() if cell is not None}, "log_price": math.log(row["price"])}
        )
    recipe_tools.write_rows(out, rows, split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
