"""Layouts of an index: principal components, UMAP, and columns as axes."""

import importlib.machinery
import sys
import types

import numpy as np
import pytest

from jointembed.analyze.layout import compute_layout
from jointembed.errors import UsageError
from jointembed.index.index import Index


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def row(at):
    return {"id": f"s{at}", "genre": ["waltz", "polka", "reel"][at % 3], "tempo": 90 + 1.5 * at, "rooms": at % 4}


@pytest.fixture
def songs(tmp_path):
    rng = np.random.default_rng(0)
    with Index.create(tmp_path / "songs.index", 8, "cosine") as index:
        index.add([row(at) for at in range(60)], unit(rng, 60, 8), "audio")
        yield index


def test_principal_components_equal_those_of_numpy(songs):
    points = compute_layout(songs, "pca3")
    values = songs.vectors()[1].astype(np.float64)
    centred = values - values.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:3]
    directions *= np.sign(directions[np.arange(3), np.abs(directions).argmax(1)])[:, None]
    expected = centred @ directions.T
    low, high = expected.min(0), expected.max(0)
    np.testing.assert_allclose(points, (expected - (low + high) / 2) / ((high - low).max() / 2), atol=1e-6)
    assert points.min() == -1 and points.max() == 1
    flat = compute_layout(songs, "pca2")
    assert not flat[:, 2].any() and compute_layout(songs, "pca2").tobytes() == flat.tobytes()


def test_layout_of_few_or_equal_vectors_is_finite(tmp_path):
    for count, dim in [(1, 1), (2, 1), (5, 2)]:
        with Index.create(tmp_path / "a.index", dim, "euclidean") as index:
            index.add([{"id": str(at)} for at in range(count)], np.ones((count, dim), np.float32), "x")
            for axes in ("pca2", "pca3", "umap2"):
                assert compute_layout(index, axes).tolist() == [[0.0] * 3] * count


def test_layout_of_an_emptied_index_is_empty(songs):
    songs.remove(songs.ids())
    for axes in ("pca2", "pca3", "umap2"):
        assert compute_layout(songs, axes).shape == (0, 3)


def test_columns_as_axes_fill_the_range_and_omit_rows_without_a_value(songs):
    songs.update([{**row(3), "tempo": None}])
    points = compute_layout(songs, "tempo,rooms")
    assert np.isnan(points[3]).all() and np.isfinite(np.delete(points, 3, 0)).all()
    assert (np.nanmin(points, 0) == [-1, -1, 0]).all() and (np.nanmax(points, 0) == [1, 1, 0]).all()
    assert compute_layout(songs, "rooms,tempo,rooms")[5].tolist() == [points[5, 1], points[5, 0], points[5, 1]]
    for wrong in ("tempo", "tempo,genre", "pca4", "", "tempo,rooms,tempo,rooms", "tempo\rrooms", "\n"):
        with pytest.raises(UsageError):
            compute_layout(songs, wrong)


def test_axes_with_a_comma_are_quoted(tmp_path):
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        rows = [{"id": str(at), "a, b": at + 0.5, "c": -at / 7} for at in range(5)]
        index.add(rows, np.zeros((5, 2), np.float32), "x")
        assert compute_layout(index, '"a, b",c')[:, :2].tolist()[::4] == [[-1, 1], [1, -1]]


def fake_umap(calls):
    """A stand-in for umap-learn, which takes ten seconds to import."""
    module = types.ModuleType("umap")
    module.__spec__ = importlib.machinery.ModuleSpec("umap", None)

    class UMAP:
        def __init__(self, **settings):
            calls.append(settings)

        def fit_transform(self, values):
            return values[:, : calls[-1]["n_components"]]

    module.UMAP = UMAP
    return module


def test_umap_is_computed_once_per_version(songs, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "umap", fake_umap(calls))
    first = compute_layout(songs, "umap2")
    assert compute_layout(songs, "umap2").tobytes() == first.tobytes() and len(calls) == 1
    assert calls[0]["random_state"] == 0 and calls[0]["metric"] == "cosine" and calls[0]["init"].shape == (60, 2)
    songs.add([{"id": "z"}], np.eye(8, dtype=np.float32)[:1], "audio")
    assert len(compute_layout(songs, "umap2")) == 61 and len(calls) == 2
    [cached] = songs.path.parent.glob("*.umap2")
    cached.write_bytes(b"broken")
    assert len(compute_layout(songs, "umap2")) == 61 and len(calls) == 3


def test_missing_umap_is_reported_with_its_extra(songs, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match=r'pip install "jointembed\[map\]"'):
        compute_layout(songs, "umap2")


@pytest.mark.slow
def test_umap_separates_clusters_and_is_deterministic(tmp_path):
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((4, 16))
    labels = np.arange(400) % 4
    vectors = (centres[labels] + rng.standard_normal((400, 16))).astype(np.float32)
    maps = []
    for name in ("a.index", "b.index"):
        with Index.create(tmp_path / name, 16, "euclidean") as index:
            index.add([{"id": str(at)} for at in range(400)], vectors, "x")
            maps.append(compute_layout(index, "umap2"))
    assert (maps[0] == maps[1]).all()
    away = ((maps[0][:, None] - maps[0][None]) ** 2).sum(2) + 9 * np.eye(400)
    assert (labels[away.argmin(1)] == labels).all()


def test_umap_uses_the_metric_of_the_field(songs, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "umap", fake_umap(calls))
    songs.add_field("tags", 3, "euclidean", "other", "f2")
    songs.add([row(at) for at in range(10)], np.random.default_rng(5).random((10, 3), np.float32), "tags")
    compute_layout(songs, "umap2", "tags")
    compute_layout(songs, "umap2")
    assert [call["metric"] for call in calls] == ["euclidean", "cosine"]
