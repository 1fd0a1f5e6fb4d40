import itertools
import math

import numpy as np
import pytest

from jointembed.errors import UsageError, UserError
from jointembed.evaluation.retrieval import figures, report
from jointembed.evaluation.retrieval_task import task


def unit(rng, *shape):
    vectors = rng.standard_normal(shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def relevant(one):
    return [one.relevant(at).tolist() for at in range(len(one.queries))]


def plain(one, queries, candidates, metric, ks):
    """The oracle: each figure of each query, one candidate at a time."""
    sums: dict[str, list[float]] = {}
    for at, query in enumerate(queries):
        if metric == "cosine":
            scores = candidates @ query / np.linalg.norm(candidates, axis=1) / np.linalg.norm(query)
        elif metric == "dot":
            scores = candidates @ query
        else:
            scores = -((candidates - query) ** 2).sum(1)
        order = [place for place in np.argsort(-scores).tolist() if place != one.own[at]]
        right = set(one.relevant(at).tolist())
        good = [place in right for place in order]
        for k in ks:
            sums.setdefault(f"hit@{k}", []).append(any(good[:k]))
            sums.setdefault(f"recall@{k}", []).append(sum(good[:k]) / min(k, len(right)))
            sums.setdefault(f"precision@{k}", []).append(sum(good[:k]) / k)
            dcg = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(good[:k]) if hit)
            sums.setdefault(f"ndcg@{k}", []).append(
                dcg / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(right))))
            )
        ranks = [rank for rank, hit in enumerate(good) if hit]
        sums.setdefault("map", []).append(sum((nth + 1) / (rank + 1) for nth, rank in enumerate(ranks)) / len(ranks))
        if one.labels is not None:
            near = [one.labels[place] for place in order[:5]]
            most = max(near, key=lambda label: (near.count(label), -near.index(label)))
            sums.setdefault("knn@5", []).append(most == one.groups[one.offsets[at]])
    return {name: float(np.mean(values)) for name, values in sums.items()}


PAIRS = [
    {"id": "1", "split": "test", "audio": "A", "caption": ["a", "aa"]},
    {"id": "2", "split": "test", "audio": "B", "caption": ["b", "aa"]},
    {"id": "3", "split": "train", "audio": "C", "caption": ["c"]},
    {"id": "4", "split": "train", "audio": "A", "caption": "b"},
    {"id": "5", "split": "test", "audio": None, "caption": ["d", None, ""]},
    {"id": "6", "split": "test", "audio": "E"},
]


def test_pairs_of_any_row_are_right():
    one = task(PAIRS, "caption", "audio")
    assert one.queries == ["a", "aa", "b"] and one.candidates == ["A", "B", "E"]
    assert relevant(one) == [[0], [0, 1], [0, 1]]
    assert one.unanswerable == 1 and one.own.tolist() == [-1, -1, -1] and one.labels is None
    other = task(PAIRS, "audio", "caption", split="train", against="test")
    assert other.queries == ["A"] and other.candidates == ["a", "aa", "b", "d"]
    assert relevant(other) == [[0, 1, 2]] and other.unanswerable == 1
    assert task(PAIRS, "caption", "audio", split="all").candidates == ["A", "B", "C", "E"]


def test_labels_make_right_what_shares_one():
    rows = [
        {"song": "A", "genre": "waltz", "split": "test"},
        {"song": "B", "genre": "waltz", "split": "test"},
        {"song": "C", "genre": ["waltz", "polka"], "split": "test"},
        {"song": "D", "genre": "polka", "split": "train"},
        {"song": "E", "split": "test"},
        {"song": "A", "genre": "jig", "split": "train"},
        {"song": "F", "genre": "jig", "split": "test"},
    ]
    one = task(rows, "song", "song", "genre")
    assert one.queries == ["A", "B", "C"] and one.candidates == list("ABCEF") and one.unanswerable == 2
    assert relevant(one) == [[1, 2], [0, 2], [0, 1]] and one.own.tolist() == [0, 1, 2]
    assert one.labels is None  # C has two labels and cannot vote
    every = task(rows, "song", "song", "genre", split="all")
    assert dict(zip(every.queries, relevant(every), strict=True))["A"] == [1, 2, 5]
    across = task(rows, "song", "song", "genre", "test", "train")
    assert across.queries == ["C", "F"] and across.candidates == ["D", "A"]
    assert relevant(across) == [[0], [1]] and across.own.tolist() == [-1, -1]


def test_a_label_column_is_classification_among_all_its_values():
    rows = [{"bitmap": np.full((2, 2), at), "digit": at % 3, "split": "test"} for at in range(9)]
    one = task(rows, "bitmap", "digit")
    assert one.candidates == [0, 1, 2] and relevant(one) == [[at % 3] for at in range(9)]
    got = figures(one, np.eye(3)[[0, 1, 2] * 3], np.eye(3), "cosine", ks=(1,), bootstrap=10)
    assert [got[name]["value"] for name in ("hit@1", "recall@1", "precision@1", "map", "ndcg@1")] == [1] * 5
    assert got["hit@1"]["chance"] == pytest.approx(1 / 3)


def test_elements_of_one_list_find_each_other_but_not_themselves():
    one = task([{"tags": ["a", "b", "c"]}, {"tags": "d"}], "tags", "tags", split="all")
    assert one.queries == ["a", "b", "c"] and relevant(one) == [[1, 2], [0, 2], [0, 1]] and one.unanswerable == 1


@pytest.mark.parametrize(
    "asked, words",
    [
        (("adio", "caption"), "did you mean audio"),
        (("audio", "x"), "no such column"),
        (("audio", "caption", "gen"), "gen"),
        (("audio", "caption", None, "tets"), "did you mean test"),
        (("audio", "caption", None, "test", "dev"), "dev"),
    ],
)
def test_what_the_table_does_not_have_is_one_line(asked, words):
    with pytest.raises(UsageError, match=words):
        task(PAIRS, *asked)


def random_rows(rng, count, labels, several=False):
    rows = []
    for at in range(count):
        genre = (
            [f"g{rng.integers(labels)}" for _ in range(rng.integers(0, 3))] if several else f"g{rng.integers(labels)}"
        )
        split = "test" if rng.random() < 0.6 else "train"
        rows.append(
            {"song": f"s{at}", "words": [f"w{rng.integers(count)}" for _ in range(2)], "genre": genre, "split": split}
        )
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
def test_figures_equal_the_plain_ones(metric, case, several):
    rng = np.random.default_rng(len(case[0]) + several)
    one = task(random_rows(rng, 60, 4, several), *case)
    queries, candidates = rng.standard_normal((len(one.queries), 5)), rng.standard_normal((len(one.candidates), 5))
    got = figures(one, queries, candidates, metric, ks=(1, 3, 10, 100), bootstrap=200)
    expected = plain(one, queries, candidates, metric, (1, 3, 10, 100))
    assert {name: figure["value"] for name, figure in got.items()} == pytest.approx(expected, abs=1e-12)
    for name, figure in got.items():
        assert figure["low"] - 1e-12 <= figure["value"] <= figure["high"] + 1e-12, name


def test_keys_and_their_order():
    rows = random_rows(np.random.default_rng(0), 30, 3)
    names = [
        "hit@1",
        "hit@5",
        "hit@10",
        "recall@1",
        "recall@5",
        "recall@10",
        "precision@1",
        "precision@5",
        "precision@10",
        "map",
        "ndcg@1",
        "ndcg@5",
        "ndcg@10",
    ]
    for case, more in ((("song", "words", None, "all"), []), (("song", "song", "genre", "all"), ["knn@5"])):
        one = task(rows, *case)
        got = figures(one, np.ones((len(one.queries), 2)), np.ones((len(one.candidates), 2)), "cosine", bootstrap=5)
        assert list(got) == names + more
        assert all(list(figure) == ["value", "low", "high", "chance"] for figure in got.values())
    said = report(got, one)
    assert said == {"figures": got, "queries": len(one.queries), "unanswerable": one.unanswerable, "pool": 30}


def test_average_precision_and_gain_equal_scikit_learn():
    from sklearn.metrics import average_precision_score, ndcg_score

    rng = np.random.default_rng(5)
    one = task(random_rows(rng, 80, 5), "words", "song", None, "all")
    queries, candidates = unit(rng, len(one.queries), 6), unit(rng, len(one.candidates), 6)
    right = np.zeros((len(queries), len(candidates)))
    for at in range(len(queries)):
        right[at, one.relevant(at)] = 1
    scores = queries @ candidates.T
    got = figures(one, queries, candidates, "cosine", bootstrap=5)
    means = [average_precision_score(*pair) for pair in zip(right, scores, strict=True)]
    assert got["map"]["value"] == pytest.approx(np.mean(means))
    for k in (1, 5, 10):
        assert got[f"ndcg@{k}"]["value"] == pytest.approx(ndcg_score(right, scores, k=k))


def test_chance_is_the_mean_over_all_rankings():
    """Every order of a pool of six, with the query itself among the candidates or not."""
    genres = ["a", "a", "a", "b", "b", "c"]
    rows = [{"song": at, "genre": genre, "split": "test"} for at, genre in enumerate(genres)]
    rows += [{"song": 9 + at, "genre": genre, "split": "dev"} for at, genre in enumerate("ab")]
    for split, against in (("test", "test"), ("dev", "test")):
        one = task(rows, "song", "song", "genre", split, against)
        means = []
        for order in itertools.permutations(range(6)):
            queries = np.tile([[1.0, 0.0]], (len(one.queries), 1))
            angles = np.array(order) / 10
            means.append(plain(one, queries, np.stack([np.cos(angles), np.sin(angles)], 1), "cosine", (1, 2, 4)))
        got = figures(one, queries, np.ones((6, 2)), "cosine", (1, 2, 4), bootstrap=2)
        for name, figure in got.items():
            assert figure["chance"] == pytest.approx(np.mean([mean[name] for mean in means])), name


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_a_collapsed_model_is_at_chance(metric):
    rows = [{"song": at, "word": f"w{at}", "genre": at % 4} for at in range(400)]
    same = np.tile(np.array([[0.6, 0.8, 0.123]]), (400, 1))
    got = figures(task(rows, "song", "word", split="all"), same, same, metric, bootstrap=2)
    for name in ("hit@1", "recall@10", "map"):
        assert got[name]["value"] == pytest.approx(got[name]["chance"], abs=0.01)
    got = figures(task(rows, "song", "song", "genre", split="all"), same, same, metric, bootstrap=2)
    assert got["map"]["value"] < 0.3 and got["recall@10"]["value"] < 0.5


def test_the_interval_covers_what_it_should():
    rng = np.random.default_rng(7)
    rows = [{"song": at, "label": at % 2} for at in range(200)]
    one = task(rows, "song", "label", split="all")
    inside = 0
    for trial in range(40):
        wrong = rng.random(200) < 0.3
        vectors = np.eye(2)[(np.arange(200) + wrong) % 2]
        got = figures(one, vectors, np.eye(2), "cosine", (1,), bootstrap=200, seed=trial)["hit@1"]
        assert got["value"] == pytest.approx(1 - wrong.mean())
        assert 0.08 < got["high"] - got["low"] < 0.17
        inside += got["low"] <= 0.7 <= got["high"]
    assert inside >= 34


def test_the_same_seed_gives_the_same_figures():
    rng = np.random.default_rng(8)
    one = task(random_rows(rng, 50, 4), "song", "song", "genre", "all")
    vectors = unit(rng, 50, 4)
    assert figures(one, vectors, vectors, "cosine") == figures(one, vectors, vectors, "cosine")
    assert figures(one, vectors, vectors, "cosine", seed=1) != figures(one, vectors, vectors, "cosine")


def test_one_query_has_no_interval_and_none_no_figure():
    one = task([{"a": 1, "b": 2}, {"b": 3}], "a", "b", split="all")
    got = figures(one, np.ones((1, 2)), np.eye(2), "cosine", (1,))
    assert got["hit@1"]["low"] is None and got["hit@1"]["high"] is None and got["hit@1"]["value"] in (0, 1)
    none = task([{"a": 1}, {"b": 3}], "a", "b", split="all")
    got = figures(none, np.ones((0, 2)), np.ones((1, 2)), "cosine", (1,))
    assert set(got["map"].values()) == {None} and report(got, none)["unanswerable"] == 1


def test_vectors_must_be_those_of_the_task():
    one = task([{"a": 1, "b": 2}], "a", "b", split="all")
    for queries, candidates in (
        (np.ones((2, 2)), np.ones((1, 2))),
        (np.ones(2), np.ones((1, 2))),
        (np.ones((1, 2)), np.full((1, 2), np.nan)),
    ):
        with pytest.raises(UserError, match="one finite vector"):
            figures(one, queries, candidates, "cosine")
    with pytest.raises(UsageError, match="k"):
        figures(one, np.ones((1, 2)), np.ones((1, 2)), "cosine", (0,))


def test_many_blocks_equal_one(monkeypatch):
    import jointembed.evaluation.retrieval as module

    rng = np.random.default_rng(9)
    one = task(random_rows(rng, 90, 4), "song", "song", "genre", "test", "all")
    vectors = unit(rng, len(one.queries), 3), unit(rng, 90, 3)
    whole = figures(one, *vectors, "euclidean", bootstrap=10)
    monkeypatch.setattr(module, "_BLOCK", 200)
    assert figures(one, *vectors, "euclidean", bootstrap=10) == whole
