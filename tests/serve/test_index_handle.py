"""A server keeps its index up to date, and builds an approximate index of a large one."""

import threading

import numpy as np
import pytest

from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.serve import index_handle


def clusters(count, dim, apart, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((200, dim))
    values = apart * centres[rng.integers(200, size=count)] + rng.standard_normal((count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def made_index(place, vectors):
    index = Index.create(place, vectors.shape[1], "cosine")
    index.add([{"id": str(at), "genre": str(at % 20)} for at in range(len(vectors))], vectors, "audio")
    return index


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
    monkeypatch.setattr(Index, "build_approximate", lambda self, column=None: made.append((len(looks), len(self))))
    with made_index(place, vectors) as index, index_handle.Handle(index_handle.Shared(place)) as watched:
        watched.watch(Looks())
    assert made == [(0, 2_000), (9, 2_003)]


@pytest.mark.parametrize(
    "broken", [UsageError("songs", "somebody else has it", "wait"), MemoryError("no room")], ids=type
)
@pytest.mark.parametrize("what", ["search_text", "build_approximate"])
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
