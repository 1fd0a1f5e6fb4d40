"""Learning rates by encoder and by depth."""

import pytest
from fine_tuning import fit, make_model, save_source

from jointembed import from_checkpoint
from jointembed.errors import UsageError
from jointembed.training.optim import split_layers

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The checkpoint of a space of two columns, and that space."""
    path = tmp_path_factory.mktemp("source") / "source.ckpt"
    return path, save_source(path)


def test_layers_are_those_of_the_network(source):
    names = {id(parameter): name for name, parameter in source[1].encoder("bitmap").named_parameters()}
    layers = split_layers(source[1].encoder("bitmap"))
    first = [".".join(names[id(layer[0])].split(".")[:2]) for layer in layers]
    assert first == ["stages.0", "stages.1", "head.0", "head.2"]
    assert sum(map(len, layers)) == len(names)


def test_learning_rates_fall_with_depth(source, tmp_path):
    encoder = from_checkpoint(str(source[0]), "bitmap", "all", [])
    model = make_model(encoder, encoder_lr={"bitmap": 1e-3}, layer_lr_decay={"bitmap": 0.5, "digit": 1.0})
    trainer = fit(model, tmp_path, epochs=1)
    rates = {}
    for group in trainer.optimizers[0].param_groups:
        for parameter in group["params"]:
            rates[id(parameter)] = group["initial_lr"], group.get("name", "")
    of = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    tower = "space.encoders.[bitmap]."
    assert of[f"{tower}projection.weight"] == (1e-3, "bitmap.4")
    assert of[f"{tower}encoder.head.2.bias"] == (5e-4, "bitmap.3.undecayed")
    assert of[f"{tower}encoder.stages.1.refine.weight"] == (1.25e-4, "bitmap.1")
    assert of[f"{tower}encoder.stages.0.halve.weight"] == (6.25e-5, "bitmap.0")
    assert of["space.projections.[bitmap].1.network.0.weight"] == (0.05, "")
    assert of["space.encoders.[digit].table.weight"] == (0.05, "digit.0.undecayed")


def test_mistakes_are_explained(source, tmp_path):
    def model(trainable, **settings):
        return make_model(from_checkpoint(str(source[0]), "bitmap", trainable, []), **settings)

    with pytest.raises(UsageError, match=r"encoder_lr\.bitmaps: the model has no such encoder.*did you mean bitmap"):
        model("all", encoder_lr={"bitmaps": 1e-3})
    with pytest.raises(UsageError, match=r"layer_lr_decay\.bitmap: must be above 0"):
        model("all", layer_lr_decay={"bitmap": 0.0})
    with pytest.raises(UsageError, match=r"encoder_lr\.bitmap: the encoder is frozen"):
        fit(model("none", encoder_lr={"bitmap": 1e-3}), tmp_path)
