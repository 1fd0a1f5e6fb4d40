"""A graph finds nearly all neighbors, and arrays that are not those of a graph are refused."""

import numpy as np
import pytest

from jointembed.index.search.exact import ExactSearch
from jointembed.index.search.graph_search import MAX_NODES, GraphSearch
from jointembed.index.search.hnsw import HnswGraph
from jointembed.index.search.recall import RecallSample
from jointembed.index.search.vectors import Vectors

pytest.importorskip("faiss")


def clustered(count, dim, metric="cosine", seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((50, dim))
    values = 4 * centers[rng.integers(50, size=count)] + rng.standard_normal((count, dim))
    if metric == "cosine":
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Vectors(values.astype(np.float32), metric)


def search_of(vectors, graph, rows, ef=48):
    return GraphSearch(graph, ef, ExactSearch(vectors), vectors.rescore, len(vectors), rows)


@pytest.fixture(scope="module")
def built():
    vectors = clustered(3_000, 48)
    return vectors, *HnswGraph.build(vectors)


@pytest.mark.parametrize(("metric", "dim"), [("cosine", 3), ("cosine", 48), ("euclidean", 51), ("dot", 16)])
def test_a_graph_finds_nearly_all_neighbors_and_scores_them_exactly(metric, dim):
    vectors = clustered(2_000, dim, metric)
    search, queries = search_of(vectors, *HnswGraph.build(vectors)), vectors.values[::20].astype(np.float64)
    exclude = [np.array([at]) for at in range(0, 2_000, 20)]
    right, right_scores = search.exact.search(queries, 10, exclude=exclude)
    positions, scores = search.search(queries, 10, exclude=exclude)
    assert sum(len(np.intersect1d(*pair)) for pair in zip(right, positions, strict=True)) >= 970
    for at, excluded in enumerate(exclude):
        score_of = dict(zip(right[at].tolist(), right_scores[at].tolist(), strict=True))
        pairs = zip(positions[at].tolist(), scores[at], strict=True)
        assert all(score_of.get(row, score) == score for row, score in pairs)
        assert excluded[0] not in positions[at] and (np.diff(scores[at]) <= 0).all()


@pytest.mark.parametrize("k", [1, 30, 100, 300])
def test_recall_is_the_same_for_many_results(built, k):
    vectors, graph, rows = built
    search, queries = search_of(vectors, graph, rows), vectors.values[:50].astype(np.float64)
    right, positions = search.exact.search(queries, k)[0], search.search(queries, k)[0]
    assert sum(len(np.intersect1d(*pair)) for pair in zip(right, positions, strict=True)) >= 0.98 * right.size


@pytest.mark.parametrize("share", [0.9, 0.3, 0.05, 0.002])
def test_recall_is_the_same_among_allowed_rows(built, share):
    vectors, graph, rows = built
    rng, search = np.random.default_rng(1), search_of(vectors, graph, rows)
    allowed = np.flatnonzero(rng.random(len(vectors)) < share)
    queries = vectors.values[:100].astype(np.float64)
    right, _ = search.exact.search(queries, 10, allowed)
    positions, _ = search.search(queries, 10, allowed)
    assert sum(len(np.intersect1d(*pair)) for pair in zip(right, positions, strict=True)) >= 0.98 * right.size
    assert np.isin(positions, allowed).all()


def test_rows_that_are_far_from_the_query_are_searched_exactly_under_a_condition(built):
    vectors, graph, rows = built
    search, query = search_of(vectors, graph, rows), vectors.values[:1].astype(np.float64)
    allowed = np.sort(search.exact.search(query, 3_000)[0][0, 1_500:])  # half of the rows, none among the nearest
    right, scores = search.exact.search(query, 10, allowed)
    positions, found_scores = search.search(query, 10, allowed)
    assert positions.tolist() == right.tolist() and found_scores.tolist() == scores.tolist()


def test_many_results_are_exact(built):
    vectors, graph, rows = built
    search, query = search_of(vectors, graph, rows), vectors.values[:1].astype(np.float64)
    assert search.search(query, MAX_NODES)[0].tolist() == search.exact.search(query, MAX_NODES)[0].tolist()
    assert search.search(query[:0], 10)[0].shape == (0, 10)


def test_equal_vectors_stand_in_row_order():
    values = np.repeat(clustered(300, 48).values, 10, 0)
    vectors = Vectors(values, "cosine")
    search = search_of(vectors, *HnswGraph.build(vectors))
    positions, scores = search.search(values[:1].astype(np.float64), 5)
    assert scores[0].min() == scores[0].max() and (np.diff(positions[0]) > 0).all()


def test_recall_counts_rows_with_the_same_score_as_the_true_neighbors(built):
    vectors, graph, rows = built
    exact = ExactSearch(vectors)
    sample = RecallSample(
        lambda positions: vectors.values[positions].astype(np.float64), exact, np.arange(0, 3_000, 30)
    )
    assert sample.measure(exact) == 1 > sample.measure(search_of(vectors, graph, rows, 1)) - 1e-9
    assert sample.measure(ExactSearch(clustered(3_000, 48, seed=9))) < 0.1


def test_an_extended_graph_finds_the_new_nodes_and_leaves_the_old_graph_alone(built):
    vectors, graph, rows = built
    more = clustered(500, 48, seed=2).values
    extended = graph.extend(more)
    assert (len(graph), len(extended)) == (3_000, 3_500)
    assert (extended.search(more, 1, 48)[:, 0] == np.arange(3_000, 3_500)).mean() > 0.98
    assert graph.search(more, 1, 48).max() < 3_000
    assert (rows[extended.search(vectors.values[:500], 1, 48)[:, 0]] == np.arange(500)).mean() > 0.98


@pytest.mark.parametrize(("metric", "dim"), [("cosine", 48), ("euclidean", 5)])
def test_a_restored_graph_gives_the_same_answers(metric, dim):
    vectors = clustered(1_000, dim, metric)
    graph, rows = HnswGraph.build(vectors)
    restored = HnswGraph.from_arrays(graph.arrays(), dim, metric)
    assert restored.search(vectors.values, 10, 48).tolist() == graph.search(vectors.values, 10, 48).tolist()
    assert restored.stores(np.arange(1_000), vectors.values[rows]) and not restored.stores(
        np.arange(1), -vectors.values[:1]
    )
    more = clustered(200, dim, metric, seed=3).values
    assert restored.extend(more).search(more, 1, 48).tolist() == graph.extend(more).search(more, 1, 48).tolist()


def upper_edge(arrays):
    """Where the first edge above the lowest level stands, of a node that is on two levels."""
    return int(np.cumsum(16 + 16 * arrays["levels"])[np.flatnonzero(arrays["levels"] == 2)[0]]) - 16


def break_arrays(arrays, damage):
    lowest, count = np.flatnonzero(arrays["levels"] == 1)[0], len(arrays["levels"])
    if damage == "edge to nowhere":
        arrays["edges"][5] = count
    elif damage == "negative edge":
        arrays["edges"][5] = -2
    elif damage == "edge to a node that is not on this level":
        arrays["edges"][upper_edge(arrays)] = lowest
    elif damage == "levels":
        arrays["levels"][0] = 0
    elif damage == "too many levels":
        arrays["levels"][0] = 1_000
    elif damage == "entry":
        arrays["entry"][0] = count
    elif damage == "entry on a low level":
        arrays["entry"][0] = lowest
    elif damage == "ranges":
        arrays["ranges"][0] = np.nan
    elif damage == "nothing":
        arrays.update({name: array[:0] for name, array in arrays.items() if name != "entry"})
    else:
        arrays[damage.removeprefix("short ")] = arrays[damage.removeprefix("short ")][:-1]


@pytest.mark.parametrize(
    "damage",
    [
        *("edge to nowhere", "negative edge", "edge to a node that is not on this level", "levels", "too many levels"),
        *("entry", "entry on a low level", "ranges", "nothing", "short edges", "short codes", "short ranges"),
        "short levels",
    ],
)
def test_arrays_of_no_graph_are_refused(built, damage):
    arrays = {name: array.copy() for name, array in built[1].arrays().items()}
    HnswGraph.from_arrays(arrays, 48, "cosine")
    break_arrays(arrays, damage)
    with pytest.raises(ValueError):
        HnswGraph.from_arrays(arrays, 48, "cosine")
