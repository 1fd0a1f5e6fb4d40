"""An update that is not finite is skipped and counted, and a training that goes on with them stops."""

import json

import numpy as np
import pytest
import torch
import yaml

from jointembed import MLP, Category, EmbeddingBag, JointEmbedding, Match, Numbers, Regression, TableData, Trainer
from jointembed.__main__ import main
from jointembed.errors import DivergedError
from jointembed.space import checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.usefixtures("one_thread"),
]


class Faulty(Numbers):
    """Numbers whose value 666 is read as NaN, as a faulty reader would."""

    def preprocess(self, cell):
        return np.full(1, np.nan, np.float32) if cell == 666 else super().preprocess(cell)


class Steep(Regression):
    """A loss that is finite, with a gradient of NaN."""

    def forward(self, encoded, batch, space, dim=None):
        return super().forward(encoded, batch, space, dim) + (encoded["x"].z * 0).square().sum().sqrt()


def make_rows(*faulty, count=24):
    return [{"id": f"r{n}", "x": 666 if n in faulty else n % 5, "label": "ab"[n % 2]} for n in range(count)]


def train(folder, rows, objective=None, **options):
    """A model trained on rows, six a batch, and its trainer."""
    torch.manual_seed(0)
    encoders = {"x": MLP(Faulty(), 8), "label": EmbeddingBag(Category())}
    model = JointEmbedding(4, encoders, [objective or Match("x", "label", "all")])
    trainer = Trainer(
        precision="32-true",
        max_epochs=3,
        accelerator="cpu",
        default_root_dir=str(folder / "run"),
        enable_progress_bar=False,
        log_every_n_steps=1,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, TableData(rows, batch_size=6))
    return model, trainer


def read_records(folder):
    return [json.loads(line) for line in (folder / "run" / "non_finite.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_update_that_is_not_finite_is_skipped_and_its_row_is_named(accumulate, tmp_path, capsys):
    model, trainer = train(tmp_path, make_rows(7), accumulate_grad_batches=accumulate, gradient_clip_val=1.0)
    assert [(record["ids"], record["kind"]) for record in read_records(tmp_path)] == [(["r7"], "loss")] * 3
    assert "train/skipped_updates" in (tmp_path / "run" / "metrics.csv").read_text()
    assert trainer.callback_metrics["train/skipped_updates"] == 3
    checkpoint.load_weights(model, checkpoint.read(tmp_path / "run" / "last.ckpt")["state_dict"], tmp_path)
    err = capsys.readouterr().err
    assert err.count("so its update is skipped (row r7)") == 3 and "3 updates were not finite and skipped" in err


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_three_in_a_row_stop_the_training_and_change_nothing(kind, tmp_path):
    rows = make_rows(*range(24)) if kind == "loss" else make_rows()
    message = rf"the {kind} was not finite in 3 updates in a row, .*rows r\d+, "
    with pytest.raises(DivergedError, match=message) as error:
        train(tmp_path, rows, Steep("x", "x") if kind == "gradient" else None)
    assert error.value.code == 7
    assert [record["step"] for record in read_records(tmp_path)] == [0, 1, 2]
    assert all(len(record["ids"]) == 6 for record in read_records(tmp_path))
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_training_that_diverges_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in make_rows()))
    model = {
        "dim": 4,
        "encoders": {
            "x": {"class_path": "MLP", "init_args": {"reader": {"class_path": "Numbers"}}},
            "label": {"class_path": "EmbeddingBag", "init_args": {"reader": {"class_path": "Category"}}},
        },
        "objectives": [{"class_path": "Match", "init_args": {"query": "x", "target": "label", "candidates": "all"}}],
        "lr": 1e38,
        "metric": "dot",
    }
    trainer = {"max_epochs": 9, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"model": model, "trainer": trainer}))
    words = ["fit", "-c", tmp_path / "r.yaml", "--data.table", tmp_path, "--trainer.default_root_dir", tmp_path / "run"]
    assert main([str(word) for word in words]) == 7
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("jointembed: error[E-DIVERGED]: ") and "learning rate" in lines[0]
    for path in (tmp_path / "run").glob("*.ckpt"):
        assert checkpoint.find_non_finite(checkpoint.read(path)["state_dict"]) is None


@pytest.mark.parametrize("key", ["state_dict", "current_model_state"])
def test_checkpoint_with_a_weight_that_is_not_finite_is_not_written(key, tmp_path):
    path = tmp_path / "last.ckpt"
    good = {"state_dict": {"w": torch.ones(2)}, checkpoint.KEY: {"version": checkpoint.VERSION}}
    checkpoint.write(path, good)
    with pytest.raises(DivergedError, match="last.ckpt: the weights w are not finite"):
        checkpoint.write(path, {**good, key: {"w": torch.tensor([1.0, float("inf")])}})
    assert checkpoint.read(path)["state_dict"]["w"].tolist() == [1, 1] and [path] == list(tmp_path.iterdir())
