"""What the routes answer with, as bytes of JSON: jobs for the threads that have an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..index import ids as names
from ..index.backends.rows import fetch
from ..index.hits import Hit, hits
from ..index.index import Index
from . import audio
from .index_handle import Handle, Known, Unknown, Unready

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Answers:
    """What questions are answered with.

    Args:
        secret: that names of sounds are made with.
        roots: folders that sounds may lie in, beside the index's own.
    """

    secret: bytes
    roots: tuple[str, ...] = ()

    def row(self, handle: Handle, asked: list[tuple[str, str | None]]) -> list[bytes]:
        """The row of an id, and the words that it lies near in a column, for each (id, column)."""
        answers = []
        for id, column in asked:
            with handle.reading() as index:
                number, known = _number(index, id), handle.known(checked(index, column))
                row, words = index.row(id), index.nearest_terms([id], column=column)[0]
            answers.append(text({"id": id, "row": row, "words": words, "audio": self._audio(known, number, row)}))
        return answers

    def lookups(self, handle: Handle, asked: list[tuple[str, int, str | None]]) -> list[Any]:
        """What is nearest to an id, for each (id, k, column), whose columns are all the same: one product for all."""
        with handle.reading() as index:
            known = handle.known(checked(index, asked[0][2]))
            there = [at for at, (id, _, _) in enumerate(asked) if id in known.places]
            answers: list[Any] = [None] * len(asked)
            if len(there) == 1:
                id, k, column = asked[there[0]]
                answers[there[0]] = text({"hits": self._listed(known, index.similar(id, k, column))})
            elif there:
                own = np.array([known.places[asked[at][0]] for at in there])
                most = max(asked[at][1] for at in there)
                places, scores = index.search_batch(known.vectors[own], most + 1, known.column)
                with index.reading() as db:
                    for at, self_, near, score in zip(there, own, places, scores, strict=True):
                        kept = np.flatnonzero(near != self_)[: asked[at][1]]
                        found = hits(db, known.numbers[near[kept]], score[kept].tolist())
                        answers[at] = text({"hits": self._listed(known, found)})
            for at in set(range(len(asked))).difference(there):
                try:
                    number = _number(index, asked[at][0])
                    raise UsageError("id", f"the item {number} has no vector in this column", "ask for another column")
                except (UsageError, Unknown) as error:
                    answers[at] = error
        return answers

    def similar(self, handle: Handle, asked: list[Given]) -> list[bytes]:
        """What is like some items and unlike others, for each."""
        return [self._hits(handle, one, _similar) for one in asked]

    def path(self, handle: Handle, asked: list[Given]) -> list[bytes]:
        """The items on the way from one to another, for each."""
        return [self._hits(handle, one, _path) for one in asked]

    def words(self, handle: Handle, asked: list[Given]) -> list[bytes]:
        """What holds some words, for each."""

        def search(_: Index, given: Given) -> list[Hit]:
            return handle.text(given["q"], given["k"], given["where"], given["column"])

        return [self._hits(handle, one, search, how="text", **_note(one)) for one in asked]

    def vector(self, handle: Handle, asked: list[tuple[npt.NDArray[np.float32], str, Given]]) -> list[bytes]:
        """What is nearest to a vector that a model of some fingerprint made, for each."""
        return [self._hits(handle, given, partial(_search, one, of), how="model") for one, of, given in asked]

    def file(self, handle: Handle, asked: list[str]) -> list[tuple[int, str]]:
        """A handle of the sound that a name is for, and its media type, for each."""
        answers = []
        for name in asked:
            with handle.reading() as index:
                known = handle.known()
                number = audio.number(self.secret, known.identity, name)
                with index.reading() as db:
                    here = (
                        number is not None and db.execute("SELECT 1 FROM rows WHERE number = ?", (number,)).fetchone()
                    )
                    row = fetch(db, [number])[0] if here and number is not None else {}
            roots = [root for root in (known.base, *self.roots) if root]
            for place in audio.places(row, known.base, self.roots):
                if (opened := audio.opened(place, roots)) is not None:
                    answers.append((opened, audio.kind(place)))
                    break
            else:
                raise Unknown("there is no such sound")
        return answers

    def _hits(self, handle: Handle, given: Given, search: Callable[[Index, Given], list[Hit]], **more: Any) -> bytes:
        with handle.reading() as index:
            known = handle.known(checked(index, given["column"]))
            found = search(index, given)
        return text({"hits": self._listed(known, found), **more})

    def _listed(self, known: Known, found: list[Hit]) -> list[dict[str, Any]]:
        listed = []
        for rank, hit in enumerate(found, 1):
            place = known.places.get(hit.id)
            number = None if place is None else int(known.numbers[place])
            listed.append(
                {
                    "rank": rank,
                    "id": hit.id,
                    "place": place,
                    "score": hit.score,
                    "row": hit.row,
                    "audio": self._audio(known, number, hit.row),
                    "alike": list(hit.alike),
                }
            )
        return listed

    def _audio(self, known: Known, number: int | None, row: Mapping[str, Any]) -> str | None:
        if number is None or not audio.places(row, known.base, self.roots):
            return None
        return "/audio/" + audio.name(self.secret, known.identity, number)


def checked(index: Index, column: str | None) -> str | None:
    """A column of vectors, None for the first; Usage if the index has no such."""
    if column is not None and column not in index.columns:
        raise UsageError("column", "the index has no vectors of this column", "use one of " + ", ".join(index.columns))
    return column


def text(answer: Any) -> bytes:
    """JSON in ASCII: an id that is no UTF-8 stays apart as an escape, and what JSON has no number for is null."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(answer), separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _number(index: Index, id: str) -> int:
    """The number of a row, without looking for names that are alike, which takes long."""
    with index.reading() as db:
        found = names.number(db, id)
    if found is None:
        raise Unknown("id: this id is not in the index")
    return found


def _more(given: Given) -> dict[str, Any]:
    return {"one_per": given["per"], "diversity": given["diverse"], "deduplicate": given["distinct"]}


def _note(given: Given) -> dict[str, Any]:
    return {"note": given["note"]} if given.get("note") else {}


def _search(vector: npt.NDArray[np.float32], fingerprint: str, index: Index, given: Given) -> list[Hit]:
    if index.field_info(given["column"])["fingerprint"] != fingerprint:
        raise Unready("the index has just been replaced")
    return index.search(vector, given["k"], given["column"], given["where"], **_more(given))


def _similar(index: Index, given: Given) -> list[Hit]:
    for id in (*given["id"], *given["minus"]):
        _number(index, id)
    ids = given["id"][0] if len(given["id"]) == 1 else given["id"]
    return index.similar(ids, given["k"], given["column"], given["where"], unlike=given["minus"], **_more(given))


def _path(index: Index, given: Given) -> list[Hit]:
    for id in (given["start"], given["end"]):
        _number(index, id)
    return index.path_between(given["start"], given["end"], given["n"], given["column"], given["where"])
