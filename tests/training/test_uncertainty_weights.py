"""Learned weights of objectives: what cannot be learned weighs less, and a saved model keeps its weights."""

import lightning
import numpy as np
import pytest
import torch

from jointembed import Category, EmbeddingBag, JointEmbedding, Match, TableData

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.usefixtures("one_thread"),
]


def make_model(**settings):
    torch.manual_seed(0)
    encoders = {name: EmbeddingBag(Category()) for name in ("artist", "genre", "noise")}
    objectives = [Match("artist", "genre", "all"), Match("artist", "noise", "all", weight=0.5)]
    return JointEmbedding(8, encoders, objectives, lr=0.02, **settings)


def train(model):
    rng = np.random.default_rng(0)
    rows = [
        {"split": "train", "artist": str(at % 12), "genre": str(at % 3), "noise": str(rng.integers(4))}
        for at in range(480)
    ]
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=20, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(model, TableData(rows, batch_size=48))
    return model


def test_what_cannot_be_learned_weighs_less(tmp_path):
    model = train(make_model(uncertainty_weights=True))
    genre, noise = (-model.log_variances).exp().tolist()
    assert genre > 1.5 * noise, "the noise stays at the loss of chance"
    model.save(tmp_path / "model.ckpt")
    loaded = JointEmbedding.load(tmp_path / "model.ckpt")
    assert torch.equal(loaded.log_variances, model.log_variances)


def test_at_first_the_losses_are_those_of_the_recipe():
    models = [make_model(), make_model(uncertainty_weights=True)]
    losses = []
    for model in models:
        for name, cells in {"artist": "abcd", "genre": "xyxy", "noise": "1234"}.items():
            model.space.reader(name).fit(list(cells))
        torch.manual_seed(0)
        model.build()
        batch = {
            name: model.space.reader(name).encode(list(cells))
            for name, cells in {"artist": "abcd", "genre": "xyxy", "noise": "1234"}.items()
        }
        losses.append(model.losses(batch))
    assert list(losses[0]) == list(losses[1])
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
