"""Approximate search of a field: a graph is built and measured, and grows with the commits that follow.

A search is approximate only if its measured recall is at least `MIN_RECALL`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..blas import one_blas_thread
from ..errors import DamagedError, UsageError
from .backends.base import View
from .graph_cache import REBUILD, FieldGraph, generation, newest_cache, read_graph
from .search.graph_search import USUAL_NODES, GraphSearch
from .search.hnsw import HnswGraph, import_faiss, node_bytes
from .search.recall import RecallSample, draw_positions
from .vector_field import VectorField

MIN_RECALL = 0.98  # recall@10 below which an approximate search is not used
MIN_ROWS = 1_000
_TARGET_RECALL = 0.993  # other queries than those that measure it find a little more or less
_MEASURED_ROWS, _CHECKED_ROWS = 500, 64
_MIN_EF, _MAX_EF, _EF_STEP = USUAL_NODES, 512, 1.2
_MIN_CHANGES, _CHANGES_SHARE = 1_000, 512  # rows that have changed, and their share, before a graph grows
_MAX_CHANGES_SHARE = 16  # of the rows that have changed since the graph, up to which it is used
_MAX_COMMITS = 100  # before a graph grows however little has changed, since an index forgets old commits


def build(field: VectorField, version: str, seed: int = 0) -> tuple[FieldGraph, float]:
    """Build the graph of a field at a version, which keeps as many nodes in view as the recall needs.

    Returns:
        The graph and its recall@10.

    Raises:
        UsageError: faiss is not installed, or the field has too few vectors.
    """
    import_faiss()
    if len(field) < MIN_ROWS:
        wrong = f"an approximate search needs at least {MIN_ROWS} vectors, got {len(field)}"
        raise UsageError("approximate", wrong, "leave it out: an exact search is fast")
    sample = RecallSample(field.take, field.exact, draw_positions(len(field), _MEASURED_ROWS, seed))
    graph, rows = HnswGraph.build(field.vectors)
    search = FieldGraph(version, field.keys[rows], graph, _MIN_EF).search(field)
    while True:
        recall = sample.measure(search)
        ef = int(np.ceil(search.ef * _EF_STEP))
        if recall >= _TARGET_RECALL or ef > _MAX_EF:
            return FieldGraph(version, field.keys[rows], graph, search.ef), recall
        search = replace(search, ef=ef)


def fits_memory(field: VectorField) -> bool:
    """Whether the memory that is available holds the graph of a field and, while it is extended, a copy."""
    try:
        text = Path("/proc/meminfo").read_text("utf-8")
    except OSError:  # not Linux
        return True
    available = re.search(r"^MemAvailable: +([0-9]+) kB$", text, re.MULTILINE)
    return available is None or 2 * len(field) * node_bytes(field.dim) < 1024 * int(available[1])


def find(path: Path, view: View, field: str, last: FieldGraph | None) -> FieldGraph:
    """The newest graph of a field.

    Args:
        path: the index.
        view: its version.
        field: the field.
        last: a graph that is in memory.

    Raises:
        UserError: there is no graph, it is damaged, or faiss is not installed.
    """
    newest = newest_cache(path, view, field)
    if last is not None and view.is_ancestor(last.version):
        if newest is None or generation(newest[0]) <= generation(last.version):
            return last
    import_faiss()
    if newest is None:
        raise DamagedError(field, "its graph is missing, or too many commits old", f"build it again with {REBUILD}")
    info = view.info.field_info(field)
    return read_graph(newest[1], newest[0], info.dim, info.metric)


def prepare_search(view: View, name: str, field: VectorField, graph: FieldGraph) -> GraphSearch:
    """The search of a field by its graph; UsageError if too many rows have changed since."""
    changed, values, _ = view.changed_vectors(name, graph.version)
    if len(changed) > max(_MIN_CHANGES, len(field) // _MAX_CHANGES_SHARE):
        problem = f"{len(changed)} of its {len(field)} vectors are not in its graph"
        raise UsageError(name, problem, f"build it again with {REBUILD}")
    return graph.search(field, changed, values)


def is_outgrown(path: Path, view: View, field: str, last: FieldGraph | None) -> bool:
    """Whether a field has a graph and so many changes since that it should take them in; see `find`."""
    cached = newest_cache(path, view, field)
    versions = [cached[0]] if cached else []
    versions += [last.version] if last is not None and view.is_ancestor(last.version) else []
    version = max(versions, key=generation, default=None)
    if version is None or view.info.generation - generation(version) >= _MAX_COMMITS:
        return version is not None
    changed, _, removed = view.changed_vectors(field, version)
    count = len(changed) + len(removed)
    return count >= _MIN_CHANGES and count >= view.vector_count(field) // _CHANGES_SHARE


def check_recall(field: VectorField, search: GraphSearch, seed: int) -> float:
    """The recall@10 of a search, measured with few rows, and with more of them if they seem to find too little."""
    recall = 0.0
    for size in (_CHECKED_ROWS, _MEASURED_ROWS):
        with one_blas_thread():  # threads that wait for each other take ten times as long on a busy CPU
            sample = RecallSample(field.take, field.exact, draw_positions(len(field), size, seed))
        recall = sample.measure(search)
        if recall >= MIN_RECALL:
            break
    return recall
