"""Distillation pulls vectors towards those of a trained model, which is asked once."""

import numpy as np
import pytest
import torch
from fine_tuning import BITMAPS, ROWS, fit, save_source

from jointembed import (
    Category,
    ConvNet,
    Distillation,
    EmbeddingBag,
    JointEmbedding,
    Match,
    SparseImage,
    from_checkpoint,
)
from jointembed.errors import UsageError

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


def distance(space, teacher):
    return 1 - (space.embed("bitmap", BITMAPS) * teacher.embed("bitmap", BITMAPS)).sum(1).mean()


def make_student(path, loss):
    torch.manual_seed(1)
    encoder = ConvNet(SparseImage([8, 8]), [4], 8, axis=None)
    objectives = [Distillation("bitmap", str(path), loss=loss)]
    return JointEmbedding(6, {"bitmap": encoder}, objectives, lr=0.02)


def tune(source, folder, weight):
    torch.manual_seed(1)
    encoders = {"bitmap": from_checkpoint(str(source[0]), "bitmap", "all"), "digit": EmbeddingBag(Category())}
    objectives = [Match("bitmap", "digit", "all"), Distillation("bitmap", str(source[0]), weight=weight)]
    model = JointEmbedding(6, encoders, objectives, lr=0.02)
    fit(model, folder, epochs=8)
    return model


def test_fine_tuned_encoder_stays_near_what_it_was(source, tmp_path):
    near, far = (distance(tune(source, tmp_path / str(weight), weight).space, source[1]) for weight in (30.0, 0.0))
    assert near < 0.5 * far


@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_small_encoder_learns_the_vectors_of_a_large_one(source, tmp_path, loss):
    copy = tmp_path / "teacher.ckpt"
    copy.write_bytes(source[0].read_bytes())
    untrained, model = make_student(copy, loss), make_student(copy, loss)
    untrained.configure_model()
    rows = [{"bitmap": row["bitmap"], "split": "train"} for row in ROWS] + [{"bitmap": None, "split": "train"}] * 2
    fit(model, tmp_path, rows, epochs=30)
    copy.unlink()
    loaded = JointEmbedding.load(tmp_path / "run").space
    assert distance(loaded, source[1]) < 0.4 * distance(untrained.space, source[1])
    assert np.array_equal(loaded.embed("bitmap", BITMAPS), model.space.embed("bitmap", BITMAPS))
    if loss == "mse":
        raw = [space.embed("bitmap", BITMAPS, normalize=False) for space in (loaded, source[1])]
        assert np.abs(raw[0] - raw[1]).mean() < 0.5 * np.abs(raw[1]).mean()


def test_mistakes_are_explained(source, tmp_path):
    def model(dim, **settings):
        torch.manual_seed(1)
        encoder = ConvNet(SparseImage([8, 8]), [4], 8, axis=None)
        return JointEmbedding(dim, {"bitmap": encoder}, [Distillation("bitmap", **settings)])

    with pytest.raises(UsageError, match="teacher have 6 dimensions, the space has 4.*set dim: 6"):
        fit(model(4, teacher=str(source[0])), tmp_path / "a")
    with pytest.raises(UsageError, match="no such column.*did you mean bitmap"):
        fit(model(6, teacher=str(source[0]), column="bitmaps"), tmp_path / "b")
    with pytest.raises(UsageError, match="does not exist"):
        fit(model(6, teacher=str(tmp_path / "absent.ckpt")), tmp_path / "c")
    with pytest.raises(UsageError, match="cosine or mse, got 'kl'"):
        model(6, teacher="x", loss="kl")
