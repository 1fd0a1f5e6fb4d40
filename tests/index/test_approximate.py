"""A graph beside an index: searched in every process, extended by commits, and never a reason for a wrong answer."""

import contextlib
import logging
import shutil
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest
from scan_stub import Decoder, Embedder, opened

from jointembed import files
from jointembed.errors import DiskFullError, UsageError
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import scan

pytest.importorskip("faiss")
COUNT, DIM = 3_000, 48


def clustered(count, seed, metric="cosine", dim=DIM):
    centers = np.random.default_rng(0).standard_normal((50, dim))
    rng = np.random.default_rng(seed)
    values = 4 * centers[rng.integers(50, size=count)] + rng.standard_normal((count, dim))
    if metric == "cosine":
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values.astype(np.float32)


def rows(start, stop):
    return [{"id": str(at), "genre": str(at % 20), "half": at % 2} for at in range(start, stop)]


VECTORS, MORE = clustered(COUNT, 1), clustered(4_000, 2)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("built") / "a.index"
    with Index.create(place, DIM, "cosine") as index:
        index.add(rows(0, COUNT), VECTORS, "audio")
        assert index.build_approximate() >= 0.99
    return place


@pytest.fixture
def place(built, tmp_path):
    for file in built.parent.glob("a.index*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "a.index"


@pytest.fixture
def index(place):
    with Index.open(place) as index:
        yield index


def graphs(place):
    return [path.name for path in place.parent.glob("*.hnsw")]


def ids_and_scores(hits):
    return [(hit.id, hit.score) for hit in hits]


def brute_force(index, query, k, where=None):
    """The k best rows of one version of an index, by its vectors alone."""
    ids, values = index.vectors()
    with index.reading() as snapshot:
        allowed = snapshot.allowed(where, None)
    scores = (values.astype(np.float64) * (query.astype(np.float64) / np.linalg.norm(query.astype(np.float64)))).sum(1)
    order = np.argsort(-scores, kind="stable")
    order = order if allowed is None else order[np.isin(order, allowed)]
    return [(ids[at], scores[at]) for at in order[:k]]


def recall(index, queries, where=None):
    """The share of the 10 nearest rows that are found; asserts that each score is that of the row's present vector."""
    ids, values = index.vectors()
    position = {id: at for at, id in enumerate(ids)}
    hits = 0
    for query in queries:
        found_rows = index.search(query, 10, where=where)
        right = brute_force(index, query, 10, where)
        assert len(found_rows) == len(right)
        unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
        for hit in found_rows:
            assert hit.score == pytest.approx((values[position[hit.id]].astype(np.float64) * unit).sum(), abs=1e-12)
        hits += len({id for id, _ in right} & {hit.id for hit in found_rows}) / len(right)
    return hits / len(queries)


def is_approximate(index):
    with index.reading() as snapshot:
        return snapshot.field(None).approximate is not None


def test_the_graph_is_searched_in_every_process_with_the_same_answers(place, index):
    assert index.info.approximate["audio"] >= 0.99 and is_approximate(index)
    hits = [ids_and_scores(index.search(query, 10)) for query in VECTORS[:20]]
    code = (
        "import sys\nimport numpy as np\nfrom jointembed.index.index import Index\n"
        f"with Index.open({str(place)!r}) as index:\n"
        "    for query in index.vectors()[1][:20]:\n"
        "        print([(hit.id, hit.score) for hit in index.search(query, 10)])\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [*map(str, hits), "False"] and not done.stderr
    assert recall(index, MORE[:100]) >= 0.98


@pytest.mark.parametrize("where", ["half = 1", "genre = '7'", "id = '7'", "half = 3"])
def test_recall_is_the_same_under_conditions(index, where):
    if where == "half = 3":
        assert index.search(VECTORS[0], 10, where=where) == []
    else:
        assert recall(index, MORE[:30], where) >= 0.98


def test_options_of_the_results(index):
    nearest = [hit.id for hit in index.search(VECTORS[5], 30)]
    without = index.search(VECTORS[5], 10, exclude=nearest[:7])
    assert [hit.id for hit in without] == nearest[7:17]
    assert "5" not in [hit.id for hit in index.similar("5", 10)]
    hits = index.search(VECTORS[5], 10, one_per="genre")
    assert len({hit.row["genre"] for hit in hits}) == 10 and hits[0].id == "5"
    assert [hit.id for hit in index.similar_batch(["5", "9"], 10)[1]] == [hit.id for hit in index.similar("9", 10)]


def test_small_commits_are_searched_at_once(place, index):
    before = graphs(place)
    index.add(rows(COUNT, COUNT + 50), MORE[:50], "audio")
    index.add(rows(10, 20), MORE[50:60], "audio")  # replaced
    index.remove(map(str, range(100, 200)))
    assert is_approximate(index) and graphs(place) == before
    assert all(index.search(MORE[at], 1)[0].id == str(COUNT + at) for at in range(50))
    assert all(index.search(MORE[50 + at], 1)[0].id == str(10 + at) for at in range(10))
    for at in range(10, 20):
        assert all(hit.id != str(at) or hit.score < 0.999 for hit in index.search(VECTORS[at], 10))
    for at in range(100, 200):
        assert not {hit.id for hit in index.search(VECTORS[at], 10)} & set(map(str, range(100, 200)))
    assert recall(index, MORE[100:150]) >= 0.98 and recall(index, MORE[100:120], "genre = '7'") >= 0.98
    with Index.open(place) as again:
        queries = MORE[:30]
        assert [again.search(query, 10) for query in queries] == [index.search(query, 10) for query in queries]
    assert verify(place).removed == ()


def test_many_changes_are_added_to_the_graph(place, index):
    before = graphs(place)
    index.remove(map(str, range(100, 200)))
    index.add(rows(0, 20), MORE[:20], "audio")
    index.add(rows(COUNT, COUNT + 1_500), MORE[20:1_520], "audio")
    [after] = graphs(place)
    assert [after] != before and is_approximate(index)
    with index.reading() as snapshot:
        search = snapshot.field(None).approximate
        assert search.added is None and len(search.graph) == COUNT + 1_520
    assert recall(index, MORE[1_600:1_700]) >= 0.98 and recall(index, VECTORS[:200:4]) >= 0.98
    with Index.open(place) as again:
        assert [again.search(query, 10) for query in MORE[:30]] == [index.search(query, 10) for query in MORE[:30]]
    assert verify(place).removed == ()
    index.remove(map(str, range(COUNT)))  # all that it was built from
    assert recall(index, MORE[1_600:1_650]) >= 0.98
    index.remove(index.ids())
    assert index.count() == 0 and index.search(VECTORS[0], 10) == []


def test_a_field_and_a_metric_of_its_own(tmp_path):
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        index.add(rows(0, COUNT), VECTORS, "audio")
        for metric, dim in (("euclidean", 8), ("dot", 40)):
            index.add_field(metric, dim, metric)
            values = 3 * clustered(2_000, 5, metric, dim)
            index.add(rows(0, 2_000), values, metric)
            exact = [index.search(query, 10, metric) for query in values[:100]]
            assert index.build_approximate(metric) >= 0.98
            hits = [index.search(query, 10, metric) for query in values[:100]]
            pairs = zip(exact, hits, strict=True)
            assert sum(len({hit.id for hit in a} & {hit.id for hit in b}) for a, b in pairs) >= 980
        assert set(index.info.approximate) == {"euclidean", "dot"} and not is_approximate(index)
        assert verify(index.path).removed == ()


def flip_byte(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        "flipped",
        "missing",
        "of another index",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cut", "empty")),
    ],
)
def test_a_damaged_graph_is_reported_and_not_used(place, caplog, damage):
    [path] = place.parent.glob("*.hnsw")
    if damage == "of another index":
        with Index.create(place.parent / "b.index", DIM, "cosine") as another:
            another.add(rows(0, 2_000), MORE[:2_000], "audio")
            another.build_approximate()
        [foreign] = place.parent.glob("b.index*.hnsw")
        shutil.copy(foreign, path)
        assert verify(place).removed == (path,)
    elif damage == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes({"flipped": content[:999] + b"?" + content[1_000:], "cut": content[:-4], "empty": b""}[damage])
    with Index.open(place) as index:
        with caplog.at_level(logging.WARNING):
            hits = [ids_and_scores(index.search(query, 10)) for query in MORE[:20]]
        assert not is_approximate(index)
        for query, near in zip(MORE, hits, strict=False):
            assert [id for id, _ in near] == [id for id, _ in brute_force(index, query, 10)]
        [record] = caplog.records
        line = record.getMessage()
        assert str(place) in line and "searched exactly" in line and "build_approximate" in line and "\n" not in line
        assert index.build_approximate() >= 0.98 and is_approximate(index)
    assert verify(place).removed == ()


def test_verify_finds_a_flipped_byte_anywhere(place):
    [path] = place.parent.glob("*.hnsw")
    content = path.read_bytes()
    for at in np.random.default_rng(0).integers(len(content), size=10):
        flip_byte(path, at)
        assert verify(place).removed == (path,) and not path.exists()
        path.write_bytes(content)
    assert verify(place).removed == ()


def test_without_faiss_a_search_is_exact_and_says_so(place, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with Index.open(place) as index:
        with caplog.at_level(logging.WARNING):
            assert recall(index, MORE[:10]) == 1
            index.add(rows(COUNT, COUNT + 1_500), MORE[:1_500], "audio")
            assert recall(index, MORE[:10]) == 1
        [record] = caplog.records
        assert 'pip install "jointembed[ann]"' in record.getMessage() and "\n" not in record.getMessage()
        with pytest.raises(UsageError, match=r"jointembed\[ann\]"):
            index.build_approximate()
    assert verify(place).removed == ()


def test_a_recall_that_has_fallen_is_reported_and_searches_are_exact(tmp_path, caplog):
    values = np.random.default_rng(0).standard_normal((4_500, DIM)).astype(np.float32)
    values[2_000:] *= 4  # the graph stores each number in a byte, whose range is that of the first rows
    with Index.create(tmp_path / "a.index", DIM, "euclidean") as index:
        index.add(rows(0, 2_000), values[:2_000], "audio")
        assert index.build_approximate() >= 0.98
        index.add(rows(2_000, 4_500), values[2_000:], "audio")
        assert index.info.approximate["audio"] < 0.98 and not is_approximate(index)
        with caplog.at_level(logging.WARNING):
            assert [hit.id for hit in index.search(values[3_000], 1)] == ["3000"]
        assert "has fallen to" in caplog.text and "build_approximate" in caplog.text
        assert index.build_approximate() >= 0.98 and is_approximate(index)


def test_vectors_that_a_graph_cannot_search_well_are_searched_exactly(tmp_path):
    values = np.random.default_rng(0).standard_normal((1_500, DIM)).astype(np.float32)
    values[1_000:] *= 1_000  # the graph stores each number in a byte: those of the first rows are all the same
    with Index.create(tmp_path / "a.index", DIM, "euclidean") as index:
        index.add(rows(0, 1_500), values, "audio")
        exact = [index.search(query, 10) for query in values[:20]]
        assert index.build_approximate() < 0.98
        assert index.info.approximate == {} and graphs(index.path) == []
        assert [index.search(query, 10) for query in values[:20]] == exact


def test_too_few_vectors(tmp_path):
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        index.add(rows(0, 999), VECTORS[:999], "audio")
        with pytest.raises(UsageError, match="at least 1000 vectors, got 999"):
            index.build_approximate()


def test_a_graph_that_cannot_be_written_is_an_error_when_built_and_none_when_extended(place, monkeypatch):
    def failing(path):
        raise DiskFullError(path, "no space is left on the disk", "free some space")

    with Index.open(place) as index:
        before = graphs(place)
        monkeypatch.setattr(files, "atomic_write", failing)
        with pytest.raises(DiskFullError):
            index.build_approximate()
        assert is_approximate(index) and graphs(place) == before
        index.add(rows(COUNT, COUNT + 1_500), MORE[:1_500], "audio")
        assert graphs(place) == before and is_approximate(index) and recall(index, MORE[:50]) >= 0.98
    with Index.open(place) as again:  # the old graph, and the added rows
        assert not is_approximate(again) and recall(again, MORE[:20]) == 1


def test_a_block_of_reads_sees_one_version_while_another_thread_commits(index):
    with index.reading():
        before = [ids_and_scores(index.search(query, 10)) for query in MORE[:20]]
        thread = threading.Thread(target=lambda: index.add(rows(COUNT, COUNT + 2_000), MORE[:2_000], "audio"))
        thread.start()
        thread.join()
        assert [ids_and_scores(index.search(query, 10)) for query in MORE[:20]] == before
    assert index.search(MORE[0], 1)[0].id == str(COUNT)


def test_threads_search_while_commits_extend_the_graph(index):
    faults, answers, over = [], [], threading.Event()

    def search():
        try:
            while not over.is_set():
                with index.reading() as snapshot:
                    ids = set(snapshot.ids(None))
                    for query in MORE[:5]:
                        answers.append(hits := index.search(query, 10))
                        assert len(hits) == 10 and {hit.id for hit in hits} <= ids
        except BaseException as error:
            faults.append(error)
            raise

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(COUNT, COUNT + 2_400, 600):
        index.add(rows(start, start + 600), MORE[start - COUNT : start - COUNT + 600], "audio")
        index.remove(map(str, range(start - COUNT, start - COUNT + 100)))
    over.set()
    for thread in threads:
        thread.join()
    assert not faults and answers and is_approximate(index) and recall(index, MORE[:50]) >= 0.98


def test_many_small_commits_do_not_outlive_the_memory_of_an_index(place, index):
    for at in range(210):
        index.add(rows(COUNT + at, COUNT + at + 1), MORE[at : at + 1], "audio")
    assert is_approximate(index) and recall(index, MORE[:30]) >= 0.98
    with Index.open(place) as again:
        assert is_approximate(again)


def test_rows_whose_keys_lie_far_apart(place):
    with contextlib.closing(sqlite3.connect(place)) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 1000000000000")
        db.commit()
    with Index.open(place) as index:
        index.add(rows(COUNT, COUNT + 50), MORE[:50], "audio")
        assert is_approximate(index) and index.search(MORE[0], 1)[0].id == str(COUNT)
        assert recall(index, MORE[:30]) >= 0.98


def test_an_index_of_an_earlier_version_has_no_graphs(place):
    with contextlib.closing(sqlite3.connect(place)) as db:
        db.execute("DELETE FROM meta WHERE key = 'approximate'")
        db.commit()
    with Index.open(place) as index:
        assert index.info.approximate == {} and not is_approximate(index)


@pytest.mark.slow
def test_a_scan_of_a_folder_extends_the_graph(tmp_path):
    folder, place = tmp_path / "music", tmp_path / "songs.index"
    folder.mkdir()
    for at in range(2_400):
        (folder / f"{at}.wav").write_bytes(b"song %d" % at)
        if at == 1_199:
            with opened(place) as index:
                scan(index, folder, Decoder(), Embedder())
                assert index.build_approximate() >= 0.98
    with Index.open(place) as index:
        scan(index, folder, Decoder(), Embedder(), batch=4)  # 300 commits; an index remembers 200
        assert len(index) == 2_400 and is_approximate(index)
        with index.reading() as snapshot:
            assert len(snapshot.field(None).approximate.graph) > 2_000
