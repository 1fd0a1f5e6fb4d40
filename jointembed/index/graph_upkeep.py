"""The graphs of an index: built on request, and extended by the commits that follow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from ..errors import UsageError, UserError
from .approximate import MIN_RECALL, fits_memory
from .backends.base import Backend, Changes
from .snapshot import Snapshot


class GraphUpkeep:
    """Builds and extends the graphs of an index, and writes into it which of them searches may use.

    Args:
        backend: where the index is stored.
        reading: one version of the index.
    """

    def __init__(self, backend: Backend, reading: Callable[[], AbstractContextManager[Snapshot]]) -> None:
        self._backend, self._reading = backend, reading
        self._extending = threading.Lock()

    def build(self, field: str | None, kind: str | None) -> float:
        """Build the graph or the inverted file of a field; see `Index.build_approximate`."""
        if kind not in (None, "hnsw", "ivf"):
            raise UsageError("kind", f"must be hnsw or ivf, got {kind!r}", "use one of them")
        with self._reading() as snapshot:
            name = snapshot.field_name(field)
        if (engine := self._backend.engine) is not None:
            if kind == "hnsw":
                raise UsageError("kind", "this store has inverted files only", "use ivf, or leave it out")
            return engine.build_approximate(name)
        with self._reading() as snapshot:
            view = snapshot.field(name)
        if kind == "ivf" or (kind is None and not fits_memory(view)):
            recall, is_graph = view.build_ivf(), False
        else:  # minutes, during which a writer need not keep this version
            recall = snapshot.build_graph(name)
            is_graph = recall >= MIN_RECALL
        if is_graph or name in self._recalls():
            self._write_recall(name, recall if is_graph else None)
        return recall

    def extend(self) -> None:
        """Add the rows of the last commits to the graphs; see `Index.extend_approximate`."""
        for field in [name for name, recall in self._recalls().items() if recall >= MIN_RECALL]:
            if self._extending.acquire(blocking=False):  # else another thread does it
                try:
                    with self._reading() as snapshot:
                        recall = snapshot.extend_graph(field)
                except UserError:  # the next search says it
                    recall = None
                finally:
                    self._extending.release()
                if recall is not None and recall < MIN_RECALL:
                    self._write_recall(field, recall)

    def _recalls(self) -> Mapping[str, float]:
        """The recall of each field that has a graph, in the newest version."""
        with self._backend.read() as view:
            return view.info.approximate

    def _write_recall(self, field: str, recall: float | None) -> None:
        self._backend.commit(Changes(edit_info=lambda info: info.with_approximate(field, recall)))
