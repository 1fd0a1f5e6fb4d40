"""Experiment: few-shot learning with a frozen encoder, against training from scratch.

    python recipes/reuse/experiments/fewshot.py runs/reuse-known out/reuse

RUN is a model with a column of sound, and TABLE the table that it was trained on; the labels of its rows `unseen` did
not occur in training. Each draw takes a few of these rows for each label as examples, and predicts the labels of the
others. There are four methods:

- frozen, scikit-learn: logistic regression over the vectors of `Embedder`.
- frozen, jointembed: the vectors are the column of another JointEmbedding, with a small network and the labels.
- spectrogram, scikit-learn: logistic regression over the mean and the standard deviation of each band.
- from scratch: the same encoder, with the same augmentation, trained on the examples only.

It prints the accuracy: its mean over the draws and the 95 % interval of that mean (Student's t).
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jointembed import (
    MLP,
    Category,
    Embedder,
    EmbeddingBag,
    JointEmbedding,
    Match,
    Numbers,
    Space,
    TableData,
    recipe_tools,
)
from jointembed.config import from_config, to_config
from jointembed.data.rows import Rows
from jointembed.errors import UsageError, did_you_mean

Row = dict[str, Any]
Method = Callable[[list[Row], list[Row]], NDArray[Any]]  # examples, questions -> the answers to these


def train(model: JointEmbedding, rows: list[Row], steps: int, seed: int, cache: Path) -> TableData:
    """Train a model on a few rows for `steps` steps; returns its table."""
    lightning.seed_everything(seed, verbose=False)
    batch = min(32, len(rows))
    data = TableData([{**row, "split": "train"} for row in rows], batch_size=batch, seed=seed, cache=str(cache))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning has advice for longer trainings
        trainer = lightning.Trainer(
            max_epochs=max(1, steps // (len(rows) // batch)),
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(model, data)
    return data


def nearest(space: Space, label: str, rows: list[Row], z: NDArray[np.float32]) -> NDArray[Any]:
    """For each of the vectors z (N, D), the label of the rows that is nearest to it."""
    labels = np.array(sorted({row[label] for row in rows}))
    return labels[(z @ space.embed(label, labels.tolist()).T).argmax(1)]


def make_methods(run: Path, table: Path, rows: list[Row], column: str, label: str, steps: int) -> dict[str, Method]:
    """The four methods by their names; whatever does not depend on the examples is computed here, once."""
    embedder = Embedder(run, column)
    vectors = embedder.fit_transform([row[column] for row in rows])
    names = embedder.get_feature_names_out().tolist()
    for row, vector in zip(rows, vectors, strict=True):
        row |= dict(zip(names, vector.tolist(), strict=True))
    pretrained = JointEmbedding.load(run)
    encoder, reader = to_config(pretrained.space.encoder(column)), pretrained.space.reader(column)
    frames = [reader.preprocess(row[column]) for row in rows]
    bands = {row["id"]: np.r_[array.mean(0), array.std(0)] for row, array in zip(rows, frames, strict=True)}
    cache = table / ".jointembed"

    def linear(features: Callable[[Row], Any]) -> Method:
        def method(examples: list[Row], questions: list[Row]) -> NDArray[Any]:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit([features(row) for row in examples], [row[label] for row in examples])
            return np.asarray(model.predict([features(row) for row in questions]))

        return method

    def frozen_space(examples: list[Row], questions: list[Row]) -> NDArray[Any]:
        encoders = {"vector": MLP(Numbers(names), 64), label: EmbeddingBag(Category())}
        model = JointEmbedding(len(names), encoders, [Match("vector", label, "all")], lr=3e-3, weight_decay=0.1)
        train(model, examples, steps, 0, cache)
        return nearest(model.space, label, examples, model.space.embed("vector", questions))

    def scratch(examples: list[Row], questions: list[Row]) -> NDArray[Any]:
        encoders = {column: from_config(encoder), label: EmbeddingBag(Category())}
        mixup = {name: share for name, share in pretrained.mixup.items() if name == column}
        model = JointEmbedding(
            pretrained.space.dim,
            encoders,
            [Match(column, label, "all")],
            mixup=mixup,
            lr=pretrained.lr,
            weight_decay=pretrained.weight_decay,
        )
        data = train(model, examples, steps, 0, cache)
        vectors = model.space.embed(column, [row[column] for row in questions], load=data.load)
        return nearest(model.space, label, examples, vectors)

    return {
        "frozen, scikit-learn": linear(lambda row: [row[name] for name in names]),
        "frozen, jointembed": frozen_space,
        "spectrogram, scikit-learn": linear(lambda row: bands[row["id"]]),
        "from scratch": scratch,
    }


def draw_examples(rows: list[Row], label: str, shots: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows into `shots` examples for each label, and all others as questions."""
    order = np.random.default_rng(seed).permutation(len(rows))
    counts: dict[Any, int] = {}
    examples, questions = [], []
    for row in (rows[index] for index in order):
        counts[row[label]] = counts.get(row[label], 0) + 1
        (examples if counts[row[label]] <= shots else questions).append(row)
    return examples, questions


def interval(values: list[float]) -> str:
    """The mean of values, and its 95 % interval."""
    mean, error = np.mean(values), stats.sem(values) if len(values) > 1 else np.nan
    wide = stats.t.ppf(0.975, max(1, len(values) - 1)) * error
    return f"{mean:.3f} ({max(0, mean - wide):.3f} - {min(1, mean + wide):.3f})" if np.isfinite(wide) else f"{mean:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="a checkpoint, or the folder of a run")
    parser.add_argument("table", type=Path, metavar="TABLE", help="the folder that prepare.py wrote")
    parser.add_argument("--column", default="speech", help="of sound (speech)")
    parser.add_argument("--label", default="digit", help="column of what is asked for (digit)")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 20], help="examples a class (1 5 20)")
    parser.add_argument("--draws", type=int, default=5, help="of the examples (5)")
    parser.add_argument("--steps", type=int, default=200, help="of training a network (200)")
    options = parser.parse_args()
    table = Rows.open(options.table)
    for name in ("split", options.column, options.label):
        if name not in table.columns:
            raise UsageError(name, "the table has no such column", did_you_mean(name, table.columns))
    rows = [row for row in table.dicts(paths=[options.column]) if row["split"] == "unseen"]
    sizes = [sum(row[options.label] == label for row in rows) for label in {row[options.label] for row in rows}]
    if len(sizes) < 2 or min(sizes) <= max(options.shots):
        raise UsageError(
            options.table, "too few rows are unseen for so many examples", "give fewer --shots, or more rows"
        )
    for part in ("lightning.pytorch", "lightning.fabric"):  # which would log the hardware of every short training
        logging.getLogger(part).setLevel(logging.WARNING)
    methods = make_methods(options.run, options.table, rows, options.column, options.label, options.steps)
    print(f"{len(sizes)} labels, chance {1 / len(sizes):.2f}; examples a label: {options.shots}")
    for name, method in methods.items():
        cells = []
        for shots in options.shots:
            right = []
            for draw in range(options.draws):
                examples, questions = draw_examples(rows, options.label, shots, draw)
                answers = method(examples, questions)
                right.append(
                    float(
                        np.mean([row[options.label] == answer for row, answer in zip(questions, answers, strict=True)])
                    )
                )
            cells.append(interval(right))
        print(f"{name:26} " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    recipe_tools.run_script(main)
