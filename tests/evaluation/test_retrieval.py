"""Retrieval metrics against an oracle that ranks one candidate at a time, their intervals and chance levels."""

import itertools
import math

import numpy as np
import pytest

from jointembed.errors import UsageError, UserError
from jointembed.evaluation.ranking import first_places, ranks
from jointembed.evaluation.retrieval import evaluate, nearest_candidates, report, score_queries
from jointembed.evaluation.retrieval_task import bootstrap_groups, build_task


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def oracle(task, queries, candidates, metric, ks):
    """Each metric of each query, one candidate at a time."""
    values: dict[str, list[float]] = {}
    for n, query in enumerate(queries):
        if metric == "cosine":
            scores = candidates @ query / np.linalg.norm(candidates, axis=1) / np.linalg.norm(query)
        elif metric == "dot":
            scores = candidates @ query
        else:
            scores = -((candidates - query) ** 2).sum(1)
        order = [at for at in np.argsort(-scores).tolist() if at != task.self_candidate[n]]
        relevant = set(task.relevant(n).tolist())
        hits = [at in relevant for at in order]
        for k in ks:
            values.setdefault(f"hit@{k}", []).append(any(hits[:k]))
            values.setdefault(f"recall@{k}", []).append(sum(hits[:k]) / min(k, len(relevant)))
            values.setdefault(f"precision@{k}", []).append(sum(hits[:k]) / k)
            dcg = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(hits[:k]) if hit)
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))
            values.setdefault(f"ndcg@{k}", []).append(dcg / ideal)
        ranks = [rank for rank, hit in enumerate(hits) if hit]
        precisions = [(before + 1) / (rank + 1) for before, rank in enumerate(ranks)]
        values.setdefault("map", []).append(sum(precisions) / len(ranks))
        if task.labels is not None:
            nearest = [task.labels[at] for at in order[:5]]
            winner = max(nearest, key=lambda label: (nearest.count(label), -nearest.index(label)))
            values.setdefault("knn@5", []).append(winner == task.query_groups[task.query_offsets[n]])
    return {name: float(np.mean(value)) for name, value in values.items()}


def random_rows(rng, count, labels, several=False):
    rows = []
    for at in range(count):
        genres = [f"g{rng.integers(labels)}" for _ in range(rng.integers(0, 3) if several else 1)]
        words = [f"w{rng.integers(count)}" for _ in range(2)]
        split = "test" if rng.random() < 0.6 else "train"
        rows.append({"song": f"s{at}", "words": words, "genre": genres if several else genres[0], "split": split})
    return rows


CASES = [
    ("song", "song", "genre", "test", None),
    ("song", "song", "genre", "test", "all"),
    ("words", "song", None, "all", None),
    ("song", "words", None, "test", "all"),
    ("song", "genre", None, "all", None),
    ("song", "song", "genre", "test", "train"),
]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("several", [False, True])
def test_metrics_equal_the_oracle(metric, case, several):
    rng = np.random.default_rng(len(case[0]) + several)
    task = build_task(random_rows(rng, 60, 4, several), *case)
    queries, candidates = (rng.standard_normal((len(cells), 5)) for cells in (task.queries, task.candidates))
    metrics = evaluate(task, queries, candidates, metric, ks=(1, 3, 10, 100), n_resamples=200)
    expected = oracle(task, queries, candidates, metric, (1, 3, 10, 100))
    assert {name: value["value"] for name, value in metrics.items()} == pytest.approx(expected, abs=1e-12)
    for name, value in metrics.items():
        assert value["low"] - 1e-12 <= value["value"] <= value["high"] + 1e-12, name


def test_map_and_ndcg_equal_scikit_learn():
    from sklearn.metrics import average_precision_score, ndcg_score

    rng = np.random.default_rng(5)
    task = build_task(random_rows(rng, 80, 5), "words", "song", None, "all")
    queries, candidates = (unit(rng.standard_normal((len(cells), 6))) for cells in (task.queries, task.candidates))
    relevant = np.zeros((len(queries), len(candidates)))
    for query in range(len(queries)):
        relevant[query, task.relevant(query)] = 1
    scores = queries @ candidates.T
    metrics = evaluate(task, queries, candidates, "cosine", n_resamples=5)
    means = [average_precision_score(*pair) for pair in zip(relevant, scores, strict=True)]
    assert metrics["map"]["value"] == pytest.approx(np.mean(means))
    for k in (1, 5, 10):
        assert metrics[f"ndcg@{k}"]["value"] == pytest.approx(ndcg_score(relevant, scores, k=k))


def test_metrics_stand_in_a_fixed_order():
    rows = random_rows(np.random.default_rng(0), 30, 3)
    names = [f"{name}@{k}" for name in ("hit", "recall", "precision") for k in (1, 5, 10)]
    names += ["map", "ndcg@1", "ndcg@5", "ndcg@10"]
    for case, knn in ((("song", "words", None, "all"), []), (("song", "song", "genre", "all"), ["knn@5"])):
        task = build_task(rows, *case)
        queries, candidates = np.ones((len(task.queries), 2)), np.ones((len(task.candidates), 2))
        metrics = evaluate(task, queries, candidates, "cosine", n_resamples=5)
        assert list(metrics) == names + knn
        assert all(list(metric) == ["value", "low", "high", "chance"] for metric in metrics.values())
    counts = {"queries": len(task.queries), "unanswerable": task.unanswerable, "pool": 30}
    assert report(metrics, task) == {"metrics": metrics, **counts}


def test_classification_is_retrieval_among_all_labels():
    rows = [{"bitmap": np.full((2, 2), at), "digit": at % 3, "split": "test"} for at in range(9)]
    task = build_task(rows, "bitmap", "digit")
    metrics = evaluate(task, np.eye(3)[[0, 1, 2] * 3], np.eye(3), "cosine", ks=(1,), n_resamples=10)
    assert [metrics[name]["value"] for name in ("hit@1", "recall@1", "precision@1", "map", "ndcg@1")] == [1] * 5
    assert metrics["hit@1"]["chance"] == pytest.approx(1 / 3)


def test_chance_is_the_mean_over_all_rankings():
    genres = ["a", "a", "a", "b", "b", "c"]
    rows = [{"song": at, "genre": genre, "split": "test"} for at, genre in enumerate(genres)]
    rows += [{"song": 9 + at, "genre": genre, "split": "dev"} for at, genre in enumerate("ab")]
    for split in ("test", "dev"):  # with the query among the candidates, and without
        task = build_task(rows, "song", "song", "genre", split, "test")
        queries = np.tile([[1.0, 0.0]], (len(task.queries), 1))
        means = []
        for order in itertools.permutations(range(6)):
            angles = np.array(order) / 10
            candidates = np.stack([np.cos(angles), np.sin(angles)], 1)
            means.append(oracle(task, queries, candidates, "cosine", (1, 2, 4)))
        metrics = evaluate(task, queries, np.ones((6, 2)), "cosine", (1, 2, 4), n_resamples=2)
        for name, metric in metrics.items():
            assert metric["chance"] == pytest.approx(np.mean([mean[name] for mean in means])), name


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_collapsed_model_is_at_chance(metric):
    rows = [{"song": at, "word": f"w{at}", "genre": at % 4} for at in range(400)]
    same = np.tile(np.array([[0.6, 0.8, 0.123]]), (400, 1))
    metrics = evaluate(build_task(rows, "song", "word", split="all"), same, same, metric, n_resamples=2)
    for name in ("hit@1", "recall@10", "map"):
        assert metrics[name]["value"] == pytest.approx(metrics[name]["chance"], abs=0.01)
    metrics = evaluate(build_task(rows, "song", "song", "genre", split="all"), same, same, metric, n_resamples=2)
    assert metrics["map"]["value"] < 0.3 and metrics["recall@10"]["value"] < 0.5


def test_interval_covers_the_true_value():
    rng = np.random.default_rng(7)
    rows = [{"song": at, "label": at % 2} for at in range(200)]
    task = build_task(rows, "song", "label", split="all")
    covered = 0
    for trial in range(40):
        wrong = rng.random(200) < 0.3
        vectors = np.eye(2)[(np.arange(200) + wrong) % 2]
        hit = evaluate(task, vectors, np.eye(2), "cosine", (1,), n_resamples=200, seed=trial)["hit@1"]
        assert hit["value"] == pytest.approx(1 - wrong.mean())
        assert 0.08 < hit["high"] - hit["low"] < 0.17
        covered += hit["low"] <= 0.7 <= hit["high"]
    assert covered >= 34


def test_interval_over_groups_is_wider_than_over_their_rows():
    rng = np.random.default_rng(0)
    rows = [{"split": "test", "song": f"s{n}", "words": f"w{n}", "artist": n // 20} for n in range(200)]
    task = build_task(rows, "words", "song")
    correct = np.repeat(rng.random(10) < 0.5, 20)  # all songs of an artist, or none
    songs = np.eye(200)
    queries = np.where(correct[:, None], songs, np.roll(songs, 1, 0))
    plain, artists = (
        evaluate(task, queries, songs, "cosine", (1,), groups=bootstrap_groups(rows, task, column))["recall@1"]
        for column in (None, "artist")
    )
    assert plain["value"] == artists["value"]
    assert artists["high"] - artists["low"] > 2 * (plain["high"] - plain["low"])
    with pytest.raises(UsageError, match="no such column"):
        bootstrap_groups(rows, task, "band")


def test_seed_determines_the_intervals():
    rng = np.random.default_rng(8)
    task = build_task(random_rows(rng, 50, 4), "song", "song", "genre", "all")
    vectors = unit(rng.standard_normal((50, 4)))
    assert evaluate(task, vectors, vectors, "cosine") == evaluate(task, vectors, vectors, "cosine")
    assert evaluate(task, vectors, vectors, "cosine") != evaluate(task, vectors, vectors, "cosine", seed=1)


def test_single_query_has_no_interval_and_no_query_has_no_metrics():
    task = build_task([{"a": 1, "b": 2}, {"b": 3}], "a", "b", split="all")
    hit = evaluate(task, np.ones((1, 2)), np.eye(2), "cosine", (1,))["hit@1"]
    assert hit["low"] is None and hit["high"] is None and hit["value"] in (0, 1)
    task = build_task([{"a": 1}, {"b": 3}], "a", "b", split="all")
    metrics = evaluate(task, np.ones((0, 2)), np.ones((1, 2)), "cosine", (1,))
    assert set(metrics["map"].values()) == {None} and report(metrics, task)["unanswerable"] == 1


def test_vectors_must_match_the_task():
    task = build_task([{"a": 1, "b": 2}], "a", "b", split="all")
    for queries, candidates in (
        (np.ones((2, 2)), np.ones((1, 2))),
        (np.ones(2), np.ones((1, 2))),
        (np.ones((1, 2)), np.full((1, 2), np.nan)),
    ):
        with pytest.raises(UserError, match="one finite vector"):
            evaluate(task, queries, candidates, "cosine")
    with pytest.raises(UsageError, match="k"):
        evaluate(task, np.ones((1, 2)), np.ones((1, 2)), "cosine", (0,))


def test_block_size_does_not_change_the_metrics():
    rng = np.random.default_rng(9)
    task = build_task(random_rows(rng, 90, 4), "song", "song", "genre", "test", "all")
    vectors = unit(rng.standard_normal((len(task.queries), 3))), unit(rng.standard_normal((90, 3)))
    whole = evaluate(task, *vectors, "euclidean", n_resamples=10)
    assert evaluate(task, *vectors, "euclidean", n_resamples=10, block_scores=200) == whole


@pytest.mark.parametrize("relevant", [0, 1, 3, 60, 500])
def test_ranks_are_those_of_a_stable_sort(relevant):
    rng = np.random.default_rng(relevant)
    for spread in (1, 3, 300):  # all tied, many ties, few
        scores = rng.integers(0, spread, 500).astype(np.float32)
        scores[rng.integers(500, size=20)] = -np.inf
        places, order = rng.permutation(500)[:relevant], np.argsort(-scores, kind="stable")
        assert ranks(scores, places).tolist() == np.argsort(order)[places].tolist()
        for k in (1, 5, 500, 600):
            assert first_places(scores, k).tolist() == order[:k].tolist()


def test_ids_in_an_array_are_excluded():
    history = {"split": "test", "history": np.array([7.0, np.nan, 9.0]), "next": 8}  # from a list of a Parquet file
    rows = [history, *({"split": "films", "next": film} for film in (7, 8, 9))]
    task = build_task(rows, "history", "next", None, "test", "films", "history", {"history"})
    assert [excluded.tolist() for excluded in task.excluded] == [[0, 2]]


def test_excluded_candidates_are_not_ranked():
    rows = [
        {"split": "test", "user": "u", "history": ["a", "b"], "next": "c"},
        {"split": "test", "user": "u", "history": ["b"], "next": "a"},
        *({"split": "films", "next": film} for film in "abc"),
    ]
    task = build_task(rows, "history", "next", None, "test", "films", "history", {"history"})
    assert task.queries == [["a", "b"], ["b"]] and task.candidates == ["a", "b", "c"]
    assert [excluded.tolist() for excluded in task.excluded] == [[0, 1], [1]]
    # Both queries lie on b, which they have seen: the second finds a next, and for the first only c is left.
    vectors = np.eye(3)[[1, 1]], np.array([[0.5, 0.5, 0], [0, 1, 0], [0, 0.1, 1]])
    recall = evaluate(task, *vectors, "cosine", (1,), n_resamples=5)["recall@1"]
    assert recall["value"] == 1.0 and recall["chance"] == pytest.approx((1 / 1 + 1 / 2) / 2)
    task = build_task(rows, "history", "next", None, "test", "films", None, {"history"})
    assert evaluate(task, *vectors, "cosine", (1,), n_resamples=5)["recall@1"]["value"] == 0.0


def test_nearest_candidates_are_those_of_hit_at_1():
    rng = np.random.default_rng(3)
    for case in (("words", "song", None, "all"), ("song", "song", "genre", "all")):
        task = build_task(random_rows(rng, 60, 4), *case)
        queries, candidates = (rng.integers(-1, 2, (len(cells), 3)) for cells in (task.queries, task.candidates))
        nearest = nearest_candidates(task, queries, candidates, "dot", block_scores=300)
        hits = score_queries(task, queries, candidates, "dot", (1,)).values[:, 0]
        assert [at in task.relevant(n) for n, at in enumerate(nearest)] == hits.astype(bool).tolist()
        assert not (nearest == task.self_candidate).any()


def test_a_query_whose_answers_are_all_excluded_is_not_counted():
    rows = [
        {"split": "test", "history": ["a", "b"], "next": "c"},
        {"split": "test", "history": ["b"], "next": "b"},
        *({"split": "films", "next": film} for film in "abc"),
    ]
    task = build_task(rows, "history", "next", None, "test", "films", "history", {"history"})
    assert task.queries == [["a", "b"]] and task.unanswerable == 1 and len(task.excluded) == 1
    assert evaluate(task, np.ones((1, 2)), np.ones((3, 2)), "cosine", (1,))["hit@1"]["value"] == 1, "only c is left"
