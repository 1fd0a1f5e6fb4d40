"""Every search against float64, where float32 has the least to say: far from length 1, among equals, in few rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jointembed.index.search import batch, bfloat16, pca_prefilter
from jointembed.index.search.vectors import Matrix

COUNTS = [1, 2, 63, 64, 65, 127, 129, 256, 257, 640, 3000]
SIZES = [18, 10, 0, -10, -18, -20, -22, -30, -40]  # powers of ten of lengths; below -38 no float32 is whole


def vectors(rng, count, dim, metric, kind, power):
    values = rng.standard_normal((count, dim))
    if kind == "equal":
        values[:] = values[0]
    elif kind == "signs":
        values = np.sign(values)
    elif kind == "near":
        values = values[0] + 1e-6 * values
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if metric == "cosine":
        values = values / lengths * rng.uniform(0.9991, 1.0009, (count, 1))
    else:
        values = values / lengths.max() * 0.999 * 10.0**power
        values *= 10.0 ** rng.uniform(-20, 0, (count, 1)) if kind == "mixed" else 1
    return values.astype(np.float32)


def best(values, query, metric, k, allowed):
    values = values[allowed].astype(np.float64)
    scores = -np.square(values - query).sum(1) if metric == "euclidean" else (values * query).sum(1)
    return allowed[np.argsort(-scores, kind="stable")[:k]].tolist()


def queries(rng, values, metric, power, count):
    asked = rng.standard_normal((count, values.shape[1]))
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    if metric == "cosine":
        return asked
    asked *= 10.0**power
    return asked + values[rng.integers(len(values), size=count)] * float(rng.integers(2))


cases = given(
    seed=st.integers(0, 2**31),
    count=st.sampled_from(COUNTS),
    dim=st.sampled_from([1, 2, 3, 8, 40, 70]),
    k=st.sampled_from([1, 2, 10, 62, 64, 3002]),
    metric=st.sampled_from(["cosine", "dot", "euclidean"]),
    kind=st.sampled_from(["normal", "equal", "signs", "near", "mixed"]),
    power=st.sampled_from(SIZES),
    asked=st.sampled_from(SIZES),
)


@settings(max_examples=150, deadline=None)
@cases
def test_nothing_is_missed_and_equals_keep_their_order(seed, count, dim, k, metric, kind, power, asked):
    rng = np.random.default_rng(seed)
    values = vectors(rng, count, dim, metric, kind, power)
    table = Matrix(1, np.arange(1, count + 1), values, metric)
    built = pca_prefilter.build(table) if count >= 256 else None
    everything = np.arange(count)
    pool = np.sort(rng.choice(count, max(1, count // rng.integers(1, 12)), replace=False))
    without = rng.choice(count, min(count, 3), replace=False)
    for query in queries(rng, values, metric, asked, 3):
        right = best(values, query, metric, k, everything)
        assert table.nearest(query, k)[0].tolist() == right
        kept = pool[~np.isin(pool, without)]
        assert table.nearest(query, k, pool, without=without)[0].tolist() == best(values, query, metric, k, kept)
        far = best(values, query, "euclidean", k, pool)
        assert table.nearest(query, k, pool, "euclidean")[0].tolist() == far
        may = built and built.may(table, query, k)
        assert may is None or set(right) <= set(may.tolist())


@settings(max_examples=80, deadline=None)
@cases
def test_nothing_is_missed_by_many_queries_at_once(seed, count, dim, k, metric, kind, power, asked):
    rng = np.random.default_rng(seed)
    values = vectors(rng, count, dim, metric, kind, power)
    table = Matrix(1, np.arange(1, count + 1), values, metric)
    if metric != "euclidean":
        vars(table)["half"] = bfloat16.BFloat16Vectors(values, pytest.importorskip("torch"))
    points = queries(rng, values, metric, asked, batch._PAYS)
    for some in (points, points[:9]):  # in bfloat16, and in float32
        places, _ = batch.nearest(table, some, k)
        for query, found in zip(some, places[:9], strict=False):
            assert found.tolist() == best(values, query, metric, k, np.arange(count))


def test_vectors_of_the_greatest_length_are_searched_without_a_warning():
    table = Matrix(1, np.arange(1, 4), np.eye(3, dtype=np.float32) * np.float32(9e17), "dot")
    assert table.nearest(np.array([0, 9e17, 1e17]), 2)[0].tolist() == [1, 2]


@pytest.mark.parametrize("halved", [False, True])
def test_many_queries_of_vectors_that_are_equal_or_dwarfed_by_one_need_no_more_memory(monkeypatch, halved):
    monkeypatch.setattr(batch, "_MOST", 20_000)
    rng = np.random.default_rng(0)
    same, dwarfed = np.ones((5000, 8), np.float32), rng.standard_normal((5000, 8)).astype(np.float32)
    dwarfed[17] *= 1e9
    for values in (same, dwarfed):
        table = Matrix(1, np.arange(1, 5001), values, "dot")
        vars(table)["half"] = bfloat16.BFloat16Vectors(values, pytest.importorskip("torch")) if halved else None
        points = rng.standard_normal((batch._PAYS, 8))
        with monkeypatch.context() as patch:
            patch.setattr(batch, "_picked", None)
            places, _ = batch.nearest(table, points, 5)
        for query, found in zip(points, places, strict=True):
            assert found.tolist() == best(values, query, "dot", 5, np.arange(5000))
