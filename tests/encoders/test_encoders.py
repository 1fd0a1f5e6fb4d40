"""Encoders against plain formulas, and the optimizer that touches only the rows of a table that were used."""

import copy
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jointembed import (
    MLP,
    BagOfWords,
    Category,
    ConvNet,
    EmbeddingBag,
    LogMel,
    Numbers,
    SparseImage,
    Subwords,
    TextTransformer,
)
from jointembed.errors import UsageError
from jointembed.training import optim

rng = np.random.default_rng(0)
BITMAPS = [(rng.random((6, 5)) * (rng.random((6, 5)) > 0.6)).astype(np.float32) for _ in range(7)]


def built(encoder, cells=(), dim=8):
    torch.manual_seed(0)
    encoder.reader.fit(list(cells))
    encoder.build(dim)
    return encoder


def test_a_bag_of_grey_pixels_is_a_matrix_product_forward_and_backward():
    bag = built(EmbeddingBag(SparseImage([6, 5]), 4)).double()
    x = bag.reader.encode([*BITMAPS, np.zeros((6, 5)), None])
    x.weights = x.weights.double()
    dense = torch.tensor(np.stack([*BITMAPS, np.zeros((6, 5))])).reshape(8, -1).double()
    mixer = torch.randn(8, 4).double()
    out = bag.pieces(x)
    (out * mixer).sum().backward()
    weight = bag.table.weight.detach().clone().requires_grad_()
    expected = dense @ weight[:30]
    (expected * mixer).sum().backward()
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(bag.table.weight.grad, weight.grad, atol=1e-12)
    assert torch.equal(bag(x), torch.cat([out, torch.zeros(1, 4)])), "a row is its bitmap; one without a bitmap is 0"


def test_a_bag_of_words_is_their_mean_forward_and_backward():
    texts = ["slow slow waltz", "reel unheard", None, ["waltz", "slow reel"]]
    bag = built(EmbeddingBag(BagOfWords()), ["slow waltz", "reel"], 4).double()
    x = bag.reader.encode(texts)
    counts = torch.zeros(4, 4).double()  # pieces x (reel, slow, waltz, unknown)
    for piece, words in enumerate([[1, 1, 2], [0, 3], [2], [1, 0]]):
        for word in words:
            counts[piece, word] += 1 / len(words)
    weight = bag.table.weight.detach().clone().requires_grad_()
    pieces = counts @ weight
    rows = torch.stack([pieces[0], pieces[1], torch.zeros(4).double(), (pieces[2] + pieces[3]) / 2])
    mixer = torch.randn(4, 4).double()
    (rows * mixer).sum().backward()
    out = bag(x)
    (out * mixer).sum().backward()
    assert torch.allclose(bag.pieces(x), pieces, atol=1e-12) and torch.allclose(out, rows, atol=1e-12)
    assert torch.allclose(bag.table.weight.grad, weight.grad, atol=1e-12)


@pytest.mark.parametrize("hidden", [[], [6]])
def test_a_row_of_several_ids_is_the_mean_of_their_vectors(hidden):
    bag = built(EmbeddingBag(Category(), hidden=hidden), ["a", "b", "c"], 4)
    x = bag.reader.encode([["a", "c"], "b", None, "new"])
    a, b, c = bag.vocabulary_vectors()
    unknown = bag.after(bag.table.weight[3])
    assert torch.allclose(bag(x), torch.stack([(a + c) / 2, b, torch.zeros(4), unknown]), atol=1e-6)
    assert torch.allclose(bag.pieces(x), torch.stack([a, c, b, unknown]), atol=1e-6)


def test_in_training_a_bag_leaves_things_out_and_is_the_mean_of_the_others():
    bag = built(EmbeddingBag(Category(), item_dropout=0.5), ["a", "b", "c"], 4)
    x = bag.reader.encode([["a", "b", "c"]] * 500 + [None])
    whole = bag.eval()(x)
    assert torch.equal(whole[0], whole[1]) and torch.allclose(whole[0], bag.vocabulary_vectors().mean(0), atol=1e-6)
    torch.manual_seed(0)
    parts = bag.train()(x)
    possible = [
        torch.zeros(4),
        *(bag.vocabulary_vectors()[list(subset)].mean(0) for n in (1, 2, 3) for subset in combinations(range(3), n)),
    ]
    near = torch.cdist(parts, torch.stack(possible))
    assert near.min(1).values.max() < 1e-5, "each is the mean of what was left"
    counts = near.argmin(1)[:-1].bincount(minlength=8)
    assert (counts > 30).all() and (counts < 100).all(), "and each part comes as often"
    with pytest.raises(UsageError, match="drop"):
        EmbeddingBag(Category(), hidden=[4], item_dropout=0.5)


@pytest.mark.parametrize("reader", [Category(), BagOfWords()], ids=lambda reader: type(reader).__name__)
def test_sparse_gradients_hold_the_touched_rows_only(reader):
    names = [f"w{number:03}" for number in range(200)]
    gradients = []
    for sparse in (True, False):
        bag = built(EmbeddingBag(copy.deepcopy(reader), sparse=sparse), names, 4)
        for entry in (
            bag(bag.reader.encode(["w003", "w150", "w003"])),
            bag.pieces(bag.reader.encode([["w007", "w150"]])),
        ):
            entry.square().sum().backward()
        gradients.append(bag.table.weight.grad)
    assert gradients[0].is_sparse and not gradients[1].is_sparse
    assert sorted(set(gradients[0].coalesce().indices()[0].tolist())) == [3, 7, 150]
    assert torch.allclose(gradients[0].to_dense(), gradients[1], atol=1e-6)


def test_large_tables_are_sparse_by_themselves():
    for count, sparse in ((100, False), (50_001, True)):
        bag = built(EmbeddingBag(Category()), range(count), 2)
        assert bag.table.sparse is sparse and len(bag.vocabulary_vectors()) == count


@pytest.mark.parametrize(
    ("encoder", "cells"),
    [
        (lambda: ConvNet(LogMel(8000, 0.5, 16, 256, 80), [4, 8], 6), [np.ones(4000, np.float32)]),
        (lambda: ConvNet(SparseImage([6, 5]), [4], 6, axis=None), BITMAPS),
        (lambda: ConvNet(SparseImage([6, 5]), [4], 6, axis=1), BITMAPS),
        (lambda: TextTransformer(Subwords(300, 16), 8, 1, 2), ["slow", "waltz"]),
        (lambda: EmbeddingBag(BagOfWords(), 6), ["slow", "waltz"]),
        (lambda: EmbeddingBag(SparseImage([6, 5]), 6, [4]), BITMAPS),
        (lambda: EmbeddingBag(Category(), 6), ["slow", "waltz"]),
        (lambda: MLP(Numbers(["a", "b"]), 6), [{"a": 1, "b": 2}]),
    ],
    ids=["conv", "whole", "bands", "transformer", "words", "pixels", "ids", "dense"],
)
def test_a_batch_without_a_single_piece_passes_and_stays_connected(encoder, cells):
    encoder = built(encoder(), cells)
    nothing = encoder.reader.encode([None] * 3)
    assert encoder.pieces(nothing).shape == (0, encoder.width)
    out = encoder(nothing)
    assert out.shape == (3, encoder.width) and (out == 0).all()
    out.sum().backward()
    assert all(entry.grad is not None and (entry.grad == 0).all() for entry in encoder.parameters()), (
        "DDP waits for every parameter"
    )
    subset = encoder(encoder.reader.encode([None, cells[0], None]))
    assert (subset[0] == 0).all() and (subset[1] != 0).any() and (subset[2] == 0).all()


def test_longer_companions_do_not_change_the_vector_of_a_text():
    encoder = (
        built(TextTransformer(Subwords(300, 64), 16, 2, 4), ["a slow waltz in the rain and a fast reel at night"])
        .double()
        .eval()
    )
    texts = ["a", "a slow waltz", "the fast reel in the night, the rain, the waltz, and a reel at night " * 2]
    alone = torch.cat([encoder(encoder.reader.encode([text])) for text in texts])
    assert torch.allclose(encoder(encoder.reader.encode(texts)), alone, atol=1e-12)
    assert torch.allclose(encoder(encoder.reader.encode(texts[::-1])), alone.flip(0), atol=1e-12)


def test_the_order_of_words_counts_for_a_transformer_and_not_for_a_bag():
    texts = ["man bites dog", "dog bites man"]
    transformer = built(TextTransformer(Subwords(300, 64), 16, 1, 2), texts).eval()
    with torch.no_grad():
        transformer.positions.normal_()
    entry, two = transformer(transformer.reader.encode(texts))
    assert not torch.allclose(entry, two, atol=1e-3)
    bag = built(EmbeddingBag(BagOfWords()), texts)
    assert torch.allclose(*bag(bag.reader.encode(texts)), atol=1e-6)


def test_the_statistics_of_the_bands_become_the_scale_of_the_input():
    """The same sound through a shifted and stretched front gives the same vector."""
    conv = built(ConvNet(LogMel(8000, 0.5, 16, 256, 80), [4], 6), [rng.normal(0, 0.1, 8000).astype(np.float32)])
    assert np.allclose(conv.mean, conv.reader.mean) and np.allclose(conv.std, conv.reader.std)
    x = conv.reader.encode([rng.normal(0, 0.2, 4000).astype(np.float32)])
    expected = conv(x)
    x.values = x.values * 3 + 1
    conv.mean, conv.std = conv.mean * 3 + 1, conv.std * 3
    assert torch.allclose(conv(x), expected, atol=1e-4)


# -- the optimizer -----------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.EmbeddingBag(50, 4, mode="mean", sparse=True)
        self.names = torch.nn.Embedding(5, 4)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.GELU(), torch.nn.Linear(8, 2)
        )

    def forward(self, ids):
        return self.body(self.table(ids[:, None]) + self.names(ids % 5))


def test_parameters_are_grouped_by_what_suits_them():
    net = Net()
    named = {id(parameter): name for name, parameter in net.named_parameters()}
    result = [{named[id(entry)] for entry in group["params"]} for group in optim.parameter_groups(net)]
    assert result[0] == {"body.0.weight", "body.3.weight"}, "these decay"
    assert result[1] == {"body.0.bias", "body.1.weight", "body.1.bias", "body.3.bias", "names.weight"}
    assert result[2] == {"table.weight"}
    assert [group.get("weight_decay") for group in optim.parameter_groups(net)] == [None, 0.0, 0.0]


def test_the_dense_part_is_adamw_step_for_step():
    ours, theirs = Net(), Net()
    for net in (ours, theirs):
        net.table.requires_grad_(False)
    entry = optim.AdamWWithSparseAdagrad(optim.parameter_groups(ours), lr=0.01, weight_decay=0.1, betas=(0.9, 0.98))
    two = torch.optim.AdamW(optim.parameter_groups(theirs), lr=0.01, weight_decay=0.1, betas=(0.9, 0.98), fused=True)
    course = [torch.optim.lr_scheduler.LambdaLR(each, optim.warmup_cosine(12, 0.25)) for each in (entry, two)]
    for step in range(12):
        ids = torch.arange(step, step + 6)
        for net, optimizer, schedule in ((ours, entry, course[0]), (theirs, two, course[1])):
            optimizer.zero_grad()
            net(ids).square().mean().backward()
            optimizer.step()
            schedule.step()
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b), (step, name)


@pytest.mark.parametrize("restart", [False, True])
def test_sparse_tables_learn_and_untouched_rows_keep_their_bits(restart):
    net = Net()
    before = net.table.weight.detach().clone()
    optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(net), lr=0.01)
    ids = torch.tensor([3, 7, 7, 49])
    target_value = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0], [0.5, 0.5]])
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(net(ids), target_value)
        loss.backward()
        losses.append(float(loss.detach()))
        optim.clip_dense_gradients(optimizer, 1.0)
        optimizer.step()
        if restart and step == 20:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(net), lr=0.01)
            optimizer.load_state_dict(state)
            assert torch.equal(optimizer.state[net.table.weight]["squares"], state["state"][7]["squares"])
    assert losses[-1] < 0.01 * losses[0]
    touched = torch.tensor([3, 7, 49])
    rest = torch.tensor([row for row in range(50) if row not in (3, 7, 49)])
    assert torch.equal(net.table.weight[rest], before[rest])
    assert (net.table.weight[touched] != before[touched]).any(1).all()


def test_a_row_of_a_table_is_adagrad_with_one_number():
    table = torch.nn.Embedding(9, 3, sparse=True)
    expected = table.weight.detach().clone().double()
    optimizer = optim.AdamWWithSparseAdagrad([{"params": [table.weight], "sparse": True}], sparse_lr=0.1)
    squares = torch.zeros(9).double()
    for ids in ([1, 2, 2], [2, 5], [1]):
        optimizer.zero_grad()
        table(torch.tensor(ids)).pow(2).sum().backward()
        gradient = torch.zeros(9, 3).double()
        for row in ids:
            gradient[row] += 2 * expected[row]
        squares += gradient.square().mean(1)
        expected -= 0.1 * gradient / (squares + 1e-10).sqrt()[:, None]
        optimizer.step()
    assert torch.allclose(table.weight.double(), expected, atol=1e-5)


def test_clipping_scales_the_dense_gradients_to_their_common_norm():
    net = Net()
    (net(torch.tensor([1, 2])) * 1000).square().sum().backward()
    table = net.table.weight.grad.to_dense().clone()
    optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(net))
    optim.clip_dense_gradients(optimizer, 0.5)
    dense = [entry.grad for entry in net.parameters() if not entry.grad.is_sparse]
    assert math.isclose(float(torch.cat([entry.ravel() for entry in dense]).norm()), 0.5, rel_tol=1e-4)
    assert torch.equal(net.table.weight.grad.to_dense(), table)


def test_the_learning_rate_rises_and_then_falls_along_a_cosine():
    factor = optim.warmup_cosine(100, 0.1)
    rates = [factor(step) for step in range(101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert factor(1000) == pytest.approx(0)
    for total, warmup in ((0, 0.0), (1, 0.5), (2, 1.0)):
        assert all(0 <= optim.warmup_cosine(total, warmup)(step) <= 1 for step in range(5))


def test_text_transformer_refuses_a_reader_without_max_length():
    reader = BagOfWords()
    reader.fit(["slow waltz"])
    with pytest.raises(UsageError, match="BagOfWords: TextTransformer needs a reader with a max_length"):
        TextTransformer(reader).build(4)
