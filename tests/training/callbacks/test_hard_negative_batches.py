"""Batches of similar rows: each row once, in neighborhoods, the same in a resumed run."""

import lightning
import numpy as np
import pytest
from fine_tuning import BITMAPS, ROWS, Stop, fit, make_model, weights

from jointembed import BestAndLast, ConvNet, HardNegativeBatches, SparseImage
from jointembed.data.sampler import Neighborhoods, RowBatchSampler
from jointembed.errors import UsageError
from jointembed.training.callbacks.hard_negative_batches import order_by_nearness

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.usefixtures("one_thread"),
]


def model():
    return make_model(ConvNet(SparseImage([8, 8]), [4], 8, axis=None))


def test_similar_vectors_share_blocks():
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((16, 8)).astype(np.float32) * 10
    kinds = rng.permutation(np.repeat(np.arange(16), 8))
    vectors = centers[kinds] + rng.standard_normal((128, 8)).astype(np.float32)
    order = order_by_nearness(vectors, 8, rng)
    assert sorted(order) == list(range(128))
    pure = [len(set(kinds[block])) == 1 for block in order.reshape(16, 8)]
    assert np.mean(pure) > 0.7, "clusters of the size of a block stay whole"
    assert sorted(order_by_nearness(np.zeros((13, 4), np.float32), 4, rng)) == list(range(13))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_has_whole_neighborhoods_and_an_epoch_each_row_once(processes):
    rows = np.arange(100, 196)
    places = np.zeros(200, np.int64)
    places[rows] = np.random.default_rng(0).permutation(96)
    samplers = [
        RowBatchSampler(rows, 16, True, neighborhoods=Neighborhoods(places, 4), num_replicas=processes, rank=rank)
        for rank in range(processes)
    ]
    epochs = []
    for epoch in range(2):
        batches = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            batches += [batch for _, _, batch in sampler]
        assert sorted(np.concatenate(batches)) == rows.tolist()
        for batch in batches:
            order = places[batch].reshape(4, 4)
            assert (order.max(1) - order.min(1) == 3).all()
        epochs.append(batches[0].tolist())
    assert epochs[0] != epochs[1]


def test_batches_are_mined_from_the_vectors_of_the_last_epoch(tmp_path):
    rows = [
        {**row, "bitmap": BITMAPS[number % 2] * (0.9 + number / 200), "digit": str(number)}
        for number, row in enumerate(ROWS)
    ]
    batches = []

    class Record(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            batches.append((trainer.current_epoch, frozenset(batch.rows.tolist())))

    mine = HardNegativeBatches("bitmap", "bitmap", size=6)
    fit(model(), tmp_path, rows, epochs=3, callbacks=[mine, Record()])
    first = {batch for epoch, batch in batches if epoch == 0}
    later = {batch for epoch, batch in batches if epoch}
    assert frozenset(range(1, 12, 2)) not in first and later == {frozenset(range(0, 12, 2)), frozenset(range(1, 12, 2))}


def test_a_resumed_run_has_the_same_batches(tmp_path):
    callbacks = lambda: [HardNegativeBatches("bitmap", "digit", size=2), BestAndLast()]  # noqa: E731
    whole = model()
    fit(whole, tmp_path / "whole", epochs=4, callbacks=callbacks())
    fit(model(), tmp_path / "parts", epochs=4, callbacks=[*callbacks(), Stop(2)])
    resumed = model()
    fit(resumed, tmp_path / "parts", epochs=4, callbacks=callbacks(), ckpt_path="auto")
    assert all((value == weights(whole)[name]).all() for name, value in weights(resumed).items())


def test_mistakes_are_explained(tmp_path):
    with pytest.raises(UsageError, match=r"HardNegativeBatches\.digits: the model has no such column.*digit"):
        fit(model(), tmp_path, callbacks=[HardNegativeBatches("bitmap", "digits")])
    with pytest.raises(UsageError, match=r"size"):
        HardNegativeBatches("bitmap", "digit", size=0)
