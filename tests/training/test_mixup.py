"""Mixup of rows and of their targets."""

import pytest
import torch

from jointembed import BagOfWords, Category, ConvNet, EmbeddingBag, JointEmbedding, LogMel, Match, Ragged
from jointembed.errors import UsageError
from jointembed.training.mixup import mix_rows

WORDS = ["a slow waltz", "fast reel in the rain", "jazz", "blues at night"]


def test_mixed_rows_have_mixed_targets():
    sounds = [torch.full((1600,), 0.1 * n).numpy() for n in range(4)]
    match = Match("audio", "genre", "all")
    pair_up = Match("audio", "genre")
    model = JointEmbedding(
        4, {"audio": ConvNet(LogMel(8000, 0.2, 8, 128, 80), [8], 8), "genre": EmbeddingBag(Category())},
        [match, pair_up],
        mixup={"audio": 0.4},
    )  # fmt: skip
    cells = {"audio": sounds, "genre": ["a", "b", None, "a"]}
    for column in cells:
        model.space.reader(column).fit(cells[column])
    torch.manual_seed(0)
    model.configure_model()
    batch = {column: model.space.reader(column).encode(cells[column]) for column in cells}
    batch["audio"].values = batch["audio"].values.double()
    model.double()
    torch.manual_seed(3)
    codes = model.train()(batch)
    mix = codes["audio"].mix
    assert ((mix.share >= 0.5) & (mix.share <= 1)).all() and sorted(mix.partner.tolist()) == [0, 1, 2, 3]
    right = torch.tensor([[1, 0], [0, 1], [0, 0], [1, 0]]).double()
    right = mix.share[:, None] * right + (1 - mix.share[:, None]) * right[mix.partner]
    logits = match.loss.scale * model.space.score(codes["audio"].z, model.space.vocabulary_vectors("genre"))
    there = right.sum(1) > 0
    expected = (-(logits.log_softmax(1) * right).sum(1)[there] / right.sum(1)[there]).mean()
    assert torch.allclose(match(codes, batch, model.space), expected, atol=1e-6)
    assert pair_up(codes, batch, model.space).isfinite()
    assert model.eval()(batch)["audio"].mix is None


def test_only_rows_with_one_piece_are_mixed():
    x = Ragged(torch.rand(4, 2), torch.tensor([0, 0, 1, 3]), torch.arange(4))
    torch.manual_seed(0)
    mixed, mix = mix_rows(x, 0.4, "facts")
    assert torch.equal(mixed.values[:2], x.values[:2]) and mix.share[[0, 2]].tolist() == [1, 1]
    assert {mix.partner[1].item(), mix.partner[3].item()} == {1, 3} and mix.partner[[0, 2]].tolist() == [0, 2]
    share = mix.share[[1, 3], None]
    assert torch.allclose(
        mixed.values[2:], share * x.values[2:] + (1 - share) * x.values[1 + (mix.partner[[1, 3]] + 1) // 2]
    )


def test_columns_that_cannot_be_mixed_are_refused():
    model = JointEmbedding(
        8, {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}, [Match("words", "genre", "all")],
        mixup={"words": 0.4},
    )  # fmt: skip
    for column in ("words", "genre"):
        model.space.reader(column).fit(WORDS)
    model.configure_model()
    batch = {column: model.space.reader(column).encode(WORDS) for column in ("words", "genre")}
    with pytest.raises(UsageError, match="mixup.words"):
        model.train().losses(batch)
