"""Loggers, callbacks and options of Lightning with a model of ours."""

import csv
import subprocess
import sys

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelPruning,
)
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger
from lightning.pytorch.profilers import SimpleProfiler
from pyarrow import parquet
from torch.utils.data import DataLoader

from jointembed import MLP, Category, EmbeddingBag, Evaluate, JointEmbedding, Match, Numbers, Space, TableData, Trainer
from jointembed.errors import UsageError
from jointembed.training.callbacks.write_vectors import WriteVectors

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric:RuntimeWarning"),
    pytest.mark.usefixtures("one_thread"),
]

ROWS = [
    {"id": f"r{number}", "size": float(number), "genre": "abc"[number % 3], "split": "dev" if number > 11 else "train"}
    for number in range(16)
]


def make_model(**settings):
    encoders = {"size": MLP(Numbers(), hidden=[4]), "genre": EmbeddingBag(Category())}
    return JointEmbedding(4, encoders, [Match("size", "genre", "all")], lr=0.05, **settings)


def fit(folder, epochs=3, rows=ROWS, model=None, ckpt_path=None, **options):
    trainer = Trainer(
        precision="32-true",
        max_epochs=epochs, accelerator="cpu", default_root_dir=str(folder), enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(model or make_model(), TableData(rows, batch_size=4), ckpt_path=ckpt_path)
    return trainer


def read_metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


class Memory(Logger):
    """A logger of another library."""

    name = version = "memory"

    def __init__(self):
        self.rows = []

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.append(metrics)


def test_backbone_finetuning_is_refused_with_the_way_to_freeze_by_name(tmp_path):
    with pytest.raises(UsageError, match="trainer.callbacks: BackboneFinetuning .*`trainable` of an encoder"):
        fit(tmp_path, callbacks=[BackboneFinetuning(unfreeze_backbone_at_epoch=2)])


def test_a_logger_stands_beside_metrics_csv(tmp_path):
    memory = Memory()
    fit(tmp_path, logger=memory)
    rows = read_metrics(tmp_path)
    assert len(rows) == len(memory.rows) > 9
    for row, logged in zip(rows, memory.rows, strict=True):
        assert {name: float(value) for name, value in row.items() if value and name != "step"} == pytest.approx(logged)


def test_tensorboard_gets_the_metrics_of_metrics_csv(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = read_metrics(tmp_path)
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"step"}
    for name in ("train/loss", "dev/loss"):
        logged = {int(row["step"]): float(row[name]) for row in rows if row[name]}
        assert {event.step: event.value for event in events.Scalars(name)} == pytest.approx(logged)


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    with pytest.raises(UsageError, match=r"pip install .jointembed\[tensorboard\]"):
        fit(tmp_path, tensorboard=True)


@pytest.mark.parametrize(("package", "make"), [
    ("wandb", lambda folder: WandbLogger("test", folder, offline=True)),
    ("mlflow", lambda folder: MLFlowLogger("test", tracking_uri=f"sqlite:///{folder}/mlflow.db")),
])  # fmt: skip
def test_services_leave_metrics_csv_in_place(package, make, tmp_path):
    pytest.importorskip(package, reason="only where it is installed")
    trainer = fit(tmp_path / "run", logger=make(tmp_path))
    for logger in trainer.loggers:
        logger.finalize("success")
    assert {"train/loss", "dev/loss"} <= set(read_metrics(tmp_path / "run")[0])


class Rows(lightning.Callback):
    """Notes the rows of each training batch."""

    def __init__(self):
        self.epochs = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append([])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.epochs[-1].append(batch.rows.tolist())


def stops_early(folder):
    # The learning rate is 0 but for the first steps, so that nothing improves.
    stopping = EarlyStopping("dev/loss", min_delta=100.0, patience=2)
    assert fit(folder, 9, callbacks=[stopping]).current_epoch == 3
    before = (folder / "last.ckpt").read_bytes(), read_metrics(folder)
    resumed = fit(folder, 9, ckpt_path="auto", callbacks=[EarlyStopping("dev/loss", min_delta=100.0, patience=2)])
    assert resumed.current_epoch == 3 and ((folder / "last.ckpt").read_bytes(), read_metrics(folder)) == before


def stops_early_by_a_metric_that_is_logged_every_other_epoch(folder):
    stopping = EarlyStopping("size-genre/map", min_delta=100.0, patience=1, mode="max")
    trainer = fit(folder, 9, callbacks=[Evaluate("size", "genre", every_n_epochs=2), stopping])
    assert trainer.current_epoch in (3, 4)


def refuses_to_stop_by_an_unknown_metric(folder):
    with pytest.raises(UsageError, match="no metric is called dev/los. Fix: did you mean dev/loss"):
        fit(folder, callbacks=[EarlyStopping("dev/los")])


def logs_learning_rates_of_layers(folder):
    model = make_model(encoder_lr={"size": 0.01}, layer_lr_decay={"size": 0.5})
    fit(folder, model=model, callbacks=[LearningRateMonitor()])
    names = [name.partition("/")[2] for name in read_metrics(folder)[0] if name.startswith("lr-")]
    assert {"size.0", "size.0.undecayed", "size.1", "size.1.undecayed"} <= set(names)


def overfits_the_same_batches(folder):
    noted = Rows()
    fit(folder, callbacks=[noted], overfit_batches=2)
    assert noted.epochs[0] == noted.epochs[1] == noted.epochs[2] and len(noted.epochs[0]) == 2
    rows = [row for batch in noted.epochs[0] for row in batch]
    assert rows != sorted(rows), "a table in the order of its labels would give batches of one label"


def overfits_a_share_of_the_batches(folder):
    noted = Rows()
    fit(folder, rows=[{**row, "split": "train"} for row in ROWS], callbacks=[noted], overfit_batches=0.5)
    assert noted.epochs[0] == noted.epochs[1] and len(noted.epochs[0]) == 2


class ClippedGradients(lightning.Callback):
    """Notes all gradients of each step, after they have been clipped."""

    def __init__(self):
        self.steps = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        if gradients := [entry.grad.ravel() for entry in pl_module.parameters() if entry.grad is not None]:
            self.steps.append(torch.cat(gradients))


def clips_gradients_by_value(folder):
    noted = ClippedGradients()
    fit(folder, callbacks=[noted], gradient_clip_val=0.01, gradient_clip_algorithm="value")
    assert max(float(gradients.abs().max()) for gradients in noted.steps) == pytest.approx(0.01)
    assert max(float(gradients.norm()) for gradients in noted.steps) > 0.011


def writes_profiles(folder):
    for number, profiler in enumerate(["simple", "advanced", SimpleProfiler()]):
        fit(folder / str(number), epochs=1, profiler=profiler)
        assert "training_step" in (folder / str(number) / "fit-profile.txt").read_text()
    own = SimpleProfiler(folder, "own")
    fit(folder / "own", epochs=1, profiler=own)
    assert (folder / "fit-own.txt").is_file() and not (folder / "own" / "fit-profile.txt").exists()


def predicts_what_embed_gives(folder):
    rows = [dict(row) for row in ROWS]
    del rows[5]["genre"]
    model = fit(folder, rows=rows).lightning_module
    predictor = Trainer(
        precision="32-true",
        default_root_dir=str(folder),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[WriteVectors()],
    )
    batches = predictor.predict(model, TableData(rows, batch_size=3))
    sizes = np.concatenate([batch["size"].numpy() for batch in batches])
    assert np.allclose(sizes, model.space.embed("size", [row["size"] for row in rows]), atol=1e-5)
    table = parquet.read_table(folder / "vectors.parquet").to_pylist()
    assert [row["id"] for row in table] == [row["id"] for row in rows] and table[5]["genre"] is None
    assert np.allclose([row["size"] for row in table], sizes)
    genres = [row["genre"] for row in rows[:5]]
    assert np.allclose([row["genre"] for row in table[:5]], model.space.embed("genre", genres), atol=1e-5)


def overfits_a_share_of_few_dev_rows(folder):
    rows = [{**row, "split": "dev" if row["id"] == "r15" else "train"} for row in ROWS]
    noted = Rows()
    fit(folder, rows=rows, callbacks=[noted], overfit_batches=0.5)
    assert len(noted.epochs[0]) == 1


def prunes_weights(folder):
    trainer = fit(folder, callbacks=[ModelPruning("l1_unstructured", parameter_names=["weight"], amount=0.3)])
    weights = [value for name, value in trainer.lightning_module.named_parameters() if name.endswith("weight")]
    zeros, total = sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
    assert zeros / total > 0.3
    space = Space.load(folder)
    assert (space.embed("genre", ["a"]) == trainer.lightning_module.space.embed("genre", ["a"])).all()


def prunes_tables_that_no_module_is_called_for(folder):
    table = [{"size": row["genre"], "genre": row["genre"], "id": row["id"]} for row in ROWS]
    encoders = {"size": EmbeddingBag(Category()), "genre": EmbeddingBag(Category())}
    model = JointEmbedding(4, encoders, [Match("size", "genre", "all")])
    fit(folder, rows=table, model=model, callbacks=[ModelPruning("random_unstructured", amount=0.3)])
    assert (model.space.vocabulary_vectors("genre") == 0).any()


def accumulates_by_schedule(folder):
    rates = LearningRates()
    trainer = fit(folder, callbacks=[GradientAccumulationScheduler({0: 1, 1: 3}), rates])
    assert trainer.global_step == 5 and len(rates.rates) == 9
    assert rates.rates[-1] < 0.03 * max(rates.rates), "the schedule counts the steps that are made"


def accumulates_batches(folder):
    assert fit(folder, accumulate_grad_batches=2).global_step == 6


def refuses_two_ways_to_accumulate(folder):
    with pytest.raises(UsageError, match="remove `accumulate_grad_batches`"):
        fit(folder, callbacks=[GradientAccumulationScheduler({0: 2})], accumulate_grad_batches=2)


def finds_learning_rates(folder):
    finder = LearningRateFinder(num_training_steps=20, early_stop_threshold=None)  # which some weights would reach
    trainer = fit(folder, 9, callbacks=[finder])
    assert trainer.lightning_module.lr != 0.05 and trainer.global_step == 27


def finds_batch_sizes(folder):
    assert fit(folder, callbacks=[BatchSizeFinder(max_trials=1, init_val=2)]).datamodule.batch_size in (2, 4)


class LearningRates(lightning.Callback):
    """Notes the learning rate of each batch."""

    def __init__(self):
        self.rates = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def loads_from_checkpoint(folder):
    trainer = fit(folder)
    model = JointEmbedding.load_from_checkpoint(folder / "last.ckpt", map_location="cpu")
    vectors = trainer.lightning_module.space.embed("size", [1.0, 2.0])
    assert (model.space.embed("size", [1.0, 2.0]) == vectors).all()
    with pytest.raises(UsageError, match="lr: a setting of a trained model"):
        JointEmbedding.load_from_checkpoint(folder / "last.ckpt", lr=0.1)


def refuses_loaders_of_anything_else(folder):
    trainer = Trainer(default_root_dir=folder / "0", accelerator="cpu", max_epochs=1, enable_progress_bar=False)
    with pytest.raises(UsageError, match=r"the trainer has none.*TableData\(table\)"):
        trainer.fit(make_model(), DataLoader(ROWS, 4))
    built = fit(folder / "1", epochs=1).lightning_module
    for collate, kind in ((None, "a dict of"), (list, "a list of dict")):
        trainer = Trainer(default_root_dir=folder / kind, accelerator="cpu", max_epochs=1, enable_progress_bar=False)
        with pytest.raises(UsageError, match=f"expected columns of `TableData`, got {kind}"):
            trainer.fit(built, DataLoader(ROWS, 4, collate_fn=collate))


def trains_on_the_loaders_of_table_data(folder):
    data = TableData(ROWS, batch_size=4)
    first = Trainer(default_root_dir=folder / "0", accelerator="cpu", max_epochs=1, enable_progress_bar=False)
    first.fit(model := make_model(), data)
    again = Trainer(default_root_dir=folder / "1", accelerator="cpu", max_epochs=1, enable_progress_bar=False)
    again.fit(model, data.train_dataloader(), data.val_dataloader())
    assert again.global_step == 3


def refuses_precisions_and_strategies_in_any_trainer(folder):
    options = {"accelerator": "cpu", "default_root_dir": folder, "max_epochs": 1, "enable_progress_bar": False}
    for trainer in (Trainer, lightning.Trainer):
        with pytest.raises(UsageError, match="bf16-true would round the updates of the weights away"):
            trainer(precision="bf16-true", **options).fit(make_model(), TableData(ROWS))


@pytest.mark.parametrize("feature", [
    overfits_a_share_of_few_dev_rows,
    prunes_weights,
    prunes_tables_that_no_module_is_called_for,
    accumulates_by_schedule,
    accumulates_batches,
    refuses_two_ways_to_accumulate,
    finds_learning_rates,
    finds_batch_sizes,
    loads_from_checkpoint,
    refuses_loaders_of_anything_else,
    trains_on_the_loaders_of_table_data,
    refuses_precisions_and_strategies_in_any_trainer,
    stops_early,
    stops_early_by_a_metric_that_is_logged_every_other_epoch,
    refuses_to_stop_by_an_unknown_metric,
    logs_learning_rates_of_layers,
    overfits_the_same_batches,
    overfits_a_share_of_the_batches,
    clips_gradients_by_value,
    writes_profiles,
    predicts_what_embed_gives,
])  # fmt: skip
def test_features_of_lightning(feature, tmp_path):
    torch.manual_seed(0)
    feature(tmp_path)


ONE_BATCH = """
from typing import Optional, Union
Optional[Union[float, int]]  # as some module may have it; typing then gives it for Optional[Union[int, float]] too
from jsonargparse import ArgumentParser
from jointembed import Trainer
parser = ArgumentParser()
parser.add_class_arguments(Trainer, "trainer")
for stage in ("train", "val", "test", "predict"):
    print(parser.parse_args([f"--trainer.limit_{stage}_batches=1"]).trainer[f"limit_{stage}_batches"])
"""


@pytest.mark.slow
def test_one_batch_is_not_read_as_all_batches():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ONE_BATCH], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"] * 4
