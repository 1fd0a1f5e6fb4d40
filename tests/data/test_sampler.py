"""Every row once, equally many batches on every process, and the same order for the same seed."""

import numpy as np
import pytest

from jointembed.data.sampler import RowBatchSampler
from jointembed.objectives import distributed


@pytest.fixture
def plans(monkeypatch):
    """All batches of an epoch, a list for each of so many processes."""

    def made(world, *args, epoch=0, **kwargs):
        monkeypatch.setattr(distributed, "world", lambda: world)
        found = []
        for rank in range(world):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            batches = RowBatchSampler(*args, **kwargs)
            batches.set_epoch(epoch)
            listed = list(batches)
            assert len(listed) == len(batches)
            assert [plan[:2] for plan in listed] == [(epoch, number) for number in range(len(listed))]
            found.append([plan[2] for plan in listed])
        return found

    return made


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_sees_each_row_once_and_every_process_as_often(plans, world):
    for count in range(1, 34):
        rows = np.arange(count) * 10
        ranks = plans(world, rows, 4, False)
        assert len({len(batches) for batches in ranks}) == 1, count
        # One after the other, the parts of all processes are the rows in their order.
        seen = np.concatenate([part for batch in zip(*ranks, strict=True) for part in batch])
        assert seen.tolist() == rows.tolist()
        assert max(len(part) for batches in ranks for part in batches) <= 4


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_leaves_out_the_incomplete_batch_alone(plans, world):
    for count in range(4 * world, 34):
        ranks = plans(world, np.arange(count), 4, True)
        assert {len(part) for batches in ranks for part in batches} == {4}
        assert {len(batches) for batches in ranks} == {count // (4 * world)}
        seen = np.concatenate([part for batches in ranks for part in batches])
        assert len(set(seen.tolist())) == len(seen)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_table_smaller_than_a_batch_is_trained_on_whole(plans, world):
    ranks = plans(world, np.arange(3), 4, True)
    assert {len(batches) for batches in ranks} == {1}
    assert sorted(np.concatenate([batches[0] for batches in ranks]).tolist()) == [0, 1, 2]


def test_the_order_is_that_of_the_seed_and_the_epoch(plans):
    rows = np.arange(64)

    def order(seed, epoch):
        return np.concatenate(plans(1, rows, 8, True, seed=seed, epoch=epoch)[0]).tolist()

    assert order(3, 5) == order(3, 5)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1, 3) for epoch in (0, 1, 5)}) == 9
    assert sorted(order(0, 0)) == rows.tolist() != order(0, 0)


def test_two_processes_share_the_batches_of_one(plans):
    rows = np.arange(48)
    [one] = plans(1, rows, 8, True, seed=1)
    two = plans(2, rows, 4, True, seed=1)
    assert [np.concatenate(parts).tolist() for parts in zip(*two, strict=True)] == [part.tolist() for part in one]


def test_balance_gives_every_group_an_equal_share(plans):
    groups = np.array([0] * 50 + [1] * 5 + [2] * 3)
    rows = np.arange(58)
    [batches] = plans(1, rows, 6, True, groups=groups, epoch_rows=60)
    seen = np.concatenate(batches)
    assert np.bincount(groups[seen]).tolist() == [20, 20, 20]
    assert np.bincount(seen, minlength=58)[50:].tolist() == pytest.approx([4] * 5 + [6.67] * 3, abs=0.7), (
        "rows of a group as often as each other"
    )
    assert len(set(seen[groups[seen] == 0].tolist())) == 20, "a large group gives different rows"
    assert len({tuple(np.bincount(groups[batch], minlength=3)) for batch in batches}) > 1, (
        "groups are mixed within an epoch"
    )


def test_an_epoch_may_be_shorter_or_longer_than_the_table(plans):
    [short] = plans(1, np.arange(40), 5, True, epoch_rows=10)
    [long] = plans(1, np.arange(10), 5, True, epoch_rows=30)
    assert (len(short), len(long)) == (2, 6)
    assert np.bincount(np.concatenate(long)).tolist() == [3] * 10
