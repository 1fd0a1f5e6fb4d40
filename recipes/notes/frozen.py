"""The type of a tune from the frozen embedding of its notes, beside an SVM over histograms of the same notes.

    python recipes/notes/frozen.py runs/notes-tunes out/tunes
    python recipes/notes/frozen.py runs/notes-tunes out/tunes --split dev

Every classifier is fitted on the same rows: those of train and dev, and of train alone where dev is asked about.
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

PARTS = ["interval", "duration", "place"]  # of a note, as prepare.py writes it


def histograms(parts: list[str]) -> Callable[[list[list[str]]], list[dict[str, float]]]:
    """Tunes -> the share of each value of these parts among the notes of each tune."""

    def counted(tunes: list[list[str]]) -> list[dict[str, float]]:
        found = []
        for notes in tunes:
            values = [f"{part} {value}" for note in notes for part, value in zip(PARTS, note.split(), strict=True)
                      if part in parts]  # fmt: skip
            names, counts = np.unique(values, return_counts=True)
            found.append(dict(zip(names.tolist(), (counts / len(notes)).tolist(), strict=True)))
        return found

    return counted


def classifiers(run: str) -> dict[str, Any]:
    """What is compared, by the name that is printed."""

    def baseline(parts: list[str]) -> Any:
        counted = make_pipeline(FunctionTransformer(histograms(parts)), DictVectorizer(sparse=False))
        return make_pipeline(counted, StandardScaler(), SVC(C=10))

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
    parser.add_argument("--split", default="valid", help="rows that are asked about")
    options = parser.parse_args()
    lines = (options.table / "rows.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "type" in row]
    asked = [row for row in rows if row["split"] == options.split]
    known = [row for row in rows if row["split"] in {"train", "dev"} - {options.split}]
    right, types = [row["type"] for row in asked], [row["type"] for row in known]
    common = max(sorted(set(types)), key=types.count)
    print(f"{len(asked)} tunes of {options.split}; always {common}: {right.count(common) / len(right):.3f}")
    for name, model in classifiers(options.run).items():
        model.fit([row["notes"] for row in known], types)
        for figure, one in classification(right, model.predict([row["notes"] for row in asked]), common).items():
            print(f"{name}: {figure} {one['value']:.3f} ({one['low']:.3f} - {one['high']:.3f})")


if __name__ == "__main__":
    recipe_tools.run_script(main)
