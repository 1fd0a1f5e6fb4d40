"""Experiment: the error of the means of users and films, the baseline of `rating.yaml`.

    python recipes/movies/experiments/mean_baselines.py TABLE [SPLIT]

TABLE is the output of `prepare.py` on MovieLens 100k.
"""

from __future__ import annotations

import sys

import numpy as np

from jointembed import recipe_tools
from jointembed.data.rows import Rows
from jointembed.errors import UsageError
from jointembed.evaluation.prediction import regression

NAMES = {"user_mean", "film_mean", "near_films", "near_users"}


def main() -> None:
    if not 2 <= len(sys.argv) <= 3:
        raise UsageError(sys.argv[0], "a table is needed", "give the folder that prepare.py wrote of MovieLens 100k")
    rows, split = Rows.open(sys.argv[1]).dicts(), (sys.argv[2:] or ["test"])[0]
    test = [row for row in rows if row["split"] == split]
    if not test or not set(test[0]) >= NAMES:
        raise UsageError(sys.argv[1], f"no row of {split} has facts", "run prepare.py of MovieLens 100k again")
    mean = float(np.mean([row["stars"] for row in rows if row["split"] == "train"]))
    stars = np.array([float(row["stars"]) for row in test])
    means = mean + np.array([row["user_mean"] + row["film_mean"] for row in test])
    near = np.array([[row["near_films"], row["near_users"]] for row in test]).mean(1)
    for name, predictions in (("means of user and film", means), ("and neighbours", means + near)):
        rmse = regression(stars, np.clip(predictions, 1, 5), mean, [row["user"] for row in test])["rmse"]
        interval = "" if rmse["low"] is None else f" ({rmse['low']:.4f} - {rmse['high']:.4f})"
        print(f"{name}: rmse {rmse['value']:.4f}{interval}; {len(test)} ratings")


if __name__ == "__main__":
    recipe_tools.run_script(main)
