"""Histories: read in their order, never ahead, and followed by what comes next."""

import lightning
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jointembed import Category, CausalTransformer, EmbeddingBag, JointEmbedding, Match, NextItem, Space, TableData
from jointembed.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
FILMS = [f"f{number}" for number in range(12)]


def cycles(count=60, length=9):
    """Histories that go round: after f3 comes f4, or from the second half of the rows on f2."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        start, step = int(rng.integers(12)), 1 if number % 2 else -1
        films = [FILMS[(start + step * place) % 12] for place in range(length)]
        rows.append({"id": str(number), "split": "train", "history": films})
    return rows


def space(pool=None, candidates="all", loss="softmax", **more):
    return JointEmbedding(
        16,
        {"film": EmbeddingBag(Category())},
        [NextItem("history", candidates, loss)],
        columns={"film": "film", "history": "film"},
        pools={"history": pool or CausalTransformer(length=8, layers=1, dropout=0.0)},
        lr=0.02,
        **more,
    )


def built(model):
    model.space.reader("film").fit([FILMS] * 3)
    torch.manual_seed(0)
    model.configure_model()
    return model.eval()


def fitted(model, rows, epochs=45):
    lightning.seed_everything(0)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    rows = rows + [{"id": "all", "split": "train", "film": film} for film in FILMS]
    trainer.fit(model, TableData(rows, batch_size=24))
    return model


@pytest.mark.parametrize(("candidates", "loss"), [("all", "softmax"), (8, "softmax"), (8, "sigmoid")])
def test_sequence_encoder_learns_the_next_item_from_more_than_the_last(candidates, loss, tmp_path):
    model = fitted(space(candidates=candidates, loss=loss), cycles())
    films = model.space.embed("film", FILMS)
    up, down = model.space.embed("history", [["f1", "f2", "f3"], ["f5", "f4", "f3"]])
    assert FILMS[int((films @ up).argmax())] == "f4" and FILMS[int((films @ down).argmax())] == "f2"
    model.save(tmp_path / "films.ckpt")
    again = Space.load(tmp_path / "films.ckpt")
    assert (again.embed("history", [["f1", "f2", "f3"]])[0] == up).all()


def test_states_do_not_depend_on_later_items():
    model = built(space())
    pool = model.space.pools["history"]
    x = model.space.reader("film").encode([["f0", "f5", "f2", "f7"], ["f0", "f5", "f9"], None])
    with torch.inference_mode():
        states = pool.states(model.space.encoder("film").pieces(x), x)
        second = model.space.reader("film").encode([["f0", "f5", "f2", "f1"], ["f0", "f5", "f1"], None])
        changed = pool.states(model.space.encoder("film").pieces(second), second)
    same = [0, 1, 2, 4, 5]
    assert torch.equal(states[same], changed[same])
    assert not torch.allclose(states[[3, 6]], changed[[3, 6]])
    assert pool.last(states, x)[2].abs().sum() == 0


def test_long_histories_are_cropped_to_their_end_or_at_random_in_training():
    model = built(space())
    long = [f"f{number % 12}" for number in range(30)]
    assert (model.space.embed("history", [long]) == model.space.embed("history", [long[-8:]])).all()
    pool, x = model.space.pools["history"].train(), model.space.reader("film").encode([long, long[:3]])
    firsts = {int(pool.crop(x).values[0]) for _ in range(50)}
    assert len(firsts) > 5 and all(len(pool.crop(x).values) == 11 for _ in range(5))


def test_the_same_history_has_the_same_bits_beside_any_others():
    model = built(space(CausalTransformer(length=64, layers=2)))
    rng = np.random.default_rng(0)
    cells = [[FILMS[n] for n in rng.integers(12, size=rng.integers(1, 70))] for _ in range(80)]
    together = model.space.embed("history", cells)
    for number in (0, 7, 79):
        assert (model.space.embed("history", [cells[number]])[0] == together[number]).all()
    assert (model.space.embed("history", cells[::-1])[::-1] == together).all()


def test_next_item_needs_a_pool():
    model = JointEmbedding(4, {"film": EmbeddingBag(Category())}, [NextItem("film", "all")])
    model.space.reader("film").fit([FILMS])
    with pytest.raises(UsageError, match="pools: {film: CausalTransformer}"):
        model.configure_model()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_all_candidates_give_the_exact_softmax_in_both_metrics(metric):
    films = {"user": EmbeddingBag(Category()), "film": EmbeddingBag(Category())}
    model = JointEmbedding(3, films, [Match("user", "film", "all")], metric=metric)
    cells = {"user": ["a", "b", "c", "a"], "film": ["x", "y", None, "z"]}
    for column, values in cells.items():
        model.space.reader(column).fit(values)
    torch.manual_seed(0)
    model.configure_model()
    batch = {column: model.space.reader(column).encode(values) for column, values in cells.items()}
    codes = model(batch)
    loss = model.objectives[0](codes, batch, model.space)
    scores = model.objectives[0].loss.logits(
        model.space.score(codes["user"].z[[0, 1, 3]], model.space.vocabulary_vectors("film"))
    )
    torch.testing.assert_close(loss, F.cross_entropy(scores, torch.tensor([0, 1, 2])))


def test_fingerprint_covers_the_settings_of_a_pool():
    def make_case(heads):
        torch.manual_seed(0)
        model = space(CausalTransformer(length=8, layers=1, heads=heads, dropout=0.0))
        model.space.reader("film").fit(FILMS)
        model.configure_model()
        return model.space.fingerprint

    assert make_case(2) == make_case(2) != make_case(4)
