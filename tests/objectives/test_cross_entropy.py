"""The softmax over a sample and the one over a large table, against their formulas written out."""

import pytest
import torch
from torch.nn import functional as F

from jointembed import Category, EmbeddingBag, Space
from jointembed.errors import UsageError
from jointembed.objectives import Softmax, cross_entropy
from jointembed.objectives.losses import Sample
from jointembed.space.pair_products import pair_products


@pytest.mark.parametrize("counts", [[1] * 13, [0, 3, 1, 2, 0, 1, 1, 4, 1, 1, 1, 2, 1]])
def test_the_sampled_softmax_is_that_of_its_logits_written_out(counts):
    torch.manual_seed(0)
    rows = torch.arange(13).repeat_interleave(torch.tensor(counts))
    a, own = (torch.randn(count, 6, dtype=torch.float64, requires_grad=True) for count in (13, len(rows)))
    rest = torch.randn(29, 6, dtype=torch.float64, requires_grad=True)
    expected, weights = torch.randn(29, dtype=torch.float64), torch.rand(len(rows), dtype=torch.float64)
    weights[rows == 3], hit = 0, torch.rand(13, 29) < 0.2
    hit[5] = True  # nothing is left but what is right
    own_scores = pair_products(a, own, rows, torch.arange(len(rows)))
    result = cross_entropy.sampled(a, own_scores, rows, rest, expected, hit, weights)
    whole = torch.zeros((), dtype=torch.float64)
    for row in range(13):
        targets = (rows == row).nonzero()[:, 0]
        logits = torch.cat([own[targets] @ a[row], (rest @ a[row] - expected)[~hit[row]]])
        for place, target in enumerate(targets):
            whole = whole + weights[target] * F.cross_entropy(logits, torch.tensor(place))
    torch.testing.assert_close(result, whole)
    parts = [torch.autograd.grad(3 * loss, (a, own, rest)) for loss in (result, whole)]
    for entry, second in zip(*parts, strict=True):
        torch.testing.assert_close(entry, second)


@pytest.mark.parametrize(("rows", "ids"), [(13, 29), (700, 1500), (530, 5000)])  # in one part, by rows, by both
def test_exact_softmax_has_the_loss_and_gradients_of_the_whole_matrix(rows, ids):
    torch.manual_seed(0)
    a, b = (torch.randn(size, 6, dtype=torch.float64, requires_grad=True) for size in (rows, ids))
    target, weights = torch.randint(ids, (rows,)), torch.rand(rows, dtype=torch.float64)
    weights[3] = 0
    result = cross_entropy.exact(a, b, target, weights)
    whole = (F.cross_entropy(a @ b.T, target, reduction="none") * weights).sum()
    torch.testing.assert_close(result, whole)
    parts = [torch.autograd.grad(3 * loss, (a, b)) for loss in (result, whole)]
    for entry, second in zip(*parts, strict=True):
        torch.testing.assert_close(entry, second)
    nothing = cross_entropy.exact(a[:0], b, target[:0], weights[:0])
    assert float(nothing.detach()) == 0 and nothing.requires_grad


@pytest.mark.parametrize("vocabulary", [100, 4096, 5000])
def test_scores_are_never_there_for_a_whole_large_table(vocabulary):
    a, b = torch.randn(600, 4), torch.randn(vocabulary, 4)
    rows, wide = cross_entropy.block(b)
    assert rows * wide <= cross_entropy.CPU_BLOCK_SCORES and rows >= 64
    target, weights = torch.randint(vocabulary, (600,)), torch.full((600,), 1 / 600)
    torch.testing.assert_close(cross_entropy.exact(a, b, target, weights), F.cross_entropy(a @ b.T, target))


def test_scores_far_apart_neither_overflow_nor_vanish():
    a = torch.tensor([[1.0], [1.0]], requires_grad=True)
    own, rest = torch.tensor([300.0, -300.0]), torch.tensor([[200.0], [-200.0]])
    hit = torch.zeros(2, 2, dtype=torch.bool)
    loss = cross_entropy.sampled(a, own, torch.arange(2), rest, torch.zeros(2), hit, torch.ones(2))
    torch.testing.assert_close(loss, torch.tensor(500.0))
    loss.backward()
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_smoothed_labels_are_those_of_torch_over_a_batch_and_over_a_table(metric):
    torch.manual_seed(0)
    space = Space(6, {"id": EmbeddingBag(Category())}, metric=metric)
    loss = Softmax(label_smoothing=0.2)
    loss.build(space, 9)
    query, table = (torch.randn(size, 6, dtype=torch.float64, requires_grad=True) for size in (5, 9))
    target, weights = torch.tensor([0, 3, 3, 8, 1]), torch.rand(5, dtype=torch.float64)
    scores = space.score(query, table)
    each = F.cross_entropy(loss.logits(scores), target, reduction="none", label_smoothing=0.2)
    positives = F.one_hot(target, 9).to(scores.dtype)
    torch.testing.assert_close(loss(scores, positives), each)
    counting = torch.tensor([True] * 9 + [False] * 2)  # those that do not count have no share
    padded = torch.cat([scores, torch.zeros(5, 2)], 1), torch.cat([positives, torch.zeros(5, 2)], 1)
    torch.testing.assert_close(loss(*padded, counting), each)
    whole, part = (each * weights).sum(), loss.over_table(query, table, target, weights, space, None)
    torch.testing.assert_close(part, whole)
    for ours, expected in zip(*(torch.autograd.grad(sum, (query, table)) for sum in (part, whole)), strict=True):
        torch.testing.assert_close(ours, expected)
    rows, candidates, hits = torch.arange(5), torch.tensor([5, 6]), torch.zeros(5, 2, dtype=torch.bool)
    sample = Sample(torch.randn(7, 6).double(), rows, rows, candidates, torch.ones(2), hits, weights)
    with pytest.raises(UsageError, match="label_smoothing: it needs the scores of all candidates"):
        loss.over_sample(query, sample, space, None)
    with pytest.raises(UsageError, match="label_smoothing: must be at least 0 and below 1"):
        Softmax(label_smoothing=1.0)
