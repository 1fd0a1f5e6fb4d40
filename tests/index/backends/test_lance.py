"""What the backend on Lance promises beside the contract: the store searches, and writers do not disturb each other."""

import random
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from jointembed import BagOfWords, EmbeddingBag, Space
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.index.backends.base import FieldInfo, IndexInfo
from jointembed.index.index import Index
from jointembed.index.snapshot import Snapshot

lance = pytest.importorskip("lance", reason="pylance is not installed")
from jointembed.index.backends import lance as lance_backend  # noqa: E402
from jointembed.index.backends.lance import LanceBackend  # noqa: E402

DIM = 16
CELLS = {
    "genre": ["waltz", "polka", "it's", "", "Éclair", None],
    "tempo": [60, 60.5, -3, 2**53 + 1, 0, None],
    "live": [True, False, None],
    "mixed": ["60", 60, True, None],
    "tags": [["waltz", "slow"], ["polka"], [], "waltz", None],
}
CONDITIONS = [
    *("genre = 'waltz'", "genre != 'waltz'", "genre in ('it''s', '')", "genre > 'p'", "genre <= 'polka'"),
    *("tempo = 60", "tempo > 60", "tempo <= -3", "tempo in (0, 60.5)", "tempo is null", "not tempo is null"),
    *("live = true", "live != false", "mixed = 60", "mixed = '60'", "mixed = true", "id = 's7'", "id > 's5'"),
    *("tags has 'waltz'", "genre like 'W%'", "not (tempo > 60 or genre = 'polka')"),
    *("genre = 'waltz' and (tempo > 0 or live = true)", "genre is null and tags = 'waltz'"),
]


def unit(count, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rows(count, seed=0):
    rng = random.Random(seed)
    return [{"id": f"s{n}", **{name: rng.choice(cells) for name, cells in CELLS.items()}} for n in range(count)]


@pytest.fixture
def index(tmp_path):
    with Index.create(tmp_path / "a.lance", DIM, "cosine") as created:
        yield created


def refuse(*_):
    raise AssertionError("the vectors are read whole")


@pytest.mark.parametrize("where", CONDITIONS)
def test_the_store_finds_the_rows_that_the_cells_say(index, tmp_path, where):
    with Index.create(tmp_path / "a.index", DIM, "cosine") as expected:
        for each in (index, expected):
            each.add(rows(80), unit(80), "audio")
            each.update([{"id": "s3", "genre": None, "tempo": 61}, {"id": "s4", "genre": "waltz"}])
        query = unit(1, 5)[0]
        assert index.search(query, 80, where=where) == expected.search(query, 80, where=where)


def test_a_value_of_another_type_is_refused_like_in_a_file(index):
    index.add([{"id": "a", "tempo": 3}], unit(1), "audio")
    with pytest.raises(UsageError, match="every cell of the column tempo is a number"):
        index.search(unit(1)[0], where="tempo = 'fast'")


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_search_and_similar_leave_the_vectors_in_the_store(tmp_path, monkeypatch, metric):
    vectors = unit(300) if metric == "cosine" else unit(300) * np.linspace(0.1, 9, 300, dtype=np.float32)[:, None]
    with Index.create(tmp_path / "a.lance", DIM, metric) as index, Index.create(tmp_path / "b", DIM, metric) as file:
        for each in (index, file):
            each.add([{"id": f"s{n}", "genre": n % 3} for n in range(300)], vectors, "audio")
        query = vectors[7] + 0.1
        expected = file.search(query, 9, where="genre = 1"), file.similar(["s5", "s6"], 9, unlike=["s1"])
        monkeypatch.setattr(Snapshot, "field", refuse)
        assert (index.search(query, 9, where="genre = 1"), index.similar(["s5", "s6"], 9, unlike=["s1"])) == expected


def test_equal_scores_stand_in_row_order_however_many_there_are(index):
    index.add([{"id": f"s{n}"} for n in range(200)], np.repeat(unit(1), 200, 0), "audio")
    index.add([{"id": "s5"}], unit(1), "audio")  # it is written anew, behind all others
    assert [hit.id for hit in index.search(unit(1)[0], 7)] == [f"s{n}" for n in range(7)]
    assert [hit.id for hit in index.similar("s2", 3)] == ["s0", "s1", "s3"]


def test_writers_in_several_processes_lose_nothing(index):
    """Each backend has its own view of the table, as that of another process has."""
    faults = []

    def write(writer):
        try:
            with Index(LanceBackend(index.backend.uri)) as writer_index:
                for batch in range(4):
                    writer_index.add([{"id": f"w{writer}-{batch}-{n}"} for n in range(3)], unit(3, batch), "audio")
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=[n]) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    assert len(set(index.ids())) == len(index) == 36 and index.info.generation == 12
    with index.backend.read() as view:
        assert len(set(view.keys().tolist())) == 36


def test_a_commit_that_dies_leaves_the_last_version(index, monkeypatch):
    index.add(rows(5), unit(5), "audio")
    version = index.version
    with monkeypatch.context() as patch:
        patch.setattr(lance.LanceDataset, "merge_insert", refuse)
        with pytest.raises(AssertionError):
            index.add([{"id": "s1", "year": 1}], np.ones((1, DIM), np.float32) / 4, "words")
    assert (index.version, index.fields, index.row("s1")) == (version, ["audio"], rows(5)[1] | index.row("s1"))
    index.add_field("lyrics", 3, "euclidean")
    index.add([{"id": "s1", "year": "old"}], np.ones((1, 3), np.float32), "lyrics")
    assert index.ids("lyrics") == ["s1"] and index.search(np.ones(3), 1, "lyrics", where="year = 'old'")[0].id == "s1"


def test_many_commits_are_joined_and_readers_keep_their_version(index, monkeypatch):
    monkeypatch.setattr(lance_backend, "_MAX_FRAGMENTS", 4)
    index.add(rows(6), unit(6), "audio")
    with index.reading():
        for n in range(6, 18):
            backend = LanceBackend(index.backend.uri)
            thread = threading.Thread(target=Index(backend).add, args=[[{"id": f"s{n}"}], unit(1, n), "audio"])
            thread.start()
            thread.join()
        assert len(index.ids()) == len(index.search(unit(1)[0], 50)) == 6
    assert index.ids() == [f"s{n}" for n in range(18)]
    assert len(lance.dataset(index.backend.uri).get_fragments()) <= 5


def test_an_approximate_search_is_measured_and_sees_later_commits(index, monkeypatch):
    vectors = unit(3_000)
    index.add([{"id": f"s{n}", "genre": n % 4} for n in range(3_000)], vectors, "audio")
    monkeypatch.setattr(lance_backend, "_ROWS_IN_LIST", 300)
    recall = index.build_approximate()
    assert recall >= 0.98 and index.info.approximate == {"audio": recall}
    hits = [hit.id for hit in index.search(vectors[8], 10, where="genre = 0")]
    allowed = np.arange(0, 3_000, 4)
    exact = allowed[np.argsort(-(vectors[allowed] @ vectors[8]))[:10]]
    assert hits[0] == "s8" and len(set(hits) & {f"s{n}" for n in exact}) >= 9
    index.add([{"id": "new", "genre": 0}], vectors[8:9], "audio")
    index.remove(["s8"])
    assert index.search(vectors[8], 1, where="genre = 0")[0].id == "new"
    assert index.search_batch(vectors[8:9], 1)[0].shape == (1, 1), "other searches are exact"


def test_the_recall_is_that_of_the_index_that_was_built(index, monkeypatch):
    vectors = unit(4_000)
    index.add([{"id": f"s{n}"} for n in range(4_000)], vectors, "audio")
    monkeypatch.setattr(lance_backend, "_ROWS_IN_LIST", 260)
    monkeypatch.setattr(lance_backend, "_TARGET_RECALL", 0.0)
    with index.reading():
        recall = index.build_approximate()
    assert 0.8 < recall < 1, "8 of 15 lists do not hold all neighbors of random vectors"
    monkeypatch.setattr(lance_backend, "MIN_RECALL", 0.0)
    nearest = np.argsort(-(vectors[:100] @ vectors.T), 1)[:, 1:11]
    hits = [{hit.id for hit in index.similar(f"s{n}", 10)} for n in range(100)]
    shares = [len(ids & {f"s{n}" for n in row}) / 10 for ids, row in zip(hits, nearest, strict=True)]
    assert abs(np.mean(shares) - recall) < 0.04


def test_an_approximate_search_that_finds_too_little_is_not_used(index, monkeypatch):
    vectors = unit(2_000)
    index.add([{"id": f"s{n}"} for n in range(2_000)], vectors, "audio")
    monkeypatch.setattr(LanceBackend, "_measure", lambda *_: (1, 0.5))
    assert index.build_approximate() == 0.5
    exact = np.argsort(-(vectors @ vectors[8]))[:50]
    assert [hit.id for hit in index.search(vectors[8], 50)] == [f"s{n}" for n in exact]
    with pytest.raises(UsageError, match="inverted files only"):
        index.build_approximate(kind="hnsw")


def test_few_vectors_have_no_approximate_search(index):
    index.add(rows(5), unit(5), "audio")
    with pytest.raises(UsageError, match="at least 1000 vectors, got 5"):
        index.build_approximate()


def test_a_new_index_takes_the_place_of_an_old_one(index):
    index.add(rows(5), unit(5), "audio")
    identity = index.info.identity
    with Index.create(index.path, 3, "euclidean") as fresh:
        assert len(fresh) == 0 and fresh.info.identity != identity
        fresh.add([{"id": "a"}], np.ones((1, 3), np.float32), "audio")
        assert Index.open(fresh.path).search(np.ones(3))[0].id == "a"


@pytest.mark.slow
def test_rows_are_read_fast_where_others_were_removed(index):
    """Lance's own `take` counts past the deleted row for each row that follows it."""
    for start in range(0, 200_000, 50_000):
        index.add([{"id": f"s{n}"} for n in range(start, start + 50_000)], np.repeat(unit(1), 50_000, 0), "audio")
    index.remove(["s0"])
    index.ids()
    start = time.process_time()
    assert len(index.rows_at(range(190_000, 198_000))) == 8_000
    assert time.process_time() - start < 3


def test_what_is_no_index_is_refused_in_one_line(tmp_path, index):
    with pytest.raises(UsageError, match="index not found"):
        Index.open(tmp_path / "none.lance")
    lance.write_dataset(lance.dataset(index.backend.uri).to_table(columns=["id"]), tmp_path / "other.lance")
    for call in (Index.open, lambda path: Index.create(path, 2, "cosine")):
        with pytest.raises(Exception, match="not an index"):
            call(tmp_path / "other.lance")
    (tmp_path / "folder.lance").mkdir()
    (tmp_path / "folder.lance/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="taken by something that is not an index"):
        LanceBackend.create(tmp_path / "folder.lance", IndexInfo(FieldInfo(2, "cosine")))
    with pytest.raises(UsageError, match="not Unicode"):
        index.add([{"id": "a\udc80"}], unit(1), "audio")


def test_lancedb_opens_the_table(index):
    lancedb = pytest.importorskip("lancedb", reason="lancedb is not installed")
    index.add(rows(9), unit(9), "audio")
    table = lancedb.connect(index.path.parent).open_table("a")
    results = table.search(unit(9)[4], vector_column_name="vector_0").where("alive").limit(1).to_list()
    assert results[0]["id"] == "s4"


def test_the_commands_index_a_table_twice_and_search_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader = BagOfWords()
    reader.fit(["slow waltz", "fast reel"])
    space = Space(4, {"words": EmbeddingBag(reader)})
    space.build()
    space.save("a.ckpt")
    Path("rows.csv").write_text("id,words,tempo\na,slow waltz,60\nb,fast reel,160\nc,slow reel,90\n")
    for arguments, output in (
        (["index", "a.ckpt", "rows.csv", "songs.lance"], "3 rows by words, 4 dimensions"),
        (["index", "a.ckpt", "rows.csv", "songs.lance"], "3 of them unchanged"),
        (["similar", "songs.lance", "a", "--where", "tempo > 100", "--json"], '"b"'),
        (["search", "songs.lance", "reel", "--mode", "text", "--json"], '"c"'),
    ):
        main(arguments)
        assert output in capsys.readouterr().out
    Path("music").mkdir()
    for arguments, problem in (
        (["index", "a.ckpt", "music", "other.lance"], "cannot record the files of a folder"),
        (["verify", "songs.lance"], "no checksums"),
        (["index", "a.ckpt", "rows.csv", "songs.lance", "--approximate"], "at least 1000 vectors, got 3"),
    ):
        assert main(arguments) == 2 and problem in capsys.readouterr().err


@pytest.mark.slow
def test_an_index_in_an_object_store(monkeypatch, tmp_path):
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=10).close()
    options = {
        **{"endpoint": endpoint, "allow_http": "true", "region": "us-east-1"},
        **{"access_key_id": "key", "secret_access_key": "secret"},
    }
    monkeypatch.chdir(tmp_path)
    try:
        info = IndexInfo(FieldInfo(DIM, "cosine"))
        with Index(LanceBackend.create("s3://bucket/music/songs.lance", info, options)) as index:
            index.add(rows(50), unit(50), "audio")
            index.remove(["s3"])
        with Index(LanceBackend("s3://bucket/music/songs.lance", options)) as index:
            assert index.search(unit(50)[4], 1, where="tempo is not null or tempo is null")[0].id == "s4"
            assert index.search_batch(unit(50)[4:5], 1)[0].tolist() == [[3]] and len(index) == 49
    finally:
        server.stop()
    assert not any(tmp_path.iterdir()), "no cache of a remote table is written"
