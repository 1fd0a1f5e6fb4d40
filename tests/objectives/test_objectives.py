"""Match and Regress against plain formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from jointembed import (
    GBCE,
    BagOfWords,
    Buckets,
    Category,
    DistinctInBatch,
    EmbeddingBag,
    JointEmbedding,
    Match,
    Regression,
    Sampled,
    Sigmoid,
    Space,
)
from jointembed.errors import UsageError
from jointembed.objectives.losses import Sample


def built(model, cells):
    """A model whose readers are fitted on the cells of its columns, and the batch of those cells."""
    batch = {}
    for reader, columns in model.readers():
        reader.fit([cell for column in columns for cell in cells[column]])
    torch.manual_seed(0)
    model.configure_model()
    for reader, columns in model.readers():
        batch |= {column: reader.encode(cells[column]) for column in columns}
    for x in batch.values():
        x.values = x.values.double() if x.values.is_floating_point() else x.values
    return model.double(), batch


def pair(objective, cells, dim=6, **settings):
    encoders = {column: EmbeddingBag(Category()) for column in cells}
    return built(JointEmbedding(dim, encoders, [objective], **settings), cells)


def vectors(model, batch, column):
    return model(batch)[column].z.double()


SONGS = {"song": ["a", "b", "c", "d"], "genre": ["jazz", "waltz", "jazz", "reel"]}


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_softmax_among_all_is_cross_entropy(metric):
    match = Match("song", "genre", "all")
    model, batch = pair(match, SONGS, metric=metric)
    z, table = vectors(model, batch, "song"), model.space.vocabulary_vectors("genre")
    scores = {
        "cosine": F.normalize(z) @ F.normalize(table).T,
        "dot": z @ table.T,
        "euclidean": -(torch.cdist(z, table) ** 2),
    }[metric]
    expected = F.cross_entropy(scores * match.loss.scale, torch.tensor([0, 2, 0, 1]))
    assert torch.allclose(match(model(batch), batch, model.space), expected, atol=1e-6)


def test_sigmoid_judges_each_tag_on_its_own():
    match = Match("song", "tags", "all", loss="sigmoid")
    model, batch = pair(match, {"song": ["a", "b", "c"], "tags": [["slow", "sad"], ["fast"], None]})
    right = torch.zeros(2, 3).double()
    vocabulary_ = model.space.reader("tags").vocabulary()
    for row, tag in [(0, "slow"), (0, "sad"), (1, "fast")]:
        right[row, vocabulary_.index(tag)] = 1
    logits = match.loss.logits(
        model.space.score(vectors(model, batch, "song")[:2], model.space.vocabulary_vectors("tags"))
    )
    expected = F.binary_cross_entropy_with_logits(logits, right, reduction="sum") / 2
    assert torch.allclose(match(model(batch), batch, model.space), expected, atol=1e-6)


def test_info_nce_goes_both_ways():
    match = Match("song", "words")
    model, batch = pair(match, {"song": ["a", "b", "c"], "words": ["x", "y", "z"]})
    logits = match.loss.scale * model.space.score(vectors(model, batch, "song"), vectors(model, batch, "words"))
    order = torch.arange(3)
    expected = (F.cross_entropy(logits, order) + F.cross_entropy(logits.T, order)) / 2
    assert torch.allclose(match(model(batch), batch, model.space), expected, atol=1e-6)


def test_sigmoid_loss_in_a_batch_is_siglip():
    match = Match("song", "words", loss="sigmoid")
    model, batch = pair(match, {"song": ["a", "b", "c"], "words": ["x", "y", "z"]})
    scores = model.space.score(vectors(model, batch, "song"), vectors(model, batch, "words"))
    logits = match.loss.scale * scores + match.loss.bias
    expected = -F.logsigmoid((2 * torch.eye(3).double() - 1) * logits).sum() / 3
    assert torch.allclose(match(model(batch), batch, model.space), expected, atol=1e-6)


def test_equal_targets_equal_queries_and_equal_labels_are_never_negatives():
    cells = {"song": ["a", "b", "a", "d"], "words": ["x", "x", "z", "w"], "artist": ["p", "q", "r", "q"]}

    def loss(same, right):
        match = Match("song", "words", positives_by=same)
        model = JointEmbedding(
            6,
            {"song": EmbeddingBag(Category()), "words": EmbeddingBag(Category()), "artist": EmbeddingBag(Category())},
            [match],
        )
        model, batch = built(model, cells)
        logits = match.loss.scale * model.space.score(vectors(model, batch, "song"), vectors(model, batch, "words"))
        forth = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
        back = -(logits.T.log_softmax(1) * right.T).sum(1) / right.sum(0)
        return match(model(batch), batch, model.space), (forth.mean() + back.mean()) / 2

    # a-x, b-x share a target; rows 0 and 2 share the query a.
    right = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]).double()
    got, expected = loss(None, right)
    assert torch.allclose(got, expected, atol=1e-6)
    right[1, 3] = right[3, 1] = 1  # and rows 1 and 3 share the artist q
    got, expected = loss("artist", right)
    assert torch.allclose(got, expected, atol=1e-6)


def test_several_captions_of_a_cell_are_targets_one_by_one():
    cells = {"song": ["a", "b"], "words": [["x", "y"], ["y", "z"]]}
    match = Match("song", "words")
    model, batch = pair(match, cells)
    captions = torch.stack([model.space.encoders["words"].vocabulary_vectors()[i] for i in (0, 1, 1, 2)])
    logits = match.loss.scale * model.space.score(vectors(model, batch, "song"), captions)
    right = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]]).double()  # the caption y belongs to both
    forth = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    back = -(logits.T.log_softmax(1) * right.T).sum(1) / right.sum(0)
    assert torch.allclose(match(model(batch), batch, model.space), (forth.mean() + back.mean()) / 2, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"loss": "sigmoid"}, {"candidates": "all"}])
def test_rows_with_neither_query_nor_target_change_nothing(settings):
    whole = {"song": ["a", "b", "c"], "words": ["x", "y", "z"]}
    gaps = {"song": ["a", None, "b", "c", None], "words": ["x", None, "y", "z", None]}
    match = Match("song", "words", **settings)
    model, batch = pair(match, whole)
    expected = match(model(batch), batch, model.space)
    batch = {column: model.space.reader(column).encode(gaps[column]) for column in gaps}
    assert torch.allclose(match(model(batch), batch, model.space), expected, atol=1e-6)


def test_a_target_without_its_query_is_a_wrong_answer_for_the_others():
    match = Match("song", "words")
    model, batch = pair(match, {"song": ["a", "b", None], "words": ["x", "y", "z"]})
    logits = match.loss.scale * model.space.score(vectors(model, batch, "song")[:2], vectors(model, batch, "words"))
    order = torch.arange(2)
    expected = (F.cross_entropy(logits, order) + F.cross_entropy(logits.T[:2], order)) / 2
    assert torch.allclose(match(model(batch), batch, model.space), expected, atol=1e-6)


def test_no_pair_at_all_gives_a_zero_that_is_connected():
    model, batch = pair(Match("song", "words"), {"song": ["a", None], "words": [None, "x"]})
    loss = model.objectives[0](model(batch), batch, model.space)
    loss.backward()
    assert loss == 0 and all(parameter.grad is not None for parameter in model.space.encoders.parameters())


USERS = ["u0", "u1", "u2", "u3"]


def sampled_and_full(
    candidates, draws=400, films=("f1", "f1", "f3", "f30"), loss="softmax", full_loss="softmax", users=USERS
):
    torch.manual_seed(1)
    names = [f"f{number}" for number in range(40)]
    cells = {"user": list(users), "film": list(films)}
    sampled, full = Match("user", "film", candidates, loss), Match("user", "film", "all", full_loss)
    model = JointEmbedding(5, {"user": EmbeddingBag(Category()), "film": EmbeddingBag(Category())}, [sampled, full])
    model.space.reader("user").fit(cells["user"])
    model.space.reader("film").fit([name for number, name in enumerate(names) for _ in range(1 + number % 7)])
    model.configure_model()
    batch = {column: model.space.reader(column).encode(cells[column]) for column in cells}
    model.double()
    with torch.no_grad():
        codes = model(batch)
        losses = torch.stack([sampled(codes, batch, model.space) for _ in range(draws)])
        return losses.mean(), full(codes, batch, model.space), losses.std() / math.sqrt(draws)


def test_sampled_softmax_tends_to_the_full_one():
    near, full, error = sampled_and_full(20_000, draws=20)
    assert abs(near - full) < 0.01 + 4 * error
    rough, full, _ = sampled_and_full(64)
    assert abs(rough - full) < 0.25  # biased by few samples, yet of the right size: without logQ it would be far off


SETS = [["f1", "f2", "f5", "f6", "f39"], "f1", ["f3", "f4"], [f"f{number}" for number in range(6, 30)]]


@pytest.mark.parametrize(
    "sample",
    [
        Sampled(20_000),
        Sampled(20_000, power=1.0),
        Sampled(20_000, 0.8, uniform=0.3),
        Sampled(20_000, share_among=3),
        Sampled(20_000, share_among=1),
    ],
)
def test_sampled_softmax_of_sets_tends_to_the_full_one(sample):
    """Each set counts once, and its own members are not among its wrong candidates, however often they are drawn."""
    near, full, error = sampled_and_full(sample, draws=20, films=SETS)
    assert abs(near - full) < 0.01 + 4 * error


@pytest.mark.parametrize("films", [("f1", "f1", "f3", "f30"), SETS])
def test_buckets_that_hold_everything_are_the_full_softmax(films):
    near, full, error = sampled_and_full(Buckets(40, alpha=0.01), draws=3, films=films)
    assert error < 1e-12
    torch.testing.assert_close(near, full)


def test_buckets_hold_the_hardest_candidates():
    """A sampled softmax without its correction is far below the full one; buckets lose little, as others score low."""
    torch.manual_seed(0)
    reader = Category()
    model = JointEmbedding(
        8, {"film": EmbeddingBag(reader)}, [Match("film", "film", c) for c in ("all", Buckets(8))], metric="dot"
    )
    reader.fit([f"f{number}" for number in range(200)])
    model.configure_model()
    batch = {"film": reader.encode([f"f{number}" for number in range(200)])}
    with torch.no_grad():
        model.space.encoders["film"].table.weight.mul_(4)
        encoded = model(batch)
        full, near = (objective(encoded, batch, model.space) for objective in model.objectives)
    assert 0.3 * full < near <= full


def test_calibrated_loss_is_that_of_all_candidates_times_the_share_that_is_drawn():
    near, full, error = sampled_and_full(Sampled(4_000, power=0), 20, loss=GBCE(1.0), full_loss=Sigmoid())
    assert abs(near * 39 / 4_000 - full) < 0.03 * full + 4 * error


@pytest.mark.parametrize("candidates", [64, Sampled(64, power=0.5, uniform=0.9)])
def test_calibrated_loss_refuses_draws_by_frequency(candidates):
    with pytest.raises(UsageError, match="GBCE needs candidates that are drawn uniformly.*power: 0"):
        sampled_and_full(candidates, 2, loss=GBCE())


def test_calibration_weighs_the_target_by_the_share_that_is_drawn():
    space = Space(5, {"film": EmbeddingBag(Category())})
    half, loss = (GBCE(calibration) for calibration in (0.5, 0.0))
    for each in (half, loss):
        each.build(space, 40)
    rows, hits = torch.arange(3), torch.zeros(3, 2, dtype=torch.bool)
    sample = Sample(torch.randn(5, 5), rows, rows, torch.tensor([3, 4]), torch.ones(2), hits, torch.ones(3))
    right = F.softplus(-loss.logits(space.pair_scores(sample.vectors, sample.vectors, rows, rows))).sum()
    query = sample.vectors[:3]
    difference = loss.over_sample(query, sample, space, None) - half.over_sample(query, sample, space, None)
    torch.testing.assert_close(difference, 0.5 * (1 - 2 / 39) * right)


def test_groups_of_queries_have_draws_of_their_own():
    """Four queries of the same user and film: they share a loss only if they share their draws."""
    for share_among, distinct in ((4, 1), (1, 4)):
        losses = []
        for row in range(4):
            torch.manual_seed(3)
            film = ["f1" if number == row else None for number in range(4)]
            losses.append(sampled_and_full(Sampled(5, share_among=share_among), 2, film, users=["u0"] * 4)[0])
        assert len({round(float(loss), 9) for loss in losses}) == distinct


@pytest.mark.parametrize("share_among", [512, 1, 3])
def test_gradients_of_sampled_sets_are_the_same_in_chunks(share_among):
    losses, gradients = [], []
    for chunk in (0, 2):
        torch.manual_seed(0)
        encoders = {"user": EmbeddingBag(Category()), "film": EmbeddingBag(Category())}
        model = JointEmbedding(
            5, encoders, [Match("user", "film", Sampled(9, share_among=share_among))], grad_cache_chunk=chunk
        )
        model.space.reader("user").fit(["u0", "u1", "u2", "u3"])
        model.space.reader("film").fit([f"f{number}" for number in range(30)])
        model.configure_model()
        model.double()
        users = [None, "u1", "u2", "u3"]
        batch = {"user": model.space.reader("user").encode(users), "film": model.space.reader("film").encode(SETS)}
        torch.manual_seed(7)
        loss = torch.stack(list(model.losses(batch).values())).sum()
        loss.backward()
        losses.append(loss.detach())
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(losses[1], losses[0])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(second, first)


def test_nested_dimensions_average_over_the_prefixes():
    match = Match("song", "genre", "all")
    model, batch = pair(match, SONGS, matryoshka_dims=[2, 6])
    losses = [match(model(batch), batch, model.space, dim) for dim in (2, 6)]
    [whole] = model.losses(batch).values()
    assert losses[0] != losses[1] and torch.allclose((losses[0] + losses[1]) / 2, whole)


def test_regression_predicts_in_the_units_of_the_table():
    cells = {"words": ["big", "small", "big", None], "price": [300.0, 100.0, 300.0, 200.0]}
    model = JointEmbedding(4, {"words": EmbeddingBag(BagOfWords())}, [Regression("words", "price", head=[8])])
    model, batch = built(model, cells)
    objective = model.objectives[0]
    z = vectors(model, batch, "words")
    standard = (torch.tensor([300.0, 100.0, 300.0]) - 225) / math.sqrt((75**2 * 2 + 125**2 + 25**2) / 4)
    expected = F.mse_loss(objective.network(z)[:3, 0], standard.double())
    assert torch.allclose(objective(model(batch), batch, model.space), expected, atol=1e-5)
    answer = objective.predict(z)
    assert answer.shape == (4,) and abs(answer - 225).max() < 500


def test_head_predicts_labels_which_have_no_vectors():
    model = JointEmbedding(3, {"song": EmbeddingBag(Category())}, [Match("song", "genre", "all", head=[8])])
    model, batch = built(model, SONGS)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        model.objectives[0](model(batch), batch, model.space).backward()
        optimizer.step()
    assert model.objectives[0].predict(vectors(model, batch, "song")).tolist() == SONGS["genre"]
    with pytest.raises(UsageError, match="predict"):
        model.space.encoder("genre")


def test_impossible_settings_are_refused_in_one_line():
    with pytest.raises(UsageError, match="candidates: all"):
        Match("a", "b", "batch", head=[3])
    with pytest.raises(UsageError, match="positives_by"):
        Match("a", "b", "all", positives_by="c")
    with pytest.raises(UsageError, match="did you mean song"):
        JointEmbedding(3, {"song": EmbeddingBag(Category())}, [Match("son", "song")])
    model = JointEmbedding(
        3, {"song": EmbeddingBag(Category()), "words": EmbeddingBag(BagOfWords())}, [Match("song", "words", "all")]
    )
    with pytest.raises(UsageError, match="column of ids"):
        built(model, {"song": ["a"], "words": ["x y"]})


def test_a_table_of_half_a_million_asks_for_samples():
    model = JointEmbedding(
        2,
        {"user": EmbeddingBag(Category()), "film": EmbeddingBag(Category())},
        [Match("user", "film", "all", "sigmoid")],
    )
    model.space.reader("user").fit(["u"])
    model.space.reader("film").fit([f"f{number}" for number in range(20_001)])
    with pytest.raises(UsageError, match="candidates: 512"):
        model.configure_model()


@pytest.mark.parametrize(("late_interaction", "temperature"), [(False, 0), (True, 0), (True, 0.5)])
def test_distinct_targets_of_a_batch_count_once_and_the_best_phrase_scores(late_interaction, temperature):
    """Two captions share a tag, and two are equal: a tag of either is a tag of both."""
    cells = {
        "caption": [["slow piano", "sad voice"], ["loud drums"], None, ["a choir", "an organ"], ["loud drums"]],
        "tags": [["sad", "piano"], ["drums", "sad"], ["unused"], ["choir"], ["fast"]],
    }
    match = Match("caption", "tags", DistinctInBatch(late_interaction, temperature), "sigmoid")
    encoders = {"caption": EmbeddingBag(BagOfWords()), "tags": EmbeddingBag(Category())}
    model, batch = built(JointEmbedding(6, encoders, [match]), cells)
    phrases, tags = batch["caption"], model.space.reader("tags").vocabulary()
    z = model.space.column("caption").project(model.space.encoder("caption").pieces(phrases))
    right = [{"sad", "piano"}, {"drums", "sad", "fast"}, set(), {"choir"}, {"drums", "sad", "fast"}]
    table = F.normalize(model.space.vocabulary_vectors("tags"))
    losses = []
    for row in (0, 1, 3, 4):
        own = z[phrases.rows == row]
        scores = F.normalize(own if late_interaction else own.mean(0, keepdim=True)) @ table.T
        target = torch.tensor([float(tag in right[row]) for tag in tags], dtype=torch.double)
        best = temperature * (scores / temperature).logsumexp(0) if temperature else scores.amax(0)
        logits = match.loss.logits(best)
        losses.append(F.binary_cross_entropy_with_logits(logits, target, reduction="sum"))
    encoded = model.space(batch, match.piece_columns())
    loss = match(encoded, batch, model.space)
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item())
    loss.backward()
    assert model.space.encoder("caption").table.weight.grad.abs().sum() > 0
