"""Every row once, equally many batches on every process, and the same order for the same seed."""

import numpy as np
import pytest

from jointembed.data.sampler import RowBatchSampler


def plans(world, *args, epoch=0, **kwargs):
    """All batches of an epoch, a list for each of so many processes."""
    plans_of_ranks = []
    for rank in range(world):
        batches = RowBatchSampler(*args, **kwargs, num_replicas=world, rank=rank)
        batches.set_epoch(epoch)
        listed = list(batches)
        assert len(listed) == len(batches)
        assert [plan[:2] for plan in listed] == [(epoch, number * world + rank) for number in range(len(listed))]
        plans_of_ranks.append([plan[2] for plan in listed])
    return plans_of_ranks


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_sees_each_row_once_over_all_processes(world):
    for count in range(1, 34):
        rows = np.arange(count) * 10
        ranks = plans(world, rows, 4, False)
        assert len({len(batches) for batches in ranks}) == 1, count
        # One after the other, the parts of all processes are the rows in their order.
        sampled = np.concatenate([part for batch in zip(*ranks, strict=True) for part in batch])
        assert sampled.tolist() == rows.tolist()
        assert max(len(part) for batches in ranks for part in batches) <= 4


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_drops_only_the_incomplete_batch(world):
    for count in range(4 * world, 34):
        ranks = plans(world, np.arange(count), 4, True)
        assert {len(part) for batches in ranks for part in batches} == {4}
        assert {len(batches) for batches in ranks} == {count // (4 * world)}
        sampled = np.concatenate([part for batches in ranks for part in batches])
        assert len(set(sampled.tolist())) == len(sampled)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_table_smaller_than_a_batch_is_one_batch(world):
    ranks = plans(world, np.arange(3), 4, True)
    assert {len(batches) for batches in ranks} == {1}
    assert sorted(np.concatenate([batches[0] for batches in ranks]).tolist()) == [0, 1, 2]


def test_order_depends_on_seed_and_epoch():
    rows = np.arange(64)

    def order(seed, epoch):
        return np.concatenate(plans(1, rows, 8, True, seed=seed, epoch=epoch)[0]).tolist()

    assert order(3, 5) == order(3, 5)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1, 3) for epoch in (0, 1, 5)}) == 9
    assert sorted(order(0, 0)) == rows.tolist() != order(0, 0)


def test_processes_share_the_batches_of_a_single_process():
    rows = np.arange(48)
    [single] = plans(1, rows, 8, True, seed=1)
    two = plans(2, rows, 4, True, seed=1)
    assert [np.concatenate(parts).tolist() for parts in zip(*two, strict=True)] == [part.tolist() for part in single]


def test_balance_gives_groups_equal_shares():
    groups = np.array([0] * 50 + [1] * 5 + [2] * 3)
    rows = np.arange(58)
    [batches] = plans(1, rows, 6, True, groups=groups, epoch_rows=60)
    sampled = np.concatenate(batches)
    assert np.bincount(groups[sampled]).tolist() == [20, 20, 20]
    assert np.bincount(sampled, minlength=58)[50:].tolist() == pytest.approx([4] * 5 + [6.67] * 3, abs=0.7), (
        "rows of a group as often as each other"
    )
    assert len(set(sampled[groups[sampled] == 0].tolist())) == 20, "a large group gives different rows"
    assert len({tuple(np.bincount(groups[batch], minlength=3)) for batch in batches}) > 1, (
        "groups are mixed within an epoch"
    )


def test_epoch_may_be_shorter_or_longer_than_the_table():
    [short] = plans(1, np.arange(40), 5, True, epoch_rows=10)
    [long] = plans(1, np.arange(10), 5, True, epoch_rows=30)
    assert (len(short), len(long)) == (2, 6)
    assert np.bincount(np.concatenate(long)).tolist() == [3] * 10
