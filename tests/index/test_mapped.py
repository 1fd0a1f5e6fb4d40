"""A long array in a file is read in passing: it does not stay in this process's memory, and may be read again."""

import re
from pathlib import Path

import numpy as np
import pytest

from jointembed.index.index import Index
from jointembed.index.search.mapped import leave, mapped, passing

STATUS = Path("/proc/self/status")

needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="memory is measured by /proc/self/status")


def mapped_memory():
    return int(re.search(r"RssFile:\s+(\d+)", STATUS.read_text())[1]) / 1024


@needs_proc
def test_what_was_read_in_passing_is_let_go_of_and_still_there(place):
    values = np.arange(8_000_000, dtype="<f4").reshape(-1, 16)  # 32 MB
    values.tofile(place)
    held = mapped(place, "<f4", values.shape)
    before = mapped_memory()
    for rows in passing(held):
        assert np.array_equal(held[rows], values[rows])
        assert mapped_memory() - before < 16
    assert mapped_memory() - before < 8
    held[:].sum()
    assert mapped_memory() - before > 24
    leave(held)
    assert mapped_memory() - before < 8
    assert np.array_equal(held, values)


@pytest.mark.parametrize("count", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("rows", [2_048, 65_536])
def test_every_row_is_passed_once(count, rows):
    values = np.arange(count)
    parts = [values[some] for some in passing(values, rows)]
    assert np.array_equal(np.concatenate([*parts, values[:0]]), values)


@needs_proc
def test_an_index_is_opened_and_asked_for_a_few_without_its_vectors_in_memory(place):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100_000, 96), dtype=np.float32)  # 37 MB
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with Index.create(place, 96, "cosine") as index:
        index.add([{"id": str(at)} for at in range(len(vectors))], vectors, "audio")
    before = mapped_memory()
    with Index.open(place) as index:
        assert [index.search(vectors[at], 1)[0].id for at in (0, 7)] == ["0", "7"]
    assert mapped_memory() - before < 20
