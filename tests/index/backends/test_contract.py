"""What an index promises whatever stores it: each test runs over every backend."""

import threading

import numpy as np
import pytest
from memory_backend import MemoryBackend

from jointembed.errors import MismatchError, UsageError, UserError
from jointembed.index.backends.base import FieldInfo
from jointembed.index.index import Index

DIM = 8


def unit(count, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def song_rows(count):
    genres = ["waltz", "polka", "reel"]
    return [{"id": f"s{n}", "title": f"Song {n}", "genre": genres[n % 3], "tempo": 60 + n} for n in range(count)]


@pytest.fixture(params=["sqlite", "memory", "lance"])
def index(request, tmp_path):
    if request.param == "sqlite":
        created = Index.create(tmp_path / "a.index", DIM, "cosine", "runs/a", "f")
    elif request.param == "lance":
        pytest.importorskip("lance", reason="pylance is not installed")
        created = Index.create(tmp_path / "a.lance", DIM, "cosine", "runs/a", "f")
    else:
        created = Index(MemoryBackend(FieldInfo(DIM, "cosine", "runs/a", "f")))
    with created:
        yield created


@pytest.fixture
def songs(index):
    index.add(song_rows(30), unit(30), "audio")
    return index


def nearest(vectors, query, ids):
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    return [ids[n] for n in np.argsort(-scores, kind="stable")]


def test_empty_index_is_refused(index):
    assert len(index) == 0 and index.fields == []
    with pytest.raises(UsageError, match="empty"):
        index.search(np.ones(DIM))


def test_search_is_exact_and_ties_stand_in_row_order(songs):
    songs.add([{"id": "twin"}], unit(30)[3:4], "audio")
    ids, vectors = songs.vectors()
    assert ids == [*(f"s{n}" for n in range(30)), "twin"]
    assert [hit.id for hit in songs.search(vectors[3], 31)] == nearest(vectors, vectors[3], ids)
    assert [hit.id for hit in songs.search(vectors[3], 2)] == ["s3", "twin"]


def test_similar_excludes_itself_and_takes_vectors(songs):
    ids, vectors = songs.vectors()
    expected = [id for id in nearest(vectors, vectors[5], ids) if id != "s5"]
    assert [hit.id for hit in songs.similar("s5", 30)] == expected
    assert [hit.id for hit in songs.similar(vectors[5], 30)] == ["s5", *expected]
    assert [hit.id for hit in songs.similar("s5", 30, exclude=[expected[0]])] == expected[1:]


def test_batch_equals_single_searches(songs):
    ids, vectors = songs.vectors()
    exclude = [[id, "unknown"] for id in ids]
    positions, scores = songs.search_batch(vectors, 4, where="tempo < 80", exclude=exclude)
    for query, row, row_scores, out in zip(vectors, positions, scores, exclude, strict=True):
        hits = songs.search(query, 4, where="tempo < 80", exclude=out)
        assert [ids[n] for n in row] == [hit.id for hit in hits]
        assert row_scores.tolist() == [hit.score for hit in hits]
    positions, scores = songs.search_batch(vectors[:1], 9, where="tempo < 62", exclude=[["s0"]])
    assert positions.shape == (1, 2) and positions[0, 1] == -1 and scores[0, 1] == -np.inf
    groups, _ = songs.search_batch(vectors[:1], 9, one_per="genre")
    assert len({songs.row(ids[n])["genre"] for n in groups[0] if n >= 0}) == 3 == (groups[0] >= 0).sum()


def test_added_rows_replace_those_with_the_same_id(songs):
    songs.add([{"id": "s3", "title": "new"}], unit(1, 9), "audio")
    assert songs.row("s3") == {"id": "s3", "title": "new"} and len(songs) == 30
    assert songs.search(unit(1, 9)[0], 1)[0].id == "s3" and songs.ids()[3] == "s3"
    assert songs.search_text("new")[0].id == "s3" and "s3" not in [hit.id for hit in songs.search_text("song", 50)]


def test_removed_rows_are_gone_from_every_search(songs):
    assert songs.remove(["s4", "unknown", "s9"]) == 2
    vectors = unit(30)
    result_ids = {hit.id for hit in songs.search(vectors[4], 50)}
    assert len(result_ids) == len(songs) == 28 and not result_ids & {"s4", "s9"}
    assert len(songs.search_text("song", 50)) == 28 and songs.count("tempo >= 60") == 28
    with pytest.raises(UsageError, match="not in the index"):
        songs.row("s4")


def test_update_merges_cells(songs):
    songs.update([{"id": "s1", "tempo": None, "key": "Am"}, {"id": "unknown", "key": "C"}])
    assert songs.row("s1") == {"id": "s1", "title": "Song 1", "genre": "polka", "key": "Am"}
    assert songs.count("key is not null") == 1 and songs.columns[-1] == "key"
    version = songs.version
    songs.update([{"id": "s1", "key": "Am"}])
    assert songs.version == version, "nothing has changed"


def test_conditions_see_every_commit(songs):
    assert songs.count("genre = 'waltz' and tempo > 70") == 6
    songs.add([{"id": "late", "genre": "waltz", "tempo": 99}], unit(1, 4), "audio")
    assert songs.count("genre = 'waltz' and tempo > 70") == 7


def test_fields_of_two_models_are_kept_apart(songs):
    songs.add_field("words", 3, "euclidean", "runs/b", "g")
    songs.add([{"id": "s1"}, {"id": "s2"}], np.eye(3, dtype=np.float32)[:2], "words")
    assert songs.fields == ["audio", "words"] and songs.ids("words") == ["s1", "s2"]
    assert [hit.id for hit in songs.search(np.eye(3)[1], 1, "words")] == ["s2"]
    songs.set_field_info("words", sample_rate=8)
    assert (songs.field_info("words").sample_rate, songs.field_info("audio").sample_rate) == (8, 0)
    with pytest.raises(MismatchError):
        songs.check_model("f", "words")
    with pytest.raises(UsageError, match="no vector in this field"):
        songs.similar("s9", field="words")


def test_bad_vectors_change_nothing(songs):
    version = songs.version
    with pytest.raises(UserError, match="vector 0 of 1"):
        songs.add([{"id": "x"}], 2 * unit(1), "audio")
    with pytest.raises(MismatchError):
        songs.add([{"id": "x"}], np.ones((1, 3), np.float32), "audio")
    assert songs.version == version


def test_vocabulary_digests_and_clusters_are_stored(songs):
    songs.set_vocabulary(["waltz", "reel"], unit(2), "audio")
    assert songs.vocabulary()[0] == ["waltz", "reel"] and songs.nearest_terms(["s0"], 1) == [["waltz"]]
    songs.add([{"id": "d", "_digest": "1"}], unit(1, 7), "audio")
    assert songs.unchanged([{"id": "d", "_digest": "1"}, {"id": "d", "_digest": "2"}, {"id": "s1"}], "audio") == [
        *(True, False, False)
    ]
    songs.write_clusters("cluster", {"s0": "1 waltz"}, ["1 waltz"])
    songs.write_clusters("cluster", {"s1": "1 polka"}, ["1 polka"])
    assert songs.row("s1")["cluster"] == "1 polka" and "cluster" not in songs.row("s0")
    with pytest.raises(UsageError, match="already have a column"):
        songs.write_clusters("genre", {}, [])


def test_names_are_resolved(songs):
    songs.add([{"id": "x", "title": "Song 1"}], unit(1, 3), "audio")
    assert (songs.resolve("s2"), songs.resolve("Song 2"), songs.resolve("nothing")) == ("s2", "s2", None)
    with pytest.raises(UsageError, match="2 items have this title"):
        songs.resolve("Song 1")
    with pytest.raises(UsageError, match="did you mean s17"):
        songs.row("S17")


def test_threads_share_an_index_and_see_whole_versions(songs):
    """Every version has as many rows of each batch as vectors, and all titles of one batch are the same."""
    faults, answers, over = [], [], threading.Event()

    def read():
        try:
            while not over.is_set():
                with songs.reading():
                    hits = songs.search(np.ones(DIM), 100)
                    batches = {hit.row["batch"] for hit in hits if "batch" in hit.row}
                    assert len(batches) <= 1 and len(hits) == len(songs) == 30 + 5 * len(batches)
                    assert len(songs.search_text("batch", 100)) == 5 * len(batches)
                    answers.append(batches)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for batch in range(12):
        rows = [{"id": f"b{n}", "title": "batch", "batch": batch} for n in range(5)]
        songs.add(rows, unit(5, batch), "audio")
    over.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    assert answers
