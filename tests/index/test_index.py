import doctest
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

import jointembed.index.index
from jointembed import files
from jointembed.errors import DamagedError, DiskFullError, MismatchError, UsageError
from jointembed.index.index import Hit, Index


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def best(vectors, query, metric, k):
    """The oracle: every score in float64, row by row, and a stable sort."""
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "cosine":
        scores = (vectors * (query / np.linalg.norm(query))).sum(1)
    elif metric == "dot":
        scores = (vectors * query).sum(1)
    else:
        scores = -((vectors - query) ** 2).sum(1)
    order = np.argsort(-scores, kind="stable")[:k]
    return order, scores[order]


@pytest.fixture
def songs(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"s{at}", "title": f"Song {at // 2}", "genre": ["waltz", "polka"][at % 2], "_file": f"rock/{at}.wav"}
        for at in range(40)
    ]
    with Index.create(tmp_path / "songs.index", 8, "cosine", "runs/a", "f1", "trained on synthetic songs") as index:
        index.add(rows, unit(rng, 40, 8), "audio")
        yield index


def test_example_of_the_docstring():
    assert doctest.testmod(jointembed.index.index).failed == 0


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_search_equals_brute_force(tmp_path, metric):
    rng = np.random.default_rng(1)
    for trial in range(25):
        count, dim, k = int(rng.integers(1, 600)), int(rng.choice([1, 2, 8, 33, 128])), int(rng.integers(1, 30))
        vectors = unit(rng, count, dim)
        if metric != "cosine":
            vectors = vectors * rng.choice([1e-3, 1.0, 1e3]) + np.float32(rng.choice([0, 0, 100]))
        vectors[rng.integers(count, size=count // 3)] = vectors[rng.integers(count)]  # ties
        vectors = vectors.astype(np.float32)
        with Index.create(tmp_path / "a.index", dim, metric) as index:
            index.add([{"id": str(at)} for at in range(count)], vectors, "x")
            for query in (vectors[rng.integers(count)], rng.standard_normal(dim)):
                hits = index.search(query, k)
                order, scores = best(vectors, query, metric, k)
                assert [int(hit.id) for hit in hits] == order.tolist(), trial
                np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=1e-12, atol=1e-12)


def test_nearby_points_far_from_the_origin_are_told_apart(tmp_path):
    points = np.float32([[1000 + step / 64, 1000] for step in range(60)])
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        index.add([{"id": str(at)} for at in range(60)], points, "x")
        assert [hit.id for hit in index.search(points[30], 5)] == ["30", "29", "31", "28", "32"]


def test_every_row_finds_itself_first(tmp_path):
    vectors = unit(np.random.default_rng(2), 500, 16)
    with Index.create(tmp_path / "a.index", 16, "cosine") as index:
        index.add([{"id": str(at)} for at in range(500)], vectors, "x")
        for at, vector in enumerate(vectors):
            [hit] = index.search(vector, 1)
            assert hit.id == str(at) and hit.score > 0.9999


def test_a_collapsed_column_keeps_the_order_of_its_rows(tmp_path):
    with Index.create(tmp_path / "a.index", 4, "cosine") as index:
        index.add([{"id": str(at)} for at in range(20_000)], np.full((20_000, 4), 0.5, np.float32), "x")
        assert [hit.id for hit in index.similar("2", 4)] == ["0", "1", "3", "4"]


def test_similar_leaves_the_item_out_and_keeps_to_the_condition(songs):
    ids, vectors = songs.vectors()
    assert ids == songs.ids("audio") == [f"s{at}" for at in range(40)]
    order, scores = best(vectors, vectors[5], "cosine", 40)
    hits = songs.similar("s5", 100)
    assert [hit.id for hit in hits] == [f"s{at}" for at in order if at != 5]
    waltzes = songs.similar("s5", 3, where="genre = 'waltz'")
    assert [hit.id for hit in waltzes] == [f"s{at}" for at in order if at % 2 == 0 and at != 5][:3]
    assert waltzes[0] == Hit(waltzes[0].id, waltzes[0].score, songs.row(waltzes[0].id))
    assert songs.similar("s5", where="genre = 'tango'") == []
    assert [hit.id for hit in songs.search(vectors[5], 2, exclude=("s5", "no such"))] == [hit.id for hit in hits[:2]]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_similar_batch_finds_what_similar_finds(tmp_path, metric):
    with Index.create(tmp_path / "a.index", 8, metric) as index:
        index.add([{"id": str(at)} for at in range(50)], unit(np.random.default_rng(1), 50, 8), "audio")
        for k in (1, 5, 100):
            assert index.similar_batch(["3", "49", "3"], k) == [index.similar(id, k) for id in ("3", "49", "3")]
        assert index.similar_batch([]) == []
        with pytest.raises(UsageError, match="nobody"):
            index.similar_batch(["3", "nobody"])


def test_vectors_cannot_be_written(songs):
    for path in (songs.path, songs.path):
        with Index.open(path) as index, pytest.raises(ValueError, match="read-only"):
            index.vectors()[1][0] = 0


def test_rows_come_back_as_json_can_hold_them(tmp_path):
    row = {
        "id": "ü/\udce9.wav",
        "title": "Für “Elise”\n",
        "tempo": np.float32(120.5),
        "year": np.int64(1810),
        "live": True,
        "tags": ["a", None, "b", math.nan, ""],
        "none": None,
        "nan": math.nan,
        "facts": {"key": "Am"},
        'a "b" \\': "odd",
        "half\ud800": "\ud800x",
        "audio": np.zeros(3),
        "wav": b"RIFF",
        "inf": math.inf,
        "lyrics": "la " * 30_000,
        "deep": {"array": np.zeros(2)},
        "_file": "x",
        "_hash": "y",
    }
    with Index.create(tmp_path / "a.index", 1, "euclidean") as index:
        index.add([row], np.zeros((1, 1), np.float32), "audio")
        got = index.row(row["id"])
    left_out = {"audio", "wav", "inf", "lyrics", "deep", "_file", "_hash"}
    assert got == {name: cell for name, cell in row.items() if name not in left_out} | {"nan": None, "tags": ["a", "b"]}


def test_adding_again_replaces_and_keeps_the_place(songs):
    before = songs.ids()
    songs.add([{"id": "s3", "title": "new"}, {"id": "z"}], np.eye(8, dtype=np.float32)[:2], "audio")
    assert songs.ids() == [*before, "z"] and len(songs) == 41
    assert songs.row("s3") == {"id": "s3", "title": "new"}
    assert songs.search(np.eye(8)[0], 1)[0].id == "s3"
    assert songs.remove(["s3", "unknown"]) == 1
    assert songs.search(np.eye(8)[0], 1)[0].score < 1
    songs.add([{"id": "s3"}], np.eye(8, dtype=np.float32)[:1], "audio")
    assert songs.ids()[-1] == "s3"


def test_columns_have_vectors_of_their_own(songs):
    vectors = np.eye(8, dtype=np.float32)[:2]
    songs.add([{"id": "s7"}, {"id": "word"}], vectors, "caption")
    assert songs.fields == ["audio", "caption"] and len(songs) == 41
    assert songs.ids("caption") == ["s7", "word"]
    assert [hit.id for hit in songs.similar("word", field="caption")] == ["s7"]
    assert len(songs.similar("s7", 100)) == 39
    with pytest.raises(UsageError, match="no vector in this field"):
        songs.similar("word")
    with pytest.raises(UsageError, match="did you mean caption"):
        songs.search(vectors[0], field="captoin")


def test_what_was_written_is_there_after_reopening(songs):
    hits = songs.similar("s1")
    with Index.open(songs.path) as again:
        assert again.similar("s1") == hits
        field = again.field_info()
        assert (field.metric, field.model, field.note, field.dim) == (
            "cosine",
            "runs/a",
            "trained on synthetic songs",
            8,
        )


def test_an_open_handle_sees_what_another_commits(songs):
    with Index.open(songs.path) as reader:
        assert reader.search(np.eye(8)[0], 1)[0].id != "new"
        songs.add([{"id": "new"}], np.eye(8, dtype=np.float32)[:1], "audio")
        assert reader.search(np.eye(8)[0], 1)[0].id == "new"
        reader.remove(["new"])
        assert songs.search(np.eye(8)[0], 1)[0].id != "new"


def test_a_search_sees_one_generation(songs):
    with Index.open(songs.path) as reader, reader.reading():
        before = reader.similar("s1")
        songs.remove([hit.id for hit in before])
        assert reader.similar("s1") == before
    assert songs.similar("s1") != before


def caches(index):
    return sorted(index.path.parent.glob("*.f32"))


def test_cache_is_written_reused_and_removed(songs):
    assert caches(songs) == []
    hits = songs.similar("s1")
    [cache] = caches(songs)
    assert cache.stat().st_size == 40 * (4 * 8 + 8) + 8
    assert np.fromfile(cache, "<f4", 320).reshape(40, 8).tolist() == songs.vectors()[1].tolist()
    before = cache.stat().st_mtime_ns
    with Index.open(songs.path) as again:
        assert again.similar("s1") == hits
    songs.remove(["s2"])
    with Index.open(songs.path) as again:  # few changes are read beside the cache of an older version
        assert again.similar("s1", 100) == songs.similar("s1", 100)
    assert caches(songs) == [cache] and cache.stat().st_mtime_ns == before
    with Index.create(songs.path, 8, "cosine") as fresh:
        fresh.add([{"id": "a"}, {"id": "b"}], np.eye(8, dtype=np.float32)[:2], "audio")
        assert [hit.id for hit in fresh.similar("a")] == ["b"]
        assert len(caches(fresh)) == 1


def test_a_copy_that_was_put_back_and_written_to_finds_nothing_of_what_it_replaced(songs, tmp_path):
    place, copy = songs.path, tmp_path / "copy"
    songs.similar("s1")
    songs.close()
    shutil.copy(place, copy)
    new = np.eye(8, dtype=np.float32)
    with Index.open(place) as lost:
        lost.add([{"id": "lost", "title": "tarantella"}], new[:1], "audio")
        assert lost.search(new[0], 1)[0].id == "lost" and [hit.id for hit in lost.search_text("tarantella")] == ["lost"]
        number = lost.info.generation
    shutil.copy(copy, place)
    with Index.open(place) as reopened:
        reopened.add([{"id": "found", "title": "mazurka"}], new[1:2], "audio")
        assert reopened.info.generation == number
        assert reopened.search(new[1], 1)[0].id == "found" and reopened.search(new[0], 1)[0].score < 0.99
        assert reopened.search_text("tarantella") == [] and [hit.id for hit in reopened.search_text("mazurka")] == [
            "found"
        ]
        assert len(caches(reopened)) == 1  # nothing is left of the other history


@pytest.mark.parametrize("content", [b"", b"short", bytes(2000)])
def test_a_cache_of_another_size_is_made_anew(songs, content):
    hits = songs.similar("s1")
    [cache] = caches(songs)
    cache.write_bytes(content)
    with Index.open(songs.path) as again:
        assert again.similar("s1") == hits
    assert cache.stat().st_size == 40 * 40 + 8


@pytest.mark.parametrize("fault", [PermissionError("no"), DiskFullError("x", "no space", "free some")])
def test_a_cache_that_cannot_be_written_stays_in_memory(songs, monkeypatch, fault):
    def writing(path):
        raise fault

    hits = songs.similar("s1")
    caches(songs)[0].unlink()
    monkeypatch.setattr(files, "atomic_write", writing)
    with Index.open(songs.path) as again:
        assert again.similar("s1") == hits == again.similar("s1")
    assert caches(songs) == []


@pytest.mark.parametrize("blob", ["zeroblob(32)", "zeroblob(4)", "x'00'"])
def test_a_broken_vector_is_damage(songs, blob):
    with songs.backend.write() as transaction:
        transaction.db.execute(f"UPDATE vectors SET blob = {blob} WHERE row = 7")
    with pytest.raises(DamagedError, match="jointembed index MODEL SOURCE"):
        songs.similar("s1")


def test_an_empty_index(tmp_path):
    with Index.create(tmp_path / "a.index", 4, "cosine") as index:
        assert len(index) == 0 and index.fields == []
        with pytest.raises(UsageError, match="empty"):
            index.search(np.ones(4))
        index.add([], np.empty((0, 4), np.float32), "audio")
        assert index.search(np.ones(4)) == [] and index.vectors()[1].shape == (0, 4)


def test_what_cannot_be_searched(songs):
    for vector in (np.ones(7), np.ones((1, 8)), np.zeros(8), np.full(8, np.nan), np.full(8, np.inf)):
        with pytest.raises(UsageError, match="query"):
            songs.search(vector)
    for k in (0, -1):
        with pytest.raises(UsageError, match="k: must be at least 1"):
            songs.search(np.ones(8), k)
    with pytest.raises(UsageError, match="did you mean s17"):
        songs.similar("S17")
    with pytest.raises(UsageError, match="not in the index"):
        songs.row("unknown")


def test_resolve(songs):
    songs.add(
        [{"id": "lone", "title": "Only One"}, {"id": "s1.wav", "title": "s2"}],
        unit(np.random.default_rng(3), 2, 8),
        "audio",
    )
    assert songs.resolve("s1") == "s1"
    assert songs.resolve("rock/17.wav") == "s17"
    assert songs.resolve("Only One") == "lone"
    assert songs.resolve("s2") == "s2"  # an id before a title
    assert songs.resolve("nothing of that name") is None
    with pytest.raises(UsageError, match="2 items have this title.*s6, s7"):
        songs.resolve("Song 3")


def test_an_index_of_another_model_refuses(songs):
    songs.check_model("f1")
    with pytest.raises(MismatchError, match=f"runs/a.*jointembed index MODEL SOURCE {songs.path}") as failure:
        songs.check_model("f2")
    assert failure.value.code == 4


def test_a_lookup_by_id_loads_no_torch(songs):
    songs.similar("s1")
    code = (
        "import sys\nfrom jointembed.index.index import Index\n"
        f"with Index.open({str(songs.path)!r}) as index:\n    print(index.similar('s1', 1)[0].id)\n"
        "heavy = ('torch', 'lightning', 'pyarrow', 'sklearn', 'pandas', 'scipy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [songs.similar("s1", 1)[0].id, "[]"]


def clustered(count, dim, separation):
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((200, dim))
    values = separation * centers[rng.integers(200, size=count)] + rng.standard_normal((count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def index_of(place, vectors):
    index = Index.create(place, vectors.shape[1], "cosine")
    index.add([{"id": str(at), "genre": str(at % 20)} for at in range(len(vectors))], vectors, "audio")
    return index


def test_an_inverted_file_finds_nearly_all_with_exact_scores_and_is_exact_under_a_condition(place):
    pytest.importorskip("faiss")
    vectors = clustered(20_000, 16, 4.0)
    with index_of(place, vectors) as index:
        exact = [index.similar(str(at), 10) for at in range(100)]
        filtered = [index.search(vectors[at], 10, where="genre = '7'") for at in range(20)]
        with pytest.raises(UsageError, match="must be hnsw or ivf"):
            index.build_approximate(kind="lsh")
        assert index.build_approximate(kind="ivf") >= 0.98 and index.info.approximate == {}
        hits = [index.similar(str(at), 10) for at in range(100)]
        pairs = [(right, near) for right, near in zip(exact, hits, strict=True)]
        assert sum(len({hit.id for hit in right} & {hit.id for hit in near}) for right, near in pairs) >= 970
        scores = {(at, hit.id): hit.score for at, hits in enumerate(exact) for hit in hits}
        assert all(scores.get((at, hit.id), hit.score) == hit.score for at, hits in enumerate(hits) for hit in hits)
        assert [index.search(vectors[at], 10, where="genre = '7'") for at in range(20)] == filtered
        index.add([{"id": "new"}], vectors[:1], "audio")
        assert {hit.id for hit in index.search(vectors[0], 2)} == {"0", "new"}


@pytest.mark.slow
def test_an_inverted_file_with_low_recall_is_not_used(place):
    pytest.importorskip("faiss")
    vectors = clustered(20_000, 64, 0.0)
    with index_of(place, vectors) as index:
        exact = [index.search(vectors[at], 10) for at in range(20)]
        assert index.build_approximate(kind="ivf") < 0.98
        assert [index.search(vectors[at], 10) for at in range(20)] == exact
