"""Experiment: predict the type of a tune from the frozen embedding of its notes, against an SVM over histograms.

    python recipes/notes/experiments/frozen.py runs/notes-tunes out/tunes
    python recipes/notes/experiments/frozen.py runs/notes-tunes out/tunes --split dev

Every classifier is fitted on the rows of train and dev, or on those of train if `--split dev`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from jointembed import Embedder, recipe_tools
from jointembed.evaluation.prediction import classification

PARTS = ["interval", "duration", "place"]  # the parts of a note in the table


def histograms(parts: list[str]) -> Callable[[list[list[str]]], list[dict[str, float]]]:
    """Tunes -> the share of each value of these parts among the notes of each tune."""

    def count_values(tunes: list[list[str]]) -> list[dict[str, float]]:
        shares = []
        for notes in tunes:
            values = [f"{part} {value}" for note in notes for part, value in zip(PARTS, note.split(), strict=True)
                      if part in parts]  # fmt: skip
            names, counts = np.unique(values, return_counts=True)
            shares.append(dict(zip(names.tolist(), (counts / len(notes)).tolist(), strict=True)))
        return shares

    return count_values


def classifiers(run: str) -> dict[str, Any]:
    """The classifiers to compare, by their printed names."""

    def baseline(parts: list[str]) -> Any:
        count_values = make_pipeline(FunctionTransformer(histograms(parts)), DictVectorizer(sparse=False))
        return make_pipeline(count_values, StandardScaler(), SVC(C=10))

    frozen = Embedder(run, "notes")
    return {
        "histograms of intervals and durations, SVM": baseline(PARTS[:2]),
        "the same and of places in the bar, SVM": baseline(PARTS),
        "frozen embedding, 5-NN": make_pipeline(clone(frozen), KNeighborsClassifier(5)),
        "frozen embedding, linear": make_pipeline(
            clone(frozen), StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the folder of a run of notes/tunes")
    parser.add_argument("table", type=Path, help="the folder that prepare.py wrote")
    parser.add_argument("--split", default="valid", help="the split to report on")
    options = parser.parse_args()
    lines = (options.table / "rows.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "type" in row]
    test = [row for row in rows if row["split"] == options.split]
    train = [row for row in rows if row["split"] in {"train", "dev"} - {options.split}]
    right, types = [row["type"] for row in test], [row["type"] for row in train]
    common = max(sorted(set(types)), key=types.count)
    print(f"{len(test)} tunes of {options.split}; always {common}: {right.count(common) / len(right):.3f}")
    for name, model in classifiers(options.run).items():
        model.fit([row["notes"] for row in train], types)
        for key, metric in classification(right, model.predict([row["notes"] for row in test]), common).items():
            print(f"{name}: {key} {metric['value']:.3f} ({metric['low']:.3f} - {metric['high']:.3f})")


if __name__ == "__main__":
    recipe_tools.run_script(main)
