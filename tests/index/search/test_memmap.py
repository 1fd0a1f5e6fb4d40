"""Reading a long memory-mapped array does not keep it in this process's memory."""

import re
from pathlib import Path

import numpy as np
import pytest

from jointembed.index.index import Index
from jointembed.index.search.memmap import drop_pages, iter_slices, open_array

STATUS = Path("/proc/self/status")

needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="memory is measured by /proc/self/status")


def mapped_megabytes():
    return int(re.search(r"RssFile:\s+(\d+)", STATUS.read_text())[1]) / 1024


@needs_proc
def test_pages_are_dropped_while_slices_are_read(place):
    values = np.arange(8_000_000, dtype="<f4").reshape(-1, 16)  # 32 MB
    values.tofile(place)
    mapped = open_array(place, "<f4", values.shape)
    before = mapped_megabytes()
    for rows in iter_slices(mapped):
        assert np.array_equal(mapped[rows], values[rows])
        assert mapped_megabytes() - before < 16
    assert mapped_megabytes() - before < 8
    mapped[:].sum()
    assert mapped_megabytes() - before > 24
    drop_pages(mapped)
    assert mapped_megabytes() - before < 8
    assert np.array_equal(mapped, values)


@pytest.mark.parametrize("count", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("rows", [2_048, 65_536])
def test_slices_cover_every_row_once(count, rows):
    values = np.arange(count)
    parts = [values[part] for part in iter_slices(values, rows)]
    assert np.array_equal(np.concatenate([*parts, values[:0]]), values)


@pytest.mark.slow
@needs_proc
def test_first_queries_of_an_index_do_not_keep_its_vectors_in_memory(place):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100_000, 96), dtype=np.float32)  # 37 MB
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with Index.create(place, 96, "cosine") as index:
        index.add([{"id": str(at)} for at in range(len(vectors))], vectors, "audio")
    before = mapped_megabytes()
    with Index.open(place) as index:
        assert [index.search(vectors[at], 1)[0].id for at in (0, 7)] == ["0", "7"]
    assert mapped_megabytes() - before < 20
