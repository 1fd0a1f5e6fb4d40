"""Precisions and strategies: what works, and what is refused before anything is read."""

import lightning
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, Regression, TableData
from jointembed.errors import UsageError
from jointembed.space.precision import native_bf16
from jointembed.training.optim import AdamWWithSparseAdagrad
from jointembed.training.trainer import Trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.usefixtures("one_thread"),
]
ROWS = [{"split": "dev" if n % 4 == 0 else "train", "words": f"w{n % 5} x{n % 3}", "genre": "abc"[n % 3],
         "price": float(n % 3)} for n in range(48)]  # fmt: skip


def train(trainer_class, folder, **settings):
    """A model after an epoch, its trainer, and the precisions in which the layers of its encoder have computed."""
    torch.manual_seed(0)
    encoders = {"words": EmbeddingBag(BagOfWords(), 8, hidden=[8]), "genre": EmbeddingBag(Category())}
    candidates = ("batch", "all", 2)
    objectives = [*(Match("words", "genre", choice) for choice in candidates), Regression("both", "price", [4])]
    model = JointEmbedding(6, encoders, objectives, fusions={"both": ["words", "genre"]})
    trainer = trainer_class(
        max_epochs=1, accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
    precisions = set()

    class Observer(lightning.Callback):
        def on_train_start(self, trainer, model):
            layer = model.space.encoders["words"].after[0]
            layer.register_forward_hook(lambda module, inputs, output: precisions.add(output.dtype))

    trainer.callbacks.append(Observer())
    trainer.fit(model, TableData(ROWS, batch_size=12))
    return model, trainer, precisions


@pytest.mark.parametrize("trainer_class", [Trainer, lightning.Trainer])
@pytest.mark.parametrize(
    "precision, encoders, weights",
    [
        ("bf16-mixed", torch.bfloat16, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
        ("32-true", torch.float32, torch.float32),
        ("64-true", torch.float64, torch.float64),
    ],
)
def test_lightnings_flag_is_the_precision_of_the_encoders(trainer_class, precision, encoders, weights, tmp_path):
    model, trainer, precisions = train(trainer_class, tmp_path, precision=precision)
    assert precisions == {encoders}
    assert {weight.dtype for weight in model.parameters()} == {weights}
    assert trainer.callback_metrics["dev/loss"].isfinite()
    if precision == "64-true":
        return  # other random numbers
    exact, _, _ = train(trainer_class, tmp_path, precision="32-true")
    for weight, expected in zip(model.parameters(), exact.parameters(), strict=True):
        assert torch.allclose(weight.float(), expected, atol=0.02)


def test_without_the_flag_the_processor_decides(tmp_path):
    _, trainer, _ = train(Trainer, tmp_path)
    assert trainer.precision == ("bf16-mixed" if native_bf16("cpu") else "32-true")
    _, trainer, _ = train(lightning.Trainer, tmp_path)
    assert trainer.precision == "32-true"


@pytest.mark.parametrize(
    "precision, fix", [("16-mixed", "bf16-mixed"), ("bf16-true", "bf16-mixed"), ("16-true", "16-mixed"), ("8", "leave")]
)
def test_other_precisions_are_refused_in_one_line(precision, fix, tmp_path):
    with pytest.raises(UsageError, match=rf"trainer\.precision.*Fix: .*{fix}"):
        Trainer(precision=precision, accelerator="cpu", default_root_dir=tmp_path)


@pytest.mark.parametrize(
    "strategy",
    ["ddp_spawn", "ddp_fork", "ddp_notebook", "ddp_spawn_find_unused_parameters_true", "fsdp", "fsdp_cpu_offload",
     "deepspeed_stage_2", "lightning.pytorch.strategies.ModelParallelStrategy"],
)  # fmt: skip
def test_strategies_that_would_fail_after_the_training_are_refused_in_one_line(strategy, tmp_path):
    with pytest.raises(UsageError, match=r"trainer\.strategy.*Fix: write ddp"):
        Trainer(strategy=strategy, devices=2, accelerator="cpu", default_root_dir=tmp_path)


def test_objects_of_such_strategies_are_refused_too(tmp_path):
    for strategy in (ModelParallelStrategy(), DDPStrategy(start_method="spawn")):
        with pytest.raises(UsageError, match=r"trainer\.strategy.*Fix: write ddp"):
            Trainer(strategy=strategy, devices=2, accelerator="cpu", default_root_dir=tmp_path)
    assert Trainer(strategy="ddp", devices=2, accelerator="cpu", default_root_dir=tmp_path).world_size == 2


def test_a_scaler_of_gradients_unscales_the_sparse_ones_too():
    steps = []
    for scaler in (torch.amp.GradScaler("cpu", init_scale=1024.0), torch.amp.GradScaler("cpu", enabled=False)):
        torch.manual_seed(0)
        table, layer = torch.nn.Embedding(5, 3, sparse=True), torch.nn.Linear(3, 2)
        groups = [{"params": list(layer.parameters())}, {"params": [table.weight], "sparse": True}]
        optimizer = AdamWWithSparseAdagrad(groups, lr=0.1, sparse_lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = layer(table(torch.tensor([1, 3, 3]))).square().sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        steps.append(torch.cat([table.weight.detach().ravel(), layer.weight.detach().ravel()]))
    assert torch.allclose(*steps, atol=1e-6)
