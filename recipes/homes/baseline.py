"""Gradient boosting on the tables that prepare.py makes: what homes/boston, california and ames are measured against.

    python recipes/homes/baseline.py out/boston/1 out/boston/2 out/boston/3 out/boston/4 out/boston/5
    python recipes/homes/baseline.py out/california --target price

Each TABLE is one fold. scikit-learn's HistGradientBoostingRegressor takes the numbers as they are (a missing one is
its own branch), the kinds as categories, amenities that 20 rows have as 0 or 1, and words as 50 dimensions of the
singular value decomposition of their TF-IDF. Its settings are chosen on the `dev` rows, it is fitted on the `train`
rows, and figures are of the `test` rows, with bootstrap intervals over `group`: the rows that the recipe has, too.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer

from jointembed import recipe_tools
from jointembed.errors import UsageError
from jointembed.evaluation import prediction

SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_iter": 300, "learning_rate": 0.05},
    {"max_iter": 600, "learning_rate": 0.05, "max_leaf_nodes": 15, "l2_regularization": 1.0},
    {"max_iter": 1000, "learning_rate": 0.03, "max_leaf_nodes": 31, "l2_regularization": 10.0},
]
TARGETS = ("price", "log_price")
DIMENSIONS = 50
Table = list[dict[str, Any]]


def read(folder: Path) -> Table:
    """The rows of a table that has test rows.

    Raises:
        UsageError: there is none, or nothing is tested.
    """
    path = folder / "rows.jsonl"
    if not path.is_file():
        raise UsageError(folder, "there is no rows.jsonl", "make it by recipes/homes/prepare.py")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if {"train", "dev", "test"} - {row["split"] for row in rows}:
        raise UsageError(path, "it has no train, dev or test rows", "give prepare.py a --fold")
    return rows


def features(rows: Table, train: NDArray[np.bool_], words: bool) -> tuple[NDArray[np.float64], list[int]]:
    """The features (N, F) of all rows, and which of them are categories; what is learned comes of the train rows."""
    names = sorted({name for row in rows for name, cell in row.items() if isinstance(cell, int | float)} - {*TARGETS})
    parts = [np.array([[row.get(name, np.nan) for name in names] for row in rows], float)]
    kinds = [dict(kind.split("=", 1) for kind in row.get("kinds", [])) for row in rows]
    known = [row for row, fitted in zip(rows, train, strict=True) if fitted]
    columns = []
    for name in sorted({name for row in kinds for name in row}):
        seen = Counter(row.get(name, "") for row, fitted in zip(kinds, train, strict=True) if fitted)
        # It takes at most 255 categories.
        code = {value: number for number, (value, _) in enumerate(seen.most_common(254))}
        columns.append([code.get(row.get(name, ""), np.nan) for row in kinds])
    parts.append(np.array(columns, float).reshape(len(columns), len(rows)).T)
    counts = Counter(one for row in known for one in row.get("amenities", []))
    common = sorted(one for one, count in counts.items() if count >= 20)
    have = [set(row.get("amenities", [])) for row in rows]
    parts.append(np.array([[one in row for one in common] for row in have], float))
    if words and any("words" in row for row in rows):
        texts = [row.get("words", "") for row in rows]
        weigh = TfidfVectorizer(min_df=3, sublinear_tf=True, stop_words="english")
        weigh.fit([row.get("words", "") for row in known])
        terms = weigh.transform(texts)
        width = min(DIMENSIONS, terms.shape[1] - 1)
        parts.append(TruncatedSVD(width, random_state=0).fit(terms[train]).transform(terms))
    first = len(names)
    return np.concatenate(parts, 1), list(range(first, first + len(columns)))


def measured(rows: Table, target: str, words: bool = True, seed: int = 0) -> dict[str, Any]:
    """The figures of one table, each with its interval, and the settings that its dev rows chose."""
    split = np.array([row["split"] for row in rows])
    x, categories = features(rows, split == "train", words)
    y = np.array([row[target] for row in rows])
    train, dev, test = (split == name for name in ("train", "dev", "test"))
    tried = []
    for settings in SETTINGS:
        trees = HistGradientBoostingRegressor(categorical_features=categories, random_state=seed, **settings)
        trees.fit(x[train], y[train])
        tried.append((float(np.square(trees.predict(x[dev]) - y[dev]).mean()), trees, settings))
    _, best, settings = min(tried, key=lambda one: one[0])
    units = [row["group"] for row, asked in zip(rows, test, strict=True) if asked]
    return prediction.regression(y[test], best.predict(x[test]), float(y[train].mean()), units) | {"settings": settings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE", help="a folder that prepare.py wrote")
    parser.add_argument("--target", choices=TARGETS, default="log_price")
    parser.add_argument("--without-words", action="store_true", help="leave the words out")
    options = parser.parse_args()
    found = []
    for folder in options.tables:
        figures = measured(read(folder), options.target, not options.without_words)
        found.append(figures)
        shown = [f"{name} {show(figures[name])}" for name in ("r2", "rmse")]
        print(f"{folder}: {', '.join(shown)}; {figures['settings'] or 'as they come'}")
    for name in ("r2", "rmse"):
        print(f"mean {name}: {np.mean([figures[name]['value'] for figures in found]):.4g}")


def show(figure: dict[str, float]) -> str:
    """A figure with its interval."""
    return f"{figure['value']:.4g} ({figure['low']:.4g} - {figure['high']:.4g})"


if __name__ == "__main__":
    recipe_tools.run_script(main)
