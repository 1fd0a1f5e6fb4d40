"""The checks of vectors: healthy kinds pass, and vectors that are broken in one way are reported by its check."""

import re

import numpy as np
import pytest

from jointembed.evaluation.health import (
    Check,
    check_duplicates,
    check_leakage,
    check_near_leakage,
    check_pairs,
    check_vectors,
    effective_rank,
    mean_cosine,
    neighbor_counts,
    skewness,
    uniformity,
)


def gaussian(rng, count=300, dim=32):
    return rng.normal(size=(count, dim))


def clusters(rng, count=300, dim=32, noise=0.3, shares=None):
    centers = rng.normal(size=(10, dim))
    return centers[rng.choice(10, count, p=shares)] + noise * rng.normal(size=(count, dim))


HEALTHY = {
    "gaussian in 2 dimensions": lambda rng: gaussian(rng, dim=2),
    "gaussian in 3 dimensions": lambda rng: gaussian(rng, dim=3),
    "gaussian in 16 dimensions": lambda rng: gaussian(rng, dim=16),
    "gaussian in 256 dimensions": lambda rng: gaussian(rng, 500, 256),
    "few vectors": lambda rng: gaussian(rng, 24, 16),
    "loose clusters": clusters,
    "tight clusters": lambda rng: clusters(rng, noise=0.1),
    "unbalanced clusters": lambda rng: clusters(rng, shares=0.5 ** np.arange(1, 11) / (0.5 ** np.arange(1, 11)).sum()),
    "a spectrum that falls": lambda rng: gaussian(rng, 400, 64) * np.arange(1, 65) ** -0.7,
    "away from the origin": lambda rng: gaussian(rng) + 0.8,
    "heavy tails": lambda rng: rng.standard_t(5, (300, 32)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_healthy_vectors_pass(kind, metric, seed):
    rng = np.random.default_rng(seed)
    vectors = HEALTHY[kind](rng)
    pairs = vectors + 0.5 * vectors.std() * rng.normal(size=vectors.shape)
    keys, is_training = np.arange(len(vectors)), np.arange(len(vectors)) % 4 > 0
    checks = check_vectors("x", vectors, metric) + check_pairs("x, y", vectors, pairs, metric)
    checks += [check_duplicates("x", vectors, metric), *check_leakage("x", is_training, keys)]
    checks += check_near_leakage("x", is_training, keys, vectors, metric)
    assert [(check.name, check.value) for check in checks if check.verdict != "ok"] == []
    assert len(checks) >= 10


def hubs(rng):
    """Two vectors that lie in the middle of all."""
    vectors = gaussian(rng) + 1.0
    vectors[:2] = 1.0 + 0.01 * rng.normal(size=(2, 32))
    return vectors


def dead(rng):
    return gaussian(rng) * (np.arange(32) < 16)


def not_finite(rng):
    vectors = gaussian(rng)
    vectors[5, 3] = np.nan
    return vectors


def line(rng):
    places = rng.choice([-1, 1], (300, 1)) * rng.uniform(0.5, 2, (300, 1))
    return places * rng.normal(size=32) + 0.003 * gaussian(rng)


def empty(rng):
    return gaussian(rng) * (rng.random((300, 1)) > 0.2)


def one_large(rng):
    return gaussian(rng) * np.r_[40, np.ones(31)]


BROKEN = {
    "nearly equal directions": (lambda rng: 1 + 0.05 * gaussian(rng), "mean cosine", "cosine"),
    "equal vectors": (lambda rng: np.tile(rng.normal(size=32), (300, 1)), "spread about the mean vector", "euclidean"),
    "a line": (line, "effective rank", "cosine"),
    "a line with lengths": (line, "effective rank", "euclidean"),
    "dead dimensions": (dead, "dimensions without spread", "cosine"),
    "one large dimension": (one_large, "variance in one dimension", "dot"),
    "hubs": (hubs, "hubness", "euclidean"),
    "hubs of directions": (hubs, "hubness", "cosine"),
    "empty vectors": (empty, "vectors of length 0", "cosine"),
    "vectors not finite": (not_finite, "vectors not finite", "cosine"),
    "no uniformity": (lambda rng: 1 + 0.1 * gaussian(rng), "uniformity", "cosine"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", BROKEN)
def test_each_defect_of_vectors_fails_its_check(kind, seed):
    make, name, metric = BROKEN[kind]
    checks = {check.name: check for check in check_vectors("x", make(np.random.default_rng(seed)), metric)}
    assert checks[name].verdict == "fail", checks[name]


@pytest.mark.parametrize("seed", range(3))
def test_a_gap_between_modalities_is_reported(seed):
    rng = np.random.default_rng(seed)
    vectors = gaussian(rng)
    pairs = vectors + 0.3 * gaussian(rng)
    for shift, metric, verdict in ((3, "cosine", "fail"), (3, "euclidean", "fail"), (0.7, "euclidean", "warn")):
        checks = check_pairs("x, y", vectors - shift, pairs + shift, metric)
        assert {check.name: check.verdict for check in checks} == {"modality gap": verdict, "alignment": "ok"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_pairs_that_do_not_match_are_reported(seed, metric):
    vectors = gaussian(np.random.default_rng(seed))
    checks = {check.name: check.verdict for check in check_pairs("x, y", vectors, np.roll(vectors, 1, 0), metric)}
    assert checks == {"modality gap": "ok", "alignment": "fail"}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_cells_with_equal_vectors_are_reported(metric):
    rng = np.random.default_rng(0)
    vectors = gaussian(rng)
    vectors[60:] = vectors[rng.integers(60, size=240)] + 1e-6 * gaussian(rng, 240)
    assert check_duplicates("x", vectors, metric).verdict == "fail"
    vectors = gaussian(rng)
    vectors[280:] = vectors[:20]
    check = check_duplicates("x", vectors, metric)
    assert check.verdict == "warn" and check.value == pytest.approx(40 / 300)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_leakage_between_splits_is_reported(metric):
    rng = np.random.default_rng(0)
    vectors, keys, is_training = gaussian(rng), np.arange(300), np.arange(300) < 200
    keys[295:] = keys[:5]
    (leak,) = check_leakage("x", is_training, keys)
    assert leak.verdict == "fail" and leak.value == pytest.approx(0.05)
    vectors[250:] = vectors[:50] + 1e-6 * gaussian(rng, 50)
    (near,) = check_near_leakage("x", is_training, keys, vectors, metric)
    assert near.verdict == "fail" and near.value == pytest.approx(0.45), "equal cells are counted before"
    keys[295:] = range(295, 300)
    keys[299] = 0
    assert check_leakage("x", is_training, keys)[0].verdict == "warn"
    assert check_leakage("x", np.ones(300, bool), keys) == []
    assert check_near_leakage("x", np.zeros(300, bool), keys, vectors, metric) == []


def test_mean_cosine_and_effective_rank():
    assert mean_cosine(np.eye(4)) == 0 and effective_rank(np.eye(4)) == pytest.approx(4)
    assert mean_cosine(np.ones((5, 3))) == pytest.approx(1) and effective_rank(np.ones((5, 3))) == pytest.approx(1)
    assert mean_cosine(np.zeros((5, 3))) == 1 and effective_rank(np.zeros((5, 3))) == 1
    assert mean_cosine(np.array([[1.0, 0], [-2.0, 0]])) == -1


def test_measures_equal_their_definitions():
    rng = np.random.default_rng(0)
    vectors = gaussian(rng, 40, 5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    squares = [((a - b) ** 2).sum() for i, a in enumerate(unit) for b in unit[:i]]
    assert uniformity(vectors) == pytest.approx(np.log(np.mean(np.exp(-2 * np.array(squares)))))
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)
    scores = (unit @ unit.T).astype(np.float32)
    expected = np.zeros(40, int)
    for n, row in enumerate(scores):
        for neighbor in [at for at in np.argsort(-row, kind="stable") if at != n][:10]:
            expected[neighbor] += 1
    assert np.array_equal(neighbor_counts(scores), expected)
    from scipy import stats

    assert skewness(expected) == pytest.approx(stats.skew(expected)) and skewness(np.ones(4)) == 0


def test_centering_and_local_scaling_are_measured():
    rng = np.random.default_rng(1)
    (check,) = [check for check in check_vectors("x", hubs(rng), "cosine") if check.name == "hubness"]
    after = re.findall(r"after centering (-?[\d.]+), local scaling (-?[\d.]+)", check.note)[0]
    assert max(map(float, after)) < check.value / 2


def test_verdicts_follow_the_thresholds():
    values = [Check("x", "n", value, 1.0, 2.0).verdict for value in (0.5, 1.0, 1.5, 2.0, 2.5, np.nan)]
    assert values == ["ok", "ok", "warn", "warn", "fail", "fail"]
    assert [Check("x", "n", value, 2.0, 1.0, False).verdict for value in (3, 1.5, 0.5)] == ["ok", "warn", "fail"]
    assert Check("x", "n", 9.0, 1.0, None).verdict == "warn" and Check("x", "n", 1.0, None, 0).verdict == "fail"
    assert Check("x", "n", 1.0, 0.8, 0.97).thresholds == "warn > 0.8, fail > 0.97"


def test_many_vectors_are_sampled():
    checks = check_vectors("x", gaussian(np.random.default_rng(0), 20_000, 4), "cosine")
    assert all(check.verdict == "ok" for check in checks)
