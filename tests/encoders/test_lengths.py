"""Texts and lists of like length are computed together, with the vectors and gradients that each has alone."""

import pytest
import torch

from jointembed import GRU, Category, CausalTransformer, EmbeddingBag, Space, Subwords, TextTransformer
from jointembed.encoders import group_by_length
from jointembed.ragged import Ragged


def texts():
    words = "slow turning fast fiddle sad guitar six eight".split()
    return [" ".join(words[(n + k) % 8] for k in range(1 + n * n % 17)) for n in range(64)]


def make_space(cells, encoder, **settings):
    torch.manual_seed(0)
    encoder.reader.fit(cells)
    space = Space(8, {"column": encoder}, **settings)
    space.build()
    return space.double(), encoder.reader.encode(cells)


def text_space():
    return make_space(texts(), TextTransformer(Subwords(256, 64), 16, 1, 2, dropout=0.0))


def history_space(pool):
    cells = [[f"film {n * k % 7}" for k in range(1 + n * n % 30)] for n in range(64)]
    return make_space(cells, EmbeddingBag(Category()), pools={"column": pool})


SPACES = {
    "text": text_space,
    "CausalTransformer": lambda: history_space(CausalTransformer(40, 1, 2, 0.0)),
    "GRU": lambda: history_space(GRU(40, dropout=0.0)),
}


def gradients(space, x, batches):
    """The vectors (N, D) of rows, and the gradients of a sum over them, computed in the given batches."""
    space.zero_grad()
    z = torch.cat([space({"column": x[batch]})["column"].z for batch in batches])
    (z * torch.linspace(-1, 1, z.numel()).reshape(z.shape)).sum().backward()
    return z.detach(), {name: parameter.grad.clone() for name, parameter in space.named_parameters()}


@pytest.mark.parametrize("name", SPACES)
def test_batch_of_mixed_lengths_has_the_gradients_of_its_rows_alone(name):
    space, x = SPACES[name]()
    rows = torch.arange(len(x))
    z, batch = gradients(space, x, [rows])
    z_alone, alone = gradients(space, x, torch.split(rows, 1))
    torch.testing.assert_close(z, z_alone, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(batch, alone, rtol=1e-9, atol=1e-11)


def test_little_of_a_batch_is_padding(monkeypatch):
    space, x = text_space()
    encoder, steps = space.encoder("column"), []
    embed = encoder.embed_tokens
    monkeypatch.setattr(encoder, "embed_tokens", lambda ids, mask: steps.append(ids.numel()) or embed(ids, mask))
    space({"column": x})
    count, longest = len(x.values), int(x.offsets.diff().max())
    assert sum(steps) - count < (longest * len(x) - count) / 3


def test_few_short_entries_are_not_computed_apart():
    lengths = torch.tensor([4, 200, 8, 100, 16, 300])
    assert [group.tolist() for group in group_by_length(lengths)] == [[5], [1, 3], [4, 2, 0]]
    assert [group.tolist() for group in group_by_length(lengths[:0])] == [[]]


def test_batch_without_pieces_is_connected_to_the_parameters():
    space, x = text_space()
    empty = Ragged(x.values[:0], x.rows[:0], torch.tensor([-1, -2]), torch.zeros(1, dtype=torch.int64))
    space({"column": empty})["column"].z.sum().backward()
    assert all(parameter.grad is not None for parameter in space.encoder("column").parameters())
