"""Averaged weights are those that are evaluated, saved and searched."""

import lightning
import numpy as np
import pytest
import torch
from fine_tuning import BITMAPS, ROWS, Stop, fit, make_model, save_source, weights

from jointembed import EMA, Evaluate, Space, from_checkpoint
from jointembed.errors import UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:(Found .* in eval mode|Checkpoint directory)"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The checkpoint of a space of two columns, and that space."""
    path = tmp_path_factory.mktemp("source") / "source.ckpt"
    return path, save_source(path)


class Average(lightning.Callback):
    """Computes the averages by hand."""

    def __init__(self, decay):
        self.decay, self.average = decay, None

    def on_train_batch_end(self, trainer, pl_module, *_):
        now = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
        if self.average is None:
            self.average = now
        for name, value in self.average.items():
            value.lerp_(now[name], 1 - self.decay)


class Vectors(lightning.Callback):
    """Notes the vectors at each validation."""

    def __init__(self):
        self.vectors = []

    def on_validation_epoch_end(self, trainer, pl_module):
        self.vectors.append(pl_module.space.embed("bitmap", BITMAPS))


def test_saved_weights_are_the_averages(source, tmp_path):
    average, validated = Average(0.8), Vectors()
    model = make_model(from_checkpoint(str(source[0]), "bitmap", ["head"]))
    rows = [{**row, "split": "dev" if number % 4 == 3 else "train"} for number, row in enumerate(ROWS)]
    # A callback that stands behind EMA in the recipe sees the averages too.
    fit(model, tmp_path, rows, 3, callbacks=[EMA(0.8), average, Evaluate("bitmap", "digit"), validated])
    saved = torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in average.average.items():
        assert torch.allclose(saved[name], value, atol=1e-6), name
        assert torch.equal(saved[name], model.state_dict()[name])
    assert np.array_equal(Space.load(tmp_path / "run").embed("bitmap", BITMAPS), validated.vectors[-1])
    begin, tower = weights(source[1].encoder("bitmap")), weights(model.space.encoder("bitmap").encoder)
    assert all(torch.equal(tower[name], value) for name, value in begin.items() if not name.startswith("head"))


def test_averages_are_resumed(source, tmp_path):
    def make():
        return make_model(from_checkpoint(str(source[0]), "bitmap", "all"))

    whole = make()
    fit(whole, tmp_path / "whole", epochs=3, callbacks=[EMA(0.8), Stop(3)])
    first = make()
    fit(first, tmp_path / "parts", epochs=3, callbacks=[EMA(0.8), Stop(1)])
    rest = make()
    fit(rest, tmp_path / "parts", epochs=3, callbacks=[EMA(0.8)], ckpt_path="last")
    assert rest.space.fingerprint == whole.space.fingerprint != first.space.fingerprint


def test_decay_is_a_share():
    with pytest.raises(UsageError, match="decay: must be at least 0 and below 1, got 1.5"):
        EMA(1.5)
