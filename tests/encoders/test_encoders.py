"""Encoders against plain formulas, and the optimizer that touches only the rows of a table that were used."""

import copy
from itertools import combinations

import numpy as np
import pytest
import torch

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


def test_dropout_of_a_bag_averages_the_items_that_are_left():
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
    near = torch.cdist(parts, torch.stack(possible), compute_mode="donot_use_mm_for_euclid_dist")
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


def test_dropout_and_noise_of_numbers_act_in_training_only():
    cells = [{"a": a, "b": -a} for a in range(50)]
    torch.manual_seed(0)
    plain, noisy = (built(MLP(Numbers(["a", "b"]), 4, [8], **options), cells) for options in ({}, {"noise": 0.3}))
    dropped = built(MLP(Numbers(["a", "b"]), 4, [8], dropout=0.5), cells)
    x = plain.reader.encode(cells)
    for encoder in (noisy, dropped):
        assert not torch.equal(encoder(x), encoder(x))
        encoder.eval()
        assert torch.equal(encoder(x), encoder(x))
    noisy.train().load_state_dict(plain.state_dict())
    means = torch.stack([noisy(x).detach() for _ in range(400)])
    assert (means.mean(0) - plain(x)).abs().max() < 0.1 and means.std(0).mean() > 0.02


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


@pytest.mark.parametrize("sides", [[28, 28], [33, 7], [6, 5], [1, 3]])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_stem_of_stride_4_takes_the_place_of_two_stages(sides, axis):
    cells = [(255 * rng.random(sides)).astype(np.uint8) for _ in range(3)]
    convs = [
        built(ConvNet(SparseImage(sides), channels, 6, axis=axis, stem_stride=stride), cells)
        for channels, stride in (([4, 8, 12], 2), ([8, 12], 4))
    ]
    features = [conv.stages(torch.zeros(1, 1, *sides)).shape for conv in convs]
    assert features[0] == features[1]
    assert convs[1](convs[1].reader.encode(cells)).shape == (3, 6)


# -- the optimizer -----------------------------------------------------------------------------------------------------


def test_text_transformer_refuses_a_reader_without_max_length():
    reader = BagOfWords()
    reader.fit(["slow waltz"])
    with pytest.raises(UsageError, match="BagOfWords: TextTransformer needs a reader with a max_length"):
        TextTransformer(reader).build(4)
