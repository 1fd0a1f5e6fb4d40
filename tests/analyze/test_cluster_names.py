"""Names of clusters: what distinguishes them, and the nearest terms of a vocabulary."""

import numpy as np

from jointembed.analyze.cluster_names import log_odds, name_clusters, nearest_terms

GENRES = ["waltz", "polka", "reel", "tango"]


def blobs(sizes, dim=24, spread=0.05, seed=0):
    """Unit vectors about distant centers, shuffled, and the center of each."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((len(sizes), dim))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = centers[truth] + spread * rng.standard_normal((len(truth), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


def test_log_odds_equal_the_formula():
    counts = np.array([[8.0, 2.0, 0.0], [10.0, 40.0, 40.0]])
    alpha = 10 * counts.sum(0) / 100
    y, n = counts[0] + alpha, 10 + 10
    rest, m = counts[1] + alpha, 90 + 10
    delta = np.log(y / (n - y)) - np.log(rest / (m - rest))
    np.testing.assert_allclose(log_odds(counts)[0], delta / np.sqrt(1 / y + 1 / rest), rtol=1e-6)
    assert log_odds(counts)[0].argmax() == 0


def test_name_holds_values_more_frequent_than_elsewhere():
    vectors, truth = blobs([60, 50, 40, 30])
    rows = [{"genre": GENRES[label], "medium": "vinyl", "tempo": 100 + 40 * (label == 3)} for label in truth]
    clusters = name_clusters(vectors, truth, rows)
    assert [cluster.name.split(",")[0] for cluster in clusters] == ["1 waltz", "2 polka", "3 reel", "4 tango"]
    assert not any(trait.column == "medium" for cluster in clusters for trait in cluster.traits)
    assert clusters[3].name == "4 tango, tempo 140" and str(clusters[3].traits[0]) == "tango 100% (all: 17%)"
    assert [cluster.items for cluster in clusters] == [60, 50, 40, 30]


def test_integer_labels_name_by_value_and_other_numbers_by_mean():
    vectors, truth = blobs([60, 50])
    rng = np.random.default_rng(0)
    rows = [
        {"digit": int(label), "stars": f"{label + 3}", "tempo": 110.2 + 50.0 * label + rng.random() / 2,
         "year": 1900 + int(rng.integers(99))} for label in truth
    ]  # fmt: skip
    clusters = name_clusters(vectors, truth, rows)
    assert clusters[1].name == "2 digit 1, stars 4"
    traits = [str(trait) for trait in clusters[1].traits]
    assert traits == ["digit 1 100% (all: 45%)", "stars 4 100% (all: 45%)", "tempo 160 (all: 133)"]


def test_random_values_give_no_names():
    rng = np.random.default_rng(0)
    vectors, truth = blobs([300, 300, 300])
    words = [f"w{n}" for n in range(50)]
    rows = [
        {"genre": GENRES[rng.integers(4)], "tags": [words[rng.integers(50)] for _ in range(3)],
         "tempo": float(rng.normal())} for _ in truth
    ]  # fmt: skip
    assert [cluster.name for cluster in name_clusters(vectors, truth, rows)] == ["1 mixed", "2 mixed", "3 mixed"]


def test_few_items_are_not_evidence():
    truth = np.repeat([0, 1], [100, 6])
    vectors = np.eye(2, dtype=np.float32)[truth]
    rows = [{"genre": "jig" if at % 16 == 0 else "reel", "tempo": 100 + at % 9 + 0.5} for at in range(100)]
    rows += [
        {"genre": genre, "tempo": tempo} for genre, tempo in zip(["jig", "reel"] * 3, [99.5, 120.5] * 3, strict=True)
    ]
    assert [cluster.name for cluster in name_clusters(vectors, truth, rows)] == ["1 mixed", "2 mixed"]
    more = [{"genre": "jig", "tempo": 119.5 + at % 3} for at in range(6)]
    assert name_clusters(vectors, truth, rows[:100] + more)[1].name == "2 jig, tempo 120"


def test_names_are_unique_and_fit_one_line():
    vectors, truth = blobs([40, 40, 40])
    odd = ["a\nb\x1b[31m'\"$x$ " + "long " * 30, "a\nb\x1b[31m'\"$x$ " + "long " * 30, "<b>\udce9 日本"]
    rows = [{"genre": odd[label], "facts": None, "none": None} for label in truth]
    names = [cluster.name for cluster in name_clusters(vectors, truth, rows)]
    assert len(set(names)) == 3 and all(name.isprintable() and len(name) < 80 for name in names)


def test_nearest_terms_name_clusters_and_hub_terms_do_not():
    vectors, truth = blobs([60, 50, 40])
    means = np.stack([vectors[truth == label].mean(0) for label in range(3)])
    offset = np.random.default_rng(3).standard_normal(24)  # terms lie elsewhere than items
    terms = ["song", "waltz", "polka", "reel", "noise"]
    points = np.stack([means.mean(0) * 3, *means, -means.mean(0)]) + offset
    clusters = name_clusters(vectors, truth, [{} for _ in truth], (terms, points.astype(np.float32)))
    assert [cluster.terms[0] for cluster in clusters] == ["waltz", "polka", "reel"]
    twice = [*terms, "Waltz time"], np.concatenate([points, points[1:2] * 0.99]).astype(np.float32)
    assert nearest_terms(vectors, truth, *twice)[0][0] == "waltz", "and not the same again"
    assert "Waltz time" not in nearest_terms(vectors, truth, *twice)[0]
    assert [cluster.name for cluster in clusters] == ["1 waltz", "2 polka", "3 reel"]
    shuffled = np.random.default_rng(0).permutation(truth)
    assert sum(map(len, nearest_terms(vectors, shuffled, terms, points.astype(np.float32)))) <= 1


def test_terms_precede_values_of_few_items():
    truth = np.repeat([0, 1], 60)
    vectors = np.eye(2, dtype=np.float32)[truth]
    rows = [{"genre": GENRES[label], "tags": ["odd"] * (at % 3 > 1)} for at, label in enumerate(truth)]
    clusters = name_clusters(vectors, truth, rows, (["low", "high"], np.eye(2, dtype=np.float32)))
    assert [cluster.name for cluster in clusters] == ["1 waltz, low", "2 polka, high"]


def test_a_number_does_not_follow_the_number_of_the_cluster():
    truth = np.repeat([0, 1, 2], 60)
    vectors = np.eye(3, dtype=np.float32)[truth]
    tags = ["70s", "80s", "rock"]
    rows = [{"tags": [tags[label]] + ["guitar"] * int(label == 1)} for label in truth]
    assert [cluster.name for cluster in name_clusters(vectors, truth, rows)] == [
        "1 tags 70s",
        "2 guitar, 80s",
        "3 rock",
    ]
    clusters = name_clusters(vectors, truth, [{} for _ in truth], (["70s", "jazz", "1st"], vectors[::60]))
    assert [cluster.name for cluster in clusters] == ["1 near 70s", "2 jazz", "3 near 1st"]


def test_words_of_any_script_name_clusters():
    vectors, truth = blobs([40, 40, 40])
    texts = ["यह एक दिल की कहानी है", "यह एक दाल की कहानी है", "民间舞曲"]
    rows = [{"note": f"{texts[label]} {'xyz'[at % 3] * 3}{at}"} for at, label in enumerate(truth)]
    names = [cluster.name for cluster in name_clusters(vectors, truth, rows)]
    assert "दिल" in names[0] and "दाल" in names[1] and any(word in names[2] for word in ("民间", "舞曲")), names
