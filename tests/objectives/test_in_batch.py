"""Candidates of the batch: the memory of the last batches, and the correction for frequent targets."""

import math

import pytest
import torch
from torch.nn import functional as F

from jointembed import Category, CrossBatchMemory, EmbeddingBag, InBatch, JointEmbedding, Match
from jointembed.errors import UsageError
from jointembed.space.encoded import Mix

SONGS = {"song": ["a", "b", "c", "d", "e", "f"], "genre": ["jazz", "waltz", "reel", "jazz", "jig", "blues"]}


def make_model(objective, cells=SONGS, **settings):
    model = JointEmbedding(6, {column: EmbeddingBag(Category()) for column in cells}, [objective], **settings)
    for column, listed in cells.items():
        model.space.reader(column).fit(listed)
    torch.manual_seed(0)
    model.configure_model()
    return model.double().train()


def encode(model, rows, cells=SONGS):
    return {column: model.space.reader(column).encode([cells[column][row] for row in rows]) for column in cells}


def loss_of(model, batch):
    return torch.stack(list(model.losses(batch).values())).sum()


def test_the_targets_of_the_last_batches_are_candidates_and_equal_ones_are_right():
    model = make_model(Match("song", "genre", CrossBatchMemory(8, warmup=0)))
    first, second = encode(model, [0, 1, 2]), encode(model, [3, 4])
    songs, genres = (F.normalize(torch.cat([model(batch)[column].z for batch in (second, first)]))
                     for column in ("song", "genre"))  # fmt: skip
    loss_of(model, first)
    logits = songs[:2] @ genres.T / 0.07
    right = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]]).double()  # row 3 and row 0 are jazz
    forth = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    logits = genres[:2] @ songs.T / 0.07
    back = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    loss = loss_of(model, second)
    assert torch.allclose(loss, (forth.mean() + back.mean()) / 2)
    loss.backward()
    touched = model.space.encoders["genre"].table.weight.grad.abs().sum(1) > 0
    assert touched.tolist()[:5] == [name in ("jazz", "jig") for name in model.space.reader("genre").vocabulary()], (
        "what is remembered has no gradient"
    )


def test_memory_waits_for_the_warmup_overwrites_the_oldest_and_is_off_in_evaluations():
    model = make_model(Match("song", "genre", CrossBatchMemory(4, warmup=2)))
    alone = make_model(Match("song", "genre"))
    batches = [encode(model, [0, 1, 2]), encode(model, [3, 4, 5]), encode(model, [1, 4])]
    for batch in batches[:2]:
        assert torch.equal(loss_of(model, batch), loss_of(alone, batch))
    expected = torch.cat([model(batches[0])["genre"].z[2:], model(batches[1])["genre"].z])
    memory = model.objectives[0].candidates
    assert torch.allclose(memory.targets.sort(0).values, expected.sort(0).values)
    assert loss_of(model, batches[2]) > loss_of(alone, batches[2])
    model.eval()
    assert torch.equal(loss_of(model, batches[2]), loss_of(alone.eval(), batches[2]))


def test_a_resumed_training_has_the_memory_and_the_frequencies():
    objective = Match("song", "genre", CrossBatchMemory(4, warmup=0, log_q=True))
    model = make_model(objective)
    loss_of(model, encode(model, [0, 1, 2]))
    resumed = make_model(Match("song", "genre", CrossBatchMemory(4, warmup=0, log_q=True)))
    resumed.load_state_dict(model.state_dict())
    batch = encode(model, [3, 4])
    assert torch.equal(loss_of(resumed, batch), loss_of(model, batch))


def test_with_the_correction_scores_are_those_of_the_full_softmax():
    # The target does not depend on the query, so that the full softmax gives it its frequency.
    generator = torch.Generator().manual_seed(0)
    cells = {"song": [str(number) for number in range(40)], "genre": ["rare", "frequent"]}
    gaps = {}
    for log_q in (False, True):
        model = make_model(Match("song", "genre", InBatch(log_q)), cells, metric="dot")
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(400):
            songs = torch.randint(40, (32,), generator=generator).tolist()
            genres = (torch.rand(32, generator=generator) < 0.9).long().tolist()
            batch = {
                "song": model.space.reader("song").encode([cells["song"][song] for song in songs]),
                "genre": model.space.reader("genre").encode([cells["genre"][genre] for genre in genres]),
            }
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
        table, songs = model.space.vocabulary_vectors("genre"), model.space.vocabulary_vectors("song")
        scores = (songs @ table.T * model.objectives[0].loss.scale).mean(0).detach()
        rare, frequent = (scores[model.space.reader("genre").vocabulary().index(name)] for name in cells["genre"])
        gaps[log_q] = float(frequent - rare)
    assert abs(gaps[True] - math.log(9)) < 0.3 and abs(gaps[False]) < 0.5, gaps


def test_a_correction_without_a_softmax_is_refused():
    with pytest.raises(UsageError, match=r"Match\(song, genre\): `log_q` corrects a softmax.*Fix: use `loss: softmax`"):
        make_model(Match("song", "genre", InBatch(log_q=True), "sigmoid"))


@pytest.mark.parametrize("mixed", ["song", "genre"])
def test_mixed_vectors_are_not_remembered_and_the_other_side_is(mixed):
    model = make_model(Match("song", "genre", CrossBatchMemory(8, warmup=0)))
    alone = make_model(Match("song", "genre"))
    first, second = encode(model, [0, 1, 2]), encode(model, [3, 4])

    def encoded(batch):
        columns = model(batch)
        count = len(columns[mixed].z)
        columns[mixed].mix = Mix(torch.arange(count).flip(0), torch.full((count,), 0.75).double())
        return columns

    def loss(model, batch):
        return model.compute_loss(model.objectives[0], encoded(batch), batch)

    before = loss(model, first)
    assert torch.equal(before, loss(alone, first))
    columns = encoded(second)
    song, genre = (F.normalize(columns[column].z) for column in ("song", "genre"))
    unmixed = {"song": "genre", "genre": "song"}[mixed]
    remembered = F.normalize(model(first)[unmixed].z)
    shares = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).double()
    jazz = torch.tensor([[1, 0, 0], [0, 0, 0]]).double()  # which of the remembered ones the rows match
    one_way, other_way = (song, genre) if mixed == "song" else (genre, song)
    logits = one_way @ torch.cat([other_way, remembered]).T / 0.07
    right = torch.cat([shares, shares @ jazz], 1)
    forth = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    back = -((other_way @ one_way.T / 0.07).log_softmax(1) * shares.T).sum(1)
    assert torch.allclose(loss(model, second), (forth.mean() + back.mean()) / 2)
