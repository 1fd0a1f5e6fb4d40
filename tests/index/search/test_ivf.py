"""An approximate search is used only if it finds what an exact one finds, and never under a condition."""

import sys

import numpy as np
import pytest

from jointembed.errors import UsageError
from jointembed.index.search.exact import ExactSearch
from jointembed.index.search.ivf import HELD_OUT, MAX_RESULTS, IvfIndex
from jointembed.index.search.vectors import Vectors


def clustered(count, dim, separation=4.0, metric="cosine", seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((200, dim))
    values = separation * centers[rng.integers(200, size=count)] + rng.standard_normal((count, dim))
    return Vectors((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32), metric)


@pytest.fixture(scope="module")
def narrow():
    pytest.importorskip("faiss")
    exact = ExactSearch(clustered(20_000, 16))
    return exact, IvfIndex.build(exact.vectors, exact)


@pytest.mark.parametrize("coarse_pq_min_cells", [100, 1_000], ids=["cells by codes", "cells one by one"])
@pytest.mark.parametrize(("metric", "dim"), [("cosine", 3), ("cosine", 48), ("euclidean", 51), ("dot", 16)])
def test_ivf_finds_nearly_all_neighbors_and_scores_them_exactly(metric, dim, coarse_pq_min_cells):
    pytest.importorskip("faiss")
    exact = ExactSearch(clustered(20_000, dim, metric=metric))
    ivf = IvfIndex.build(exact.vectors, exact, coarse_pq_min_cells=coarse_pq_min_cells)
    assert ivf.recall_at_10 >= 0.98
    own = np.arange(1, 401, 4)  # other vectors than those it was measured with
    queries, exclude = exact.vectors.values[own].astype(np.float64), list(own[:, None])
    right, right_scores = exact.search(queries, 10, exclude=exclude)
    positions, scores = ivf.search(queries, 10, exclude=exclude)
    assert sum(len(np.intersect1d(*pair)) for pair in zip(right, positions, strict=True)) >= 0.97 * 1000
    for at in range(len(own)):
        score_of = dict(zip(right[at].tolist(), right_scores[at].tolist(), strict=True))
        pairs = zip(positions[at].tolist(), scores[at], strict=True)
        assert all(score_of.get(row, score) == score for row, score in pairs)
        assert own[at] not in positions[at]


def test_ivf_measures_its_own_recall(narrow):
    exact, ivf = narrow
    held_out = np.sort(np.random.default_rng(0).permutation(20_000)[:HELD_OUT])
    queries, exclude = exact.vectors.values[held_out].astype(np.float64), list(held_out[:, None])
    right, positions = (nearest.search(queries, 10, exclude=exclude)[0] for nearest in narrow)
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(right, positions, strict=True))
    assert ivf.recall_at_10 == hits / right.size


def test_ivf_searches_allowed_rows_exactly(narrow):
    exact, ivf = narrow
    allowed, queries = np.arange(7, 20_000, 20), exact.vectors.values[:50].astype(np.float64)
    right, scores = exact.search(queries, 10, allowed)
    positions, ivf_scores = ivf.search(queries, 10, allowed)
    assert right.tolist() == positions.tolist() and scores.tolist() == ivf_scores.tolist()


def test_ivf_answers_requests_for_many_results_exactly(narrow):
    exact, ivf = narrow
    query = exact.vectors.values[:1].astype(np.float64)
    assert ivf.search(query, MAX_RESULTS + 1)[0].tolist() == exact.search(query, MAX_RESULTS + 1)[0].tolist()


def test_ivf_reports_low_recall_of_vectors_without_clusters():
    pytest.importorskip("faiss")
    exact = ExactSearch(clustered(20_000, 64, separation=0.0))
    assert IvfIndex.build(exact.vectors, exact).recall_at_10 < 0.98


@pytest.mark.parametrize("dim", [4, 48])
def test_ivf_needs_1000_vectors(dim):
    pytest.importorskip("faiss")
    vectors = clustered(1_000, dim)
    ivf = IvfIndex.build(vectors, ExactSearch(vectors))
    query = vectors.values[:1].astype(np.float64)
    assert ivf.search(query, 1)[0].tolist() == [[0]]
    fewer = vectors.take(np.arange(999))
    with pytest.raises(UsageError, match="at least 1000 vectors, got 999"):
        IvfIndex.build(fewer, ExactSearch(fewer))


def test_missing_faiss_is_reported_with_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    vectors = clustered(100, 4)
    with pytest.raises(UsageError, match=r"jointembed\[ann\]"):
        IvfIndex.build(vectors, ExactSearch(vectors))
