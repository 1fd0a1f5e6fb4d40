"""The alarm tells trainings that learn nothing from those that learn."""

import csv

import numpy as np
import pytest
import torch

from jointembed import (
    MLP,
    BagOfWords,
    Category,
    CausalTransformer,
    EmbeddingBag,
    JointEmbedding,
    Loss,
    Match,
    NextItem,
    Numbers,
    PiecewiseLinear,
    Regression,
    TableData,
    Trainer,
)
from jointembed.errors import DivergedError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(Checkpoint directory|Found .* in eval mode)"),
    pytest.mark.usefixtures("one_thread"),
]
COLUMNS = ["a", "b", "c"]
WORDS = {"x": "slow sad quiet waltz", "y": "fast happy loud reel", "z": "late night smoky jazz"}


class Attraction(Loss):
    """Draws each query to all candidates, and nothing away from anything."""

    symmetric = False

    def forward(self, scores, positives, candidates=None):
        return 1 - scores.mean(1)


class Dead(MLP):
    """A network whose last ReLU gives 0 only."""

    def pieces(self, x):
        return torch.relu(super().pieces(x) * 0 - 1)


def make_rows(seed, shuffled=False, constant=False):
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(192):
        kind = "xyz"[rng.integers(3)]
        numbers = np.eye(3)["xyz".index(kind)] * 2 + rng.normal(0, 0.5, 3)
        words = rng.choice(WORDS[kind].split(), 2, replace=False).tolist() + [f"w{rng.integers(30)}"]
        start = int(rng.integers(6))
        rows.append({
            "split": "dev" if n % 3 == 2 else "train", "genre": kind, "text": " ".join(words),
            "tags": WORDS[kind].split()[:2], "stars": float(numbers[0] * 2 - numbers[1]),
            "history": [f"f{(start + step) % 6}" for step in range(6)],
            **dict(zip(COLUMNS, [1.0] * 3 if constant else numbers.tolist(), strict=True)),
        })  # fmt: skip
    if shuffled:
        genres = rng.permutation([row["genre"] for row in rows])
        rows = [{**row, "genre": str(genre)} for row, genre in zip(rows, genres, strict=True)]
    return rows


def bag(reader):
    return EmbeddingBag(reader())


def train(folder, rows, encoders, objective, epochs=6, **settings):
    """Train a small model on 128 rows, evaluated on 64, and return what it logged last."""
    model = JointEmbedding(8, encoders, [objective], **{"lr": 0.02, **settings})
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision="32-true",
        default_root_dir=str(folder / "run"),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    trainer.fit(model, TableData(rows, batch_size=32))
    lines = csv.DictReader((folder / "run" / "metrics.csv").read_text().splitlines())
    return {name: float(value) for line in lines for name, value in line.items() if value}


def classify(**settings):
    return {"encoders": {"facts": MLP(Numbers(COLUMNS), 16, [16]), "genre": bag(Category)},
            "objective": Match("facts", "genre", "all")} | settings  # fmt: skip


HEALTHY = {
    "classes": classify,
    "pairs": lambda: {
        "encoders": {"text": bag(BagOfWords), "facts": MLP(Numbers(COLUMNS), 16)},
        "objective": Match("text", "facts"),
    },
    "tags": lambda: {
        "encoders": {"text": bag(BagOfWords), "tags": bag(Category)},
        "objective": Match("text", "tags", "all", "sigmoid"),
        "epochs": 12,
    },
    "regression": lambda: {
        "encoders": {"facts": MLP(PiecewiseLinear(COLUMNS), 16)},
        "objective": Regression("facts", "stars", [8]),
    },
    "next item": lambda: {
        "encoders": {"history": bag(Category)},
        "objective": NextItem("history", "all"),
        "pools": {"history": CausalTransformer(8, 1, 2)},
    },
    "fusion": lambda: {
        "encoders": {"facts": MLP(Numbers(COLUMNS), 8), "text": bag(BagOfWords), "genre": bag(Category)},
        "objective": Match("both", "genre", 2),
        "fusions": {"both": ["facts", "text"]},
    },
}
BROKEN = {
    "learning rate": lambda: classify(lr=1e5, weight_decay=0.0),
    "shuffled labels": lambda: classify(rows=make_rows(0, shuffled=True)),
    "constant input": lambda: classify(rows=make_rows(0, constant=True)),
    "dead network": lambda: classify(encoders={"facts": Dead(Numbers(COLUMNS), 16), "genre": bag(Category)}),
    "loss without negatives": lambda: classify(objective=Match("facts", "genre", loss=Attraction()), lr=0.1),
    "frozen": lambda: classify(lr=1e-12),
}


SLOW = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=SLOW), pytest.param(2, marks=SLOW)])
@pytest.mark.parametrize(
    "name", [name if name in ("pairs", "fusion") else pytest.param(name, marks=SLOW) for name in HEALTHY]
)
def test_training_that_learns_raises_no_alarm(name, seed, tmp_path, capsys):
    torch.manual_seed(seed)
    metrics = train(tmp_path, make_rows(seed), **HEALTHY[name]())
    assert "learns nothing" not in capsys.readouterr().err
    [share] = [value for key, value in metrics.items() if key.endswith("/loss_to_chance")]
    assert share < 0.9


@pytest.mark.parametrize(
    "name", [name if name in ("shuffled labels", "frozen") else pytest.param(name, marks=SLOW) for name in BROKEN]
)
def test_training_that_learns_nothing_is_reported_once(name, tmp_path, capsys):
    torch.manual_seed(0)
    settings = {"rows": make_rows(0), **BROKEN[name]()}
    try:
        train(tmp_path, **settings)
    except DivergedError:
        return  # that is said as loudly
    assert capsys.readouterr().err.count("the objective 0_facts_genre learns nothing") == 1


def test_a_loss_far_above_that_of_equal_scores_is_reported(tmp_path, capsys):
    torch.manual_seed(0)
    settings = {"encoders": {"text": bag(BagOfWords), "genre": bag(Category)}, "metric": "dot", "lr": 300.0}
    train(tmp_path, make_rows(0, shuffled=True), objective=Match("text", "genre", "all"), **settings)
    error = capsys.readouterr().err
    assert error.count("the objective 0_text_genre learns nothing") == 1
    assert "is far above that of vectors of zeros, 1.099" in error  # the logarithm of the number of genres


def test_dev_rows_without_the_columns_of_an_objective_raise_no_alarm(tmp_path, capsys):
    torch.manual_seed(0)
    rows = [{**row, "genre": None} if row["split"] == "dev" else row for row in make_rows(0)]
    metrics = train(tmp_path, rows, **classify())
    error = capsys.readouterr().err
    assert "no dev row has facts and genre" in error and "learns nothing" not in error
    assert not [name for name in metrics if name.endswith("/loss_to_chance")]


def test_collapse_is_measured_by_column(tmp_path, capsys):
    torch.manual_seed(0)
    metrics = train(tmp_path, make_rows(0, constant=True), **classify())
    assert metrics["health/facts/mean_cosine"] == pytest.approx(1)
    assert metrics["health/facts/effective_rank"] == pytest.approx(1)
    assert metrics["health/genre/effective_rank"] > 2
    assert "the vectors of facts are nearly equal (mean cosine 1.000)" in capsys.readouterr().err


def test_rows_without_dev_are_measured_in_training(tmp_path, capsys):
    rows = [{**row, "split": "train"} for row in make_rows(0, constant=True)]
    assert train(tmp_path, rows, **classify())["health/0_facts_genre/loss_to_chance"] == pytest.approx(1)
    assert "learns nothing" in capsys.readouterr().err
