"""UMAP layouts are computed while the server is idle, and never in the way of requests."""

import contextlib
import threading
import time

import numpy as np
import pytest
from web_server import ask, filled, serving, until

from jointembed.analyze.layout import compute_layout, is_cached
from jointembed.index.index import Index
from jointembed.serve import layout_precompute
from jointembed.serve.live_index import LiveIndex

pytest.importorskip("umap")


class Process:
    """One that takes no time and does nothing but note its command."""

    commands = []

    def __init__(self, command, **_):
        self.commands.append(command)

    def poll(self):
        return 0

    def kill(self):
        pass

    def wait(self, *_):
        return 0


@pytest.fixture
def commands(monkeypatch):
    """The field and axes of each process that was started."""
    monkeypatch.setattr(layout_precompute.subprocess, "Popen", Process)
    monkeypatch.setattr(layout_precompute, "IDLE_SECONDS", 0.6)
    monkeypatch.setattr(layout_precompute, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(Process, "commands", [])
    return lambda: [command[-2:] for command in Process.commands]


def test_layouts_are_computed_once_the_server_is_idle_and_each_once(commands, tmp_path):
    path = filled(tmp_path / "a.index")
    with serving(path, precompute=True) as port:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            ask(port, "/api/info")
            assert commands() == []
            time.sleep(0.1)
        until(lambda: commands() == [["audio", "umap2"], ["audio", "umap3"]])
        time.sleep(0.5)
        assert len(commands()) == 2  # what failed is not tried again
        with Index.open(path) as index:
            index.remove(["s0"])
        until(lambda: len(commands()) == 4)  # another version has other layouts


def test_layouts_of_large_or_tiny_indexes_wait_until_they_are_asked_for(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(layout_precompute, "MAX_ROWS", 39)
    large, tiny, unwanted = (filled(tmp_path / f"{count}.index", count) for count in (40, 7, 20))
    with serving(large, precompute=True), serving(tiny, precompute=True), serving(unwanted):
        time.sleep(1.5)
    assert commands() == []


def test_request_waits_for_its_own_layout_only(commands, tmp_path, monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(Process, "poll", lambda _: 0 if end.is_set() else None)
    monkeypatch.setattr(Process, "wait", lambda *_: end.wait(20))
    live = LiveIndex(filled(tmp_path / "a.index"), lambda _: None)
    with contextlib.closing(live):
        precomputer = layout_precompute.LayoutPrecomputer([live], lambda: 1.0)
        precomputer.start()
        until(lambda: commands() == [["audio", "umap2"]])
        for field, axes in ((None, "umap3"), ("audio", "pca2"), ("tags", "umap2")):
            precomputer.wait(live.path, field, axes)
        for field in (None, "audio"):
            waiter = threading.Thread(target=precomputer.wait, args=(live.path, field, "umap2"))
            waiter.start()
            waiter.join(0.3)
            assert waiter.is_alive()
        end.set()
        waiter.join(5)
        assert not waiter.is_alive()
        precomputer.close()


@pytest.mark.slow
def test_layout_is_there_at_once_after_an_idle_time(tmp_path):
    path = filled(tmp_path / "a.index", 60)
    with serving(path, precompute=True) as port, Index.open(path) as index:
        until(lambda: is_cached(index, "umap2"), 120)
        begin = time.monotonic()
        status, _, body = ask(port, "/api/layout?axes=umap2")
        assert status == 200 and time.monotonic() - begin < 5  # importing umap alone takes longer
        assert (np.frombuffer(body, "<f4").reshape(-1, 3) == compute_layout(index, "umap2")).all()
