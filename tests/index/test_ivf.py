"""An approximate search is used only where it finds what an exact one finds, and never under a condition."""

import threading

import numpy as np
import pytest

from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.index.search import ivf
from jointembed.serve import index_handle

pytest.importorskip("faiss")


def clusters(count, dim, apart, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((200, dim))
    values = apart * centres[rng.integers(200, size=count)] + rng.standard_normal((count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def made_index(place, vectors, metric="cosine"):
    index = Index.create(place, vectors.shape[1], metric)
    index.add([{"id": str(at), "genre": str(at % 20)} for at in range(len(vectors))], vectors, "audio")
    return index


@pytest.mark.parametrize("many", [100, 1_000], ids=["cells by codes", "cells one by one"])
@pytest.mark.parametrize(("metric", "dim"), [("cosine", 3), ("cosine", 48), ("euclidean", 51), ("dot", 16)])
def test_a_graph_finds_what_an_exact_search_finds_and_scores_it_exactly(place, monkeypatch, metric, dim, many):
    monkeypatch.setattr(ivf, "_CELLS", many)
    vectors = clusters(20_000, dim, 4.0)
    with made_index(place, vectors, metric) as index:
        exact = [index.similar(str(at), 10) for at in range(0, 400, 4)]
        assert index.build_approximate() >= 0.98
        found = [index.similar(str(at), 10, "audio") for at in range(0, 400, 4)]
        hits = sum(
            len({hit.id for hit in one} & {hit.id for hit in two}) for one, two in zip(exact, found, strict=True)
        )
        assert hits >= 0.98 * 1000
        scores = {(at, hit.id): hit.score for at, one in enumerate(exact) for hit in one}
        for at, one in enumerate(found):
            assert all(scores.get((at, hit.id), hit.score) == hit.score for hit in one)


def test_a_condition_is_searched_exactly(place):
    vectors = clusters(20_000, 16, 4.0)
    with made_index(place, vectors) as index:
        asked = [index.search(vectors[at], 10, where="genre = '7'") for at in range(50)]
        assert index.build_approximate() >= 0.98
        assert [index.search(vectors[at], 10, where="genre = '7'") for at in range(50)] == asked


def test_a_graph_that_finds_too_little_is_not_used(place):
    vectors = clusters(20_000, 64, 0.0)  # no cluster at all
    with made_index(place, vectors) as index:
        exact = [index.search(vectors[at], 10) for at in range(20)]
        assert index.build_approximate() < 0.98
        assert [index.search(vectors[at], 10) for at in range(20)] == exact


def test_what_is_added_later_is_found_at_once(place):
    vectors = clusters(20_000, 16, 4.0)
    with made_index(place, vectors) as index:
        index.build_approximate()
        index.add([{"id": "new"}], vectors[:1], "audio")
        assert {hit.id for hit in index.search(vectors[0], 2)} == {"0", "new"}


@pytest.mark.parametrize("dim", [4, 48])
def test_few_vectors_are_refused_a_graph_in_one_line(place, dim):
    vectors = clusters(1_000, dim, 4.0)
    with made_index(place, vectors) as index:
        assert 0 < index.build_approximate() <= 1
        index.remove(["999"])
        with pytest.raises(UsageError, match="999 vectors are too few"):
            index.build_approximate()


def test_without_faiss_one_line_says_how_to_get_it(place, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with made_index(place, clusters(100, 4, 1.0)) as index, pytest.raises(UsageError, match=r"jointembed\[ann\]"):
        ivf.build(index._matrix(None))


def test_a_server_makes_a_graph_at_once_and_then_only_of_an_index_that_is_left_alone(place, monkeypatch):
    looks, made = [], []

    class Looks(threading.Event):
        def wait(self, timeout=None):
            looks.append(timeout)
            at = len(looks)
            if at in (3, 4, 5):
                index.add([{"id": f"new {at}"}], vectors[at : at + 1], "audio")
            return at >= 12 and self.set()

    vectors = clusters(2_000, 16, 4.0)
    monkeypatch.setattr(index_handle, "_MANY", 1_000)
    monkeypatch.setattr(index_handle, "_CALM", 4)
    monkeypatch.setattr(Index, "approximate", lambda self, column=None: made.append((len(looks), len(self))))
    with made_index(place, vectors) as index, index_handle.Handle(index_handle.Shared(place)) as watched:
        watched.watch(Looks())
    assert made == [(0, 2_000), (9, 2_003)]


@pytest.mark.parametrize(
    "broken", [UsageError("songs", "somebody else has it", "wait"), MemoryError("no room")], ids=type
)
@pytest.mark.parametrize("what", ["text", "approximate"])
def test_a_server_looks_again_whatever_failed_at_one_look(place, monkeypatch, broken, what):
    looks, changes = [], []

    class Looks(threading.Event):
        def wait(self, timeout=None):
            looks.append(timeout)
            if len(looks) == 2:
                index.add([{"id": "new"}], vectors[:1], "audio")
            return len(looks) >= 6 and self.set()

    def fails_at_first(self, *given):
        if not looks:
            raise broken
        return []

    vectors = clusters(1_000, 4, 4.0)
    monkeypatch.setattr(index_handle, "_MANY", 1_000)
    monkeypatch.setattr(Index, what, fails_at_first)
    shared = index_handle.Shared(place, lambda index: changes.append(len(index)))
    with made_index(place, vectors) as index, index_handle.Handle(shared) as watched:
        watched.watch(Looks())
    assert changes[0] == 1_000 and changes[-1] == 1_001
