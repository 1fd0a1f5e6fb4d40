"""The learning rate in the course of a training."""

import pytest
from fine_tuning import ROWS, fit, make_model

from jointembed import ConvNet, SparseImage
from jointembed.errors import UsageError
from jointembed.training import schedules

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.usefixtures("one_thread"),
]


def test_the_learning_rate_rises_and_then_falls_along_a_cosine():
    factor = schedules.cosine(100, 0.1)
    rates = [factor(step) for step in range(101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert factor(1000) == pytest.approx(0)
    for total, warmup in ((0, 0.0), (1, 0.5), (2, 1.0)):
        assert all(0 <= schedules.cosine(total, warmup)(step) <= 1 for step in range(5))


def test_a_constant_rate_rises_and_stays():
    factor = schedules.constant(100, 0.1)
    assert [factor(step) for step in (0, 4, 9, 10, 100, 1000)] == pytest.approx([0.1, 0.5, 1, 1, 1, 1])


def test_one_cycle_rises_from_a_twenty_fifth_along_a_cosine_and_falls_to_nothing():
    factor = schedules.one_cycle(100, 0.3)
    assert [factor(step) for step in (0, 15, 30, 65, 100)] == pytest.approx([0.04, 0.52, 1, 0.5, 0])
    for total, warmup in ((0, 0.0), (1, 0.5), (2, 1.0)):
        assert all(0 <= schedules.one_cycle(total, warmup)(step) <= 1 for step in range(5))


LEARN = [{**row, "split": split} for row in ROWS for split in ("train", "dev")]


def test_the_rate_is_halved_on_a_plateau(tmp_path):
    model = make_model(ConvNet(SparseImage([8, 8]), [4], 8, axis=None), optimizer="sgd", schedule="reduce_on_plateau")
    model.lr = 0.0  # nothing is learned
    trainer = fit(model, tmp_path, LEARN, epochs=5)
    plateau = trainer.lr_scheduler_configs[0].scheduler
    assert plateau.last_epoch == 5 and plateau.num_bad_epochs == 0, "the fourth bad epoch reduced the rate"


def test_mistakes_are_explained(tmp_path):
    with pytest.raises(
        UsageError, match=r"optimizer: it must be one of adamw, adam, .* got 'adamv'. Fix: did you mean adam"
    ):
        make_model(ConvNet(SparseImage([8, 8]), [4], 8, axis=None), optimizer="adamv")
    with pytest.raises(UsageError, match="schedule: reduce_on_plateau needs dev rows"):
        fit(make_model(ConvNet(SparseImage([8, 8]), [4], 8, axis=None), schedule="reduce_on_plateau"), tmp_path)
