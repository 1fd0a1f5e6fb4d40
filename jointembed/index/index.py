"""An index: rows with vectors in one space, and the nearest of them by one exact score.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from . import ids as names
from . import rerank
from .backends.rows import labels
from .backends.sqlite import Store
from .fulltext import FullTextIndex
from .fulltext import load as load_text
from .hits import Hit, hits
from .metadata import Filter
from .metadata import load as load_filter
from .search.base import NearestNeighbors
from .search.batch import GroupedSearch
from .search.exact import SubsetSearch
from .search.ivf import IvfIndex
from .snapshot import VectorField, load
from .where import parse

_MIN_RECALL = 0.98  # recall@10 below which an approximate index is not used


Item = str | npt.NDArray[np.floating[Any]]  # a row's id, or a vector (D,)


class Index(Store):
    """Rows and their vectors in one SQLite file, searched exactly.

    A search sees one committed generation, whoever writes meanwhile; a handle that is open sees the next one at its
    next call. Equal scores stand in the order in which the rows came. What writes is told of in `Store`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/songs.index", 2, "cosine") as index:
    ...     index.add([{"id": "a", "genre": "waltz"}, {"id": "b"}], np.eye(2, dtype=np.float32), "audio")
    ...     index.similar("b")
    [Hit(id='a', score=0.0, row={'id': 'a', 'genre': 'waltz'}, alike=())]
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._matrices: dict[str, VectorField] = {}
        self._text: FullTextIndex | None = None
        self._filter: Filter | None = None
        self._search_key: tuple[Any, ...] | None = None
        self._search: NearestNeighbors

    def close(self) -> None:
        """Close the file; searching is over."""
        if self._text is not None:
            self._text.db.close()
        super().close()

    def search(
        self,
        vector: npt.NDArray[np.floating[Any]],
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
        exclude: Collection[str] = (),
        *,
        one_per: str | None = None,
        diversity: float = 0.0,
        deduplicate: bool = False,
    ) -> list[Hit]:
        """The k rows whose vectors are nearest, the best first; fewer if there are not so many.

        Args:
            vector: (D,), finite; of any length but 0 if the metric is cosine.
            k: how many.
            field: among the vectors of this field, by default the first one indexed.
            where: a condition that the rows meet, such as `genre = 'waltz' and tempo > 120` (see `where.py`).
            exclude: ids of rows that are not wanted.
            one_per: at most one row for each value of this cell, such as the artist.
            diversity: from 0, the nearest, to 1, those that differ most; see `query.Selection`.
            deduplicate: near-duplicates are one hit, with the ids of the others.

        Raises:
            UsageError: no such field, no such condition, or not a vector of this space.
        """
        _check_k(k)
        with self.reading() as db:
            matrix = self._matrix(field)
            wish = rerank.Selection(one_per, diversity, deduplicate)
            wish.check(self.columns)
            asked, pool = rerank.vector(vector, matrix.vectors), self._pool(db, matrix, where)
            unwanted = [number for id in exclude if (number := names.number(db, id)) is not None]
            without = matrix.positions_of(np.array(unwanted, np.int64))
            labels_of = partial(self._labels, matrix)
            found = rerank.search(matrix.nearest, matrix.vectors, asked, k, pool, without, wish, labels_of)
            groups = [[int(matrix.row_ids[place]) for place in (one.place, *one.alike)] for one in found]
            return hits(db, groups, [one.score for one in found])

    def similar(
        self,
        item: Item | Sequence[Item],
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
        *,
        unlike: Sequence[Item] = (),
        exclude: Collection[str] = (),
        one_per: str | None = None,
        diversity: float = 0.0,
        deduplicate: bool = False,
    ) -> list[Hit]:
        """The k rows nearest to an item or to several items, without these items themselves; see `search`.

        Args:
            item: the id of a row or a vector (D,); or several of them, whose mean is searched for.
            k: how many.
            field: see `search`.
            where: see `search`.
            unlike: items that the hits should differ from; see `rerank.blend`.
            exclude: see `search`.
            one_per: see `search`.
            diversity: see `search`.
            deduplicate: see `search`.

        Raises:
            UsageError: there is no such id, or it has no vector in this field.
        """
        with self.reading():
            items = [item] if isinstance(item, str | np.ndarray) else list(item)
            vector = rerank.blend(self._points(items, field), self._points(unlike, field))
            out = [*(id for id in (*items, *unlike) if isinstance(id, str)), *exclude]
            return self.search(
                vector, k, field, where, out, one_per=one_per, diversity=diversity, deduplicate=deduplicate
            )

    def path_between(
        self, start: str, end: str, n: int = 10, field: str | None = None, where: str | None = None
    ) -> list[Hit]:
        """A way of n rows from one to another, without jumps; see `query.way`. The scores are those of each with `end`.

        Raises:
            UsageError: there is no such id, it has no vector in this field, both are one, or n is not from 2 to 1000.
        """
        if not 2 <= n <= rerank.FURTHEST:
            raise UsageError(
                "n", f"must be between 2 and {rerank.FURTHEST}, got {n}", "give the number of items, both ends included"
            )
        if start == end:
            raise UsageError("path", f"it ends where it starts, at {end}", "give two different items")
        with self.reading() as db:
            matrix = self._matrix(field)
            first, last = (self._place(db, matrix, one) for one in (start, end))
            places = np.array(rerank.way(matrix.vectors, first, last, n, self._pool(db, matrix, where)))
            scores = matrix.vectors.rescore(places, matrix.vectors.values[last].astype(np.float64))
            return hits(db, matrix.row_ids[places], scores)

    def search_text(self, words: str, k: int = 10, where: str | None = None, field: str | None = None) -> list[Hit]:
        """The k rows, of all or of those with a vector in a field, whose cells have words of a query; see `text.py`.

        Raises:
            UsageError: the query holds no word, or there is no such condition or field.
        """
        _check_k(k)
        with self.reading() as db:
            among = None if field is None else self._matrix(field).row_ids
            if among is None or len(among) == len(self):
                numbers, scores = self._told(db, words, where, k)
            else:
                numbers, scores = self._told(db, words, where)
                kept = np.isin(numbers, among)
                numbers, scores = numbers[kept], scores[kept]
            return hits(db, numbers[:k], scores[:k])

    def search_hybrid(
        self,
        vector: npt.NDArray[np.floating[Any]],
        words: str,
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
    ) -> list[Hit]:
        """The k rows that a vector and words find together: scored by their ranks in both; see `query.fused`."""
        _check_k(k)
        with self.reading() as db:
            matrix = self._matrix(field)
            query, allowed = rerank.vector(vector, matrix.vectors), self._pool(db, matrix, where)
            places, _ = matrix.nearest.search(query[None], max(100, 10 * k), allowed)
            return hits(db, *rerank.fused([matrix.row_ids[places[0]], self._told(db, words, where)[0]], k))

    def search_batch(
        self,
        queries: npt.NDArray[np.floating[Any]],
        k: int = 10,
        field: str | None = None,
        where: str | None = None,
        exclude: Sequence[Collection[str]] | None = None,
        *,
        one_per: str | None = None,
        torch: Any = None,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The k rows nearest to each of M queries, computed in blocks: much faster than M calls of `search`.

        Args:
            queries: (M, D).
            k: results a query.
            field: the vector field; the first one if None.
            where: a condition that the results meet.
            exclude: for each query, ids that it must not find; ids that are not in the index are ignored.
            one_per: at most one result for each value of this column.
            torch: the module, to multiply in bfloat16 where that is fast; see `ExactSearch`.

        Returns:
            Positions in `ids(field)` and float64 scores, both (M, K), the best first, where K is k or, if that is
            less, the number of candidates. A query with fewer than K results has positions of -1 and scores of -inf at
            the end.

        Raises:
            UsageError: there is no such field, condition or column, or a query is not a vector of the field.
        """
        _check_k(k)
        if exclude is not None and len(exclude) != len(queries):
            raise UsageError("exclude", f"it has {len(exclude)} lists for {len(queries)} queries", "give one a query")
        with self.reading():
            space = self._matrix(field).vectors
            points = [rerank.vector(query, space) for query in queries]
            excluded = None
            if exclude is not None:
                position = {id: at for at, id in enumerate(self.ids(field))}
                excluded = [np.array([position[id] for id in ids if id in position], np.intp) for ids in exclude]
            nearest = self._searcher(field, where, one_per, torch)
            return nearest.search(np.array(points).reshape(len(points), space.values.shape[1]), k, None, excluded)

    def count(self, where: str | None = None, field: str | None = None) -> int:
        """The number of rows that have a vector in a field, by default the first one, and meet a condition."""
        with self.reading():
            allowed = self.positions(where, field)
            return len(self._matrix(field).vectors) if allowed is None else len(allowed)

    def positions(self, where: str | None, field: str | None = None) -> npt.NDArray[np.intp] | None:
        """The ascending positions in `ids(field)` of the rows that meet a condition; None if there is none."""
        with self.reading() as db:
            return self._pool(db, self._matrix(field), where)

    def build_approximate(self, field: str | None = None) -> float:
        """Search a field without a condition approximately from now on, until the index changes; see `search/ivf.py`.

        Conditions are still searched exactly, and so is all if that finds too little.

        Returns:
            The share of the 10 nearest that it finds; below 0.98 it is not used.

        Raises:
            UsageError: faiss is not installed, or the field has fewer than 1000 vectors.
        """
        with self.reading():
            matrix = self._matrix(field)
        ivf = IvfIndex.build(matrix.vectors, matrix.exact)
        if ivf.recall_at_10 >= _MIN_RECALL:
            matrix.nearest = ivf
        return ivf.recall_at_10

    def nearest_terms(self, ids: Sequence[str], n: int = 3, field: str | None = None) -> list[list[str]]:
        """Of each row the n words of the model's own text space that are nearest to it; see `query.described`."""
        words, vectors = self.vocabulary(field)
        if not words:
            return [[] for _ in ids]
        with self.reading() as db:
            matrix = self._matrix(field)
            places = [matrix.positions_of(np.array([names.known(db, one)])) for one in ids]
            found = rerank.described(matrix.vectors, np.concatenate([np.empty(0, np.intp), *places]), words, vectors, n)
        told = iter(found)
        return [next(told) if len(place) else [] for place in places]

    def get_vectors(self, ids: Sequence[str], field: str | None = None) -> npt.NDArray[np.float64]:
        """The vectors (n, D) of rows; Usage if there is no such id, or it has no vector in this field."""
        with self.reading() as db:
            matrix = self._matrix(field)
            places = [self._place(db, matrix, one) for one in ids]
            return matrix.vectors.values[places].astype(np.float64)

    def vectors(self, field: str | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The ids and the (N, D) float32 vectors of a field, in the same order; the array is read only."""
        with self.reading():
            return self.ids(field), self._matrix(field).vectors.values

    def _searcher(self, field: str | None, where: str | None, one_per: str | None, torch: Any) -> NearestNeighbors:
        """An exact search of the rows that meet a condition, for at most one row of each value of a column."""
        matrix = self._matrix(field)
        key = (matrix.state, self._field(field), where, one_per, torch)
        if self._search_key != key:  # blocks of queries with one condition follow one another
            rerank.Selection(one_per).check(self.columns)
            allowed = self.positions(where, field)
            nearest: NearestNeighbors = matrix.searcher(torch)
            if allowed is not None:
                nearest = SubsetSearch(matrix.vectors, allowed, torch)
            if one_per is not None:
                nearest = GroupedSearch(nearest, self._labels(matrix, one_per))
            self._search_key, self._search = key, nearest
        return self._search

    def _points(self, items: Sequence[Item], field: str | None) -> npt.NDArray[np.float64]:
        """The vectors (n, D) of items."""
        vectors = self._matrix(field).vectors
        points = [
            self.get_vectors([item], field)[0] if isinstance(item, str) else rerank.vector(item, vectors)
            for item in items
        ]
        return np.array(points).reshape(len(points), vectors.values.shape[1])

    def _place(self, db: sqlite3.Connection, matrix: VectorField, id: str) -> int:
        place = matrix.positions_of(np.array([names.known(db, id)]))
        if not len(place):
            raise UsageError(id, "this item has no vector in this field", f"use another: {', '.join(self.fields)}")
        return int(place[0])

    def _pool(self, db: sqlite3.Connection, matrix: VectorField, where: str | None) -> npt.NDArray[np.intp] | None:
        """The ascending places of the rows that meet a condition; None if all are meant."""
        return None if where is None else matrix.positions_of(self._meet(db, where))

    def _meet(self, db: sqlite3.Connection, where: str) -> npt.NDArray[np.int64]:
        condition = parse(where, self.columns)
        self._filter = load_filter(self)  # it lives as long as some thread has it
        return self._filter.meet(db, condition)

    def _told(
        self, db: sqlite3.Connection, words: str, where: str | None, k: int | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The numbers of the rows that have a word, and their scores, the best first; k of them if that is enough."""
        if self._text is None or self._text.state != self.state:
            if self._text is not None:
                self._text.db.close()
            self._text = load_text(self)
        numbers, scores = self._text.find(words, k if where is None else None)
        if where is not None:
            kept = np.isin(numbers, self._meet(db, where))
            numbers, scores = numbers[kept], scores[kept]
        return numbers, scores

    def _labels(self, matrix: VectorField, name: str) -> npt.NDArray[np.int64]:
        if name not in matrix.codes:
            with self.reading() as db:
                matrix.codes[name] = labels(db, matrix.row_ids, name)
        return matrix.codes[name]

    def _matrix(self, field: str | None) -> VectorField:
        name = self._field(field)
        known = self._matrices.get(name)
        if known is None or known.state != self.state:
            known = self._matrices[name] = load(self, name)
        return known


def _check_k(k: int) -> None:
    if not 1 <= k < 2**63:  # SQLite counts no further
        raise UsageError("k", f"must be at least 1, got {k}", "give a whole number from 1 on")
