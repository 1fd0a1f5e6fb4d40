"""Experiment: gradient boosting on the tables of homes, the baseline of homes/boston, california and ames.

    python recipes/homes/experiments/baselines.py out/boston/1 out/boston/2 out/boston/3 out/boston/4 out/boston/5
    python recipes/homes/experiments/baselines.py out/california --target price

Each TABLE is one fold. scikit-learn's HistGradientBoostingRegressor takes the numbers as they are (a missing one is
its own branch), the kinds as categories, amenities that 20 rows have as 0 or 1, and words as 50 dimensions of the
singular value decomposition of their TF-IDF. Its settings are chosen on the `dev` rows, it is fitted on the `train`
rows, and metrics are of the `test` rows, with bootstrap intervals over `group`, as in the recipe.
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
        UsageError: the table is missing, or has no test rows.
    """
    path = folder / "rows.jsonl"
    if not path.is_file():
        raise UsageError(folder, "rows.jsonl is missing", "make it by recipes/homes/prepare.py")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if {"train", "dev", "test"} - {row["split"] for row in rows}:
        raise UsageError(path, "it has no train, dev or test rows", "give prepare.py a --fold")
    return rows


def features(rows: Table, train: NDArray[np.bool_], words: bool) -> tuple[NDArray[np.float64], list[int]]:
    """The features (N, F) of all rows, fitted on the training rows, and the numbers of the categorical ones."""
    names = sorted({name for row in rows for name, cell in row.items() if isinstance(cell, int | float)} - {*TARGETS})
    parts = [np.array([[row.get(name, np.nan) for name in names] for row in rows], float)]
    kinds = [dict(kind.split("=", 1) for kind in row.get("kinds", [])) for row in rows]
    train_rows = [row for row, fitted in zip(rows, train, strict=True) if fitted]
    columns = []
    for name in sorted({name for row in kinds for name in row}):
        counts_of_kind = Counter(row.get(name, "") for row, fitted in zip(kinds, train, strict=True) if fitted)
        # It takes at most 255 categories.
        code = {value: number for number, (value, _) in enumerate(counts_of_kind.most_common(254))}
        columns.append([code.get(row.get(name, ""), np.nan) for row in kinds])
    parts.append(np.array(columns, float).reshape(len(columns), len(rows)).T)
    counts = Counter(amenity for row in train_rows for amenity in row.get("amenities", []))
    common = sorted(amenity for amenity, count in counts.items() if count >= 20)
    have = [set(row.get("amenities", [])) for row in rows]
    parts.append(np.array([[amenity in row for amenity in common] for row in have], float))
    if words and any("words" in row for row in rows):
        texts = [row.get("words", "") for row in rows]
        weigh = TfidfVectorizer(min_df=3, sublinear_tf=True, stop_words="english")
        weigh.fit([row.get("words", "") for row in train_rows])
        terms = weigh.transform(texts)
        width = min(DIMENSIONS, terms.shape[1] - 1)
        parts.append(TruncatedSVD(width, random_state=0).fit(terms[train]).transform(terms))
    first = len(names)
    return np.concatenate(parts, 1), list(range(first, first + len(columns)))


def evaluate_table(rows: Table, target: str, words: bool = True, seed: int = 0) -> dict[str, Any]:
    """The metrics of a table, with intervals, and the settings chosen on its dev rows."""
    split = np.array([row["split"] for row in rows])
    x, categories = features(rows, split == "train", words)
    y = np.array([row[target] for row in rows])
    train, dev, test = (split == name for name in ("train", "dev", "test"))
    candidates = []
    for settings in SETTINGS:
        trees = HistGradientBoostingRegressor(categorical_features=categories, random_state=seed, **settings)
        trees.fit(x[train], y[train])
        candidates.append((float(np.square(trees.predict(x[dev]) - y[dev]).mean()), trees, settings))
    _, best, settings = min(candidates, key=lambda candidate: candidate[0])
    units = [row["group"] for row, is_test in zip(rows, test, strict=True) if is_test]
    return prediction.regression(y[test], best.predict(x[test]), float(y[train].mean()), units) | {"settings": settings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE", help="a folder that prepare.py wrote")
    parser.add_argument("--target", choices=TARGETS, default="log_price")
    parser.add_argument("--without-words", action="store_true", help="leave the words out")
    options = parser.parse_args()
    metrics_of_tables = []
    for folder in options.tables:
        metrics = evaluate_table(read(folder), options.target, not options.without_words)
        metrics_of_tables.append(metrics)
        texts = [f"{name} {show(metrics[name])}" for name in ("r2", "rmse")]
        print(f"{folder}: {', '.join(texts)}; {metrics['settings'] or 'as they come'}")
    for name in ("r2", "rmse"):
        print(f"mean {name}: {np.mean([metrics[name]['value'] for metrics in metrics_of_tables]):.4g}")


def show(metric: dict[str, float]) -> str:
    """A metric with its interval."""
    return f"{metric['value']:.4g} ({metric['low']:.4g} - {metric['high']:.4g})"


if __name__ == "__main__":
    recipe_tools.run_script(main)
