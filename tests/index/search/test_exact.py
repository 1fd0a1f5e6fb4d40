"""Exact searches against float64, where float32 has least precision: far from length 1, among ties, in few rows."""

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jointembed.index.search.batch import GroupedSearch, search_batch
from jointembed.index.search.bfloat16 import BFloat16Vectors
from jointembed.index.search.exact import ExactSearch, SubsetSearch
from jointembed.index.search.pca_prefilter import PcaPrefilter
from jointembed.index.search.vectors import Vectors

COUNTS = [1, 2, 63, 64, 65, 127, 129, 256, 257, 640, 3000]
POWERS = [18, 10, 0, -10, -18, -20, -22, -30, -40]  # powers of ten of norms; below -38 float32 is subnormal
METRICS = ["cosine", "dot", "euclidean"]


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def random_vectors(rng, count, dim, metric, kind, power):
    values = rng.standard_normal((count, dim))
    if kind == "equal":
        values[:] = values[0]
    elif kind == "signs":
        values = np.sign(values)
    elif kind == "near":
        values = values[0] + 1e-6 * values
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    if metric == "cosine":
        values = values / norms * rng.uniform(0.9991, 1.0009, (count, 1))
    else:
        values = values / norms.max() * 0.999 * 10.0**power
        values *= 10.0 ** rng.uniform(-20, 0, (count, 1)) if kind == "mixed" else 1
    return Vectors(values.astype(np.float32), metric)


def random_queries(rng, vectors, power, count):
    queries = unit(rng.standard_normal((count, vectors.values.shape[1])))
    if vectors.metric == "cosine":
        return queries
    queries *= 10.0**power
    return queries + vectors.values[rng.integers(len(vectors), size=count)] * float(rng.integers(2))


def brute_force(vectors, query, k, allowed=None):
    """The k best rows by float64 scores, ties in row order."""
    allowed = np.arange(len(vectors)) if allowed is None else allowed
    values = vectors.values[allowed].astype(np.float64)
    scores = -np.square(values - query).sum(1) if vectors.metric == "euclidean" else (values * query).sum(1)
    return allowed[np.argsort(-scores, kind="stable")[:k]].tolist()


def clustered(count, dim, decay=0.7, spread=0.1):
    """Unit vectors in clusters, most of whose squared norm lies in a few directions."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, dim + 1) ** -decay
    centers = unit(rng.standard_normal((500, dim)) * spectrum)
    values = centers[rng.integers(500, size=count)] + spread * rng.standard_normal((count, dim)) * spectrum
    return Vectors(unit(values).astype(np.float32), "cosine")


cases = given(
    seed=st.integers(0, 2**31),
    count=st.sampled_from(COUNTS),
    dim=st.sampled_from([1, 2, 3, 8, 40, 70]),
    k=st.sampled_from([1, 2, 10, 62, 64, 3002]),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from(["normal", "equal", "signs", "near", "mixed"]),
    power=st.sampled_from(POWERS),
    query_power=st.sampled_from(POWERS),
)


@settings(max_examples=150, deadline=None)
@cases
def test_single_query_finds_the_float64_neighbors_with_ties_in_row_order(
    seed, count, dim, k, metric, kind, power, query_power
):
    rng = np.random.default_rng(seed)
    vectors = random_vectors(rng, count, dim, metric, kind, power)
    search, prefiltered = ExactSearch(vectors), ExactSearch(vectors)
    if count >= 256:
        prefiltered.build_prefilter()
    allowed = np.sort(rng.choice(count, max(1, count // rng.integers(1, 12)), replace=False))
    excluded = rng.choice(count, min(count, 3), replace=False)
    for query in random_queries(rng, vectors, query_power, 3):
        right = brute_force(vectors, query, k)
        assert search.search(query[None], k)[0].tolist() == [right]
        assert prefiltered.search(query[None], k)[0].tolist() == [right]
        [positions], [scores] = search.search(query[None], k, allowed, [excluded])
        right = brute_force(vectors, query, k, allowed[~np.isin(allowed, excluded)])
        assert positions[: len(right)].tolist() == right
        assert (positions[len(right) :] == -1).all() and (scores[len(right) :] == -np.inf).all()
        right = brute_force(vectors.euclidean, query, k, allowed)
        assert ExactSearch(vectors.euclidean).search(query[None], k, allowed)[0].tolist() == [right]


@settings(max_examples=80, deadline=None)
@cases
def test_batch_finds_what_single_queries_find_with_the_same_bits(seed, count, dim, k, metric, kind, power, query_power):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    vectors = random_vectors(rng, count, dim, metric, kind, power)
    queries = random_queries(rng, vectors, query_power, 70)
    search, k = ExactSearch(vectors), min(k, count)
    results = [search.search(queries, k), search.search(queries[:9], k)]
    if metric != "euclidean":
        results.append(search_batch(vectors, queries, k, BFloat16Vectors(vectors, torch)))
    results.append(ExactSearch(vectors, torch).search(queries, k))
    for at, query in enumerate(queries[:9]):
        [position], [score] = search.search(query[None], k)
        assert position.tolist() == brute_force(vectors, query, k)
        for positions, scores in results:
            assert positions[at].tolist() == position.tolist()
            assert scores[at].tolist() == score.tolist()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.sampled_from(COUNTS),
    k=st.sampled_from([1, 5, 64]),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from(["normal", "equal", "signs"]),
    groups=st.sampled_from([1, 3, 200, 10_000]),
)
def test_batch_respects_allowed_rows_exclusions_and_groups(seed, count, k, metric, kind, groups):
    rng = np.random.default_rng(seed)
    vectors = random_vectors(rng, count, 8, metric, kind, 0)
    queries = random_queries(rng, vectors, 0, 5)
    allowed = np.sort(rng.choice(count, max(1, count // 2), replace=False))
    exclude = [rng.choice(count, min(count, size), replace=False) for size in (0, 1, 2, 40, 3)]
    group_of = rng.integers(groups, size=count)
    k = min(k, len(allowed))
    for nearest in (ExactSearch(vectors), SubsetSearch(vectors, allowed)):
        plain, _ = nearest.search(queries, k, allowed, exclude)
        grouped, scores = GroupedSearch(nearest, group_of).search(queries, k, allowed, exclude)
        assert plain.shape == grouped.shape == scores.shape == (5, k)
        assert ((grouped >= 0) == np.isfinite(scores)).all()
        for at, query in enumerate(queries):
            right = brute_force(vectors, query, count, allowed[~np.isin(allowed, exclude[at])])
            assert plain[at].tolist() == (right + [-1] * k)[:k]
            first = [row for n, row in enumerate(right) if group_of[row] not in group_of[right[:n]]]
            assert grouped[at].tolist() == (first + [-1] * k)[:k]


def test_search_without_queries_returns_empty_arrays():
    search = ExactSearch(Vectors(np.eye(3, dtype=np.float32), "cosine"))
    positions, scores = search.search(np.empty((0, 3)), 2)
    assert positions.shape == scores.shape == (0, 2)


def test_search_among_no_rows_returns_empty_arrays():
    search = ExactSearch(Vectors(np.eye(3, dtype=np.float32), "cosine"))
    for queries in (np.eye(3)[:1], np.eye(3)):
        positions, scores = search.search(queries, 2, np.empty(0, np.intp))
        assert positions.shape == scores.shape == (len(queries), 0)


def test_longest_storable_vectors_are_searched_without_a_warning():
    vectors = Vectors(np.eye(3, dtype=np.float32) * np.float32(9e17), "dot")
    assert ExactSearch(vectors).search(np.array([[0, 9e17, 1e17]]), 2)[0].tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", ["equal", "dwarfed"])
@pytest.mark.parametrize("product", ["float32", "bfloat16"])
def test_batch_memory_stays_bounded_when_nearly_all_rows_may_be_among_the_best(kind, product):
    rng = np.random.default_rng(0)
    values = np.ones((20_000, 8), np.float32) if kind == "equal" else rng.standard_normal((20_000, 8), np.float32)
    if kind == "dwarfed":
        values[17] *= 1e9
    vectors, queries = Vectors(values, "dot"), rng.standard_normal((64, 8))
    bfloat16 = BFloat16Vectors(vectors, pytest.importorskip("torch")) if product == "bfloat16" else None
    tracemalloc.start()
    positions, _ = search_batch(vectors, queries, 5, bfloat16, max_candidates=20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6  # all pairs of rows and queries would take 25 MB, and several times that while they are sorted
    for query, row in zip(queries, positions, strict=True):
        assert row.tolist() == brute_force(vectors, query, 5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    dim=st.integers(2, 48),
    k=st.integers(1, 10),
    metric=st.sampled_from(METRICS),
    decay=st.sampled_from([0.0, 0.5, 2.0]),
    ties=st.booleans(),
)
def test_prefilter_never_rules_out_a_neighbor(seed, dim, k, metric, decay, ties):
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, dim + 1) ** -decay
    centers = rng.standard_normal((30, dim)) * spectrum
    values = centers[rng.integers(30, size=3000)]
    values += 0 if ties else 0.2 * spectrum * rng.standard_normal((3000, dim))
    vectors = Vectors((unit(values) if metric == "cosine" else values).astype(np.float32), metric)
    query = centers[0] + 0.1 * rng.standard_normal(dim)
    query = query / np.linalg.norm(query) if metric == "cosine" else query
    prefilter = PcaPrefilter.fit(vectors)
    candidates = None if prefilter is None else prefilter.candidates(query[None], k)[0]
    if candidates is not None:
        assert set(brute_force(vectors, query, k)) <= set(candidates.tolist())
        assert (np.diff(candidates) > 0).all()


def test_prefilter_is_built_after_three_queries_and_leaves_few_candidates():
    vectors = clustered(40_000, 64)
    queries = unit(vectors.values[:20].astype(np.float64) + 0.01)
    search = ExactSearch(vectors)
    positions = [search.search(query[None], 10)[0][0].tolist() for query in queries]
    assert positions == [brute_force(vectors, query, 10) for query in queries]
    assert search.search_count == 20
    assert search.prefilter is not None and search.prefilter.axes.shape[1] <= 32
    assert all(len(candidates) < 4_000 for candidates in search.prefilter.candidates(queries, 10))


@pytest.mark.parametrize("metric", METRICS)
def test_a_few_queries_at_once_use_the_prefilter_and_get_the_answers_of_single_ones(metric):
    vectors = Vectors(clustered(40_000, 64).values, metric)
    search, singly = ExactSearch(vectors), ExactSearch(vectors)
    prefilter, counts = PcaPrefilter.fit(vectors), []

    class Counting:
        def candidates(self, queries, k):
            counts.append(len(queries))
            return prefilter.candidates(queries, k)

    search.prefilter = Counting()
    for count in (2, 5, 16):
        queries = unit(vectors.values[100 : 100 + count].astype(np.float64) + 0.01)
        positions, scores = search.search(queries, 10)
        assert positions.tolist() == [brute_force(vectors, query, 10) for query in queries]
        assert np.array_equal(scores, [singly.search(query[None], 10)[1][0] for query in queries])
    assert counts == [2, 5, 16]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    count=st.sampled_from(COUNTS),
    k=st.integers(1, 12),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from(["any", "equal", "signs", "near", "mixed"]),
    power=st.sampled_from(POWERS),
)
def test_a_few_queries_get_the_answers_of_single_ones_also_without_a_prefilter(seed, count, k, metric, kind, power):
    rng = np.random.default_rng(seed)
    vectors = random_vectors(rng, count, 5, metric, kind, power)
    queries = random_queries(rng, vectors, power, int(rng.integers(2, 17)))
    search = ExactSearch(vectors, prefilter_after=0)
    k = min(k, count)
    positions, scores = search.search(queries, k)
    assert search.prefilter is None and scores.shape == (len(queries), k)
    assert positions.tolist() == [brute_force(vectors, query, k) for query in queries]


def test_prefilter_is_not_built_where_it_would_cost_more_than_it_saves():
    values = unit(np.random.default_rng(0).standard_normal((30_000, 64))).astype(np.float32)
    assert PcaPrefilter.fit(Vectors(values, "cosine")) is None


def test_prefilter_is_built_once_when_threads_share_a_search():
    vectors = clustered(5_000, 48)
    search = ExactSearch(vectors, prefilter_min_rows=1_000)
    queries, built, wrong = vectors.values[:12].astype(np.float64), set(), []

    def ask():
        for query in queries:
            if search.search(query[None], 5)[0].tolist() != [brute_force(vectors, query, 5)]:
                wrong.append(query)
            built.add(search.prefilter)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(built - {None}) == 1 and search.search_count == 72
