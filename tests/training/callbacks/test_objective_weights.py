"""Weights of objectives follow their schedule, also in a resumed run."""

import lightning
import pytest
from fine_tuning import ROWS, Stop, fit, make_model, weights

from jointembed import BestAndLast, ConvNet, Match, ObjectiveWeights, SparseImage
from jointembed.errors import UsageError
from jointembed.training.joint_embedding import JointEmbedding

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.usefixtures("one_thread"),
]
SCHEDULE = {"bitmap_digit": [1, 0, 2]}


class Record(lightning.Callback):
    """The weight at each step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.weights.append(pl_module.objectives[0].weight)


def model():
    return make_model(ConvNet(SparseImage([8, 8]), [4], 8, axis=None))


def test_weights_are_interpolated_over_the_steps(tmp_path):
    record, trained = Record(), model()
    fit(trained, tmp_path, ROWS, epochs=5, callbacks=[ObjectiveWeights(SCHEDULE), record])
    assert len(record.weights) == 10 and record.weights[0] == 1 and record.weights[-1] == 2
    assert record.weights == pytest.approx([1, 7 / 9, 5 / 9, 3 / 9, 1 / 9, 2 / 9, 6 / 9, 10 / 9, 14 / 9, 2])
    trained.save(tmp_path / "model.ckpt")
    assert JointEmbedding.load(tmp_path / "model.ckpt").objectives[0].weight == 1, "as the recipe has it"


def test_a_resumed_run_goes_on_with_its_schedule(tmp_path):
    whole = model()
    fit(whole, tmp_path / "whole", epochs=4, callbacks=[ObjectiveWeights(SCHEDULE), BestAndLast()])
    fit(model(), tmp_path / "parts", epochs=4, callbacks=[ObjectiveWeights(SCHEDULE), BestAndLast(), Stop(2)])
    resumed = model()
    fit(resumed, tmp_path / "parts", epochs=4, callbacks=[ObjectiveWeights(SCHEDULE), BestAndLast()], ckpt_path="auto")
    assert all((value == weights(whole)[name]).all() for name, value in weights(resumed).items())


def test_mistakes_are_explained(tmp_path):
    with pytest.raises(UsageError, match=r"ObjectiveWeights\.bitmap_digit: it has fewer than two"):
        ObjectiveWeights({"bitmap_digit": [1]})
    with pytest.raises(UsageError, match="no such objective.*bitmap_digit"):
        fit(model(), tmp_path, callbacks=[ObjectiveWeights({"bitmap_digits": [1, 0]})])
    with pytest.raises(UsageError, match=r"weights.*use 0 or more"):
        ObjectiveWeights({"bitmap_digit": [1, -1]})
    assert Match("bitmap", "digit").name == "bitmap_digit"
