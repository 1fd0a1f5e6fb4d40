"""The parameters of a URL: what there are, what they may be, and what a request gives for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,8})")
_SHARE = re.compile(r"(?:[01]|[01]?\.[0-9]{1,9}|[01]\.)")
_FLAG = {"1": True, "true": True, "0": False, "false": False}


class Wrong(Exception):
    """A parameter is not what it may be; the message names it."""


@dataclass(frozen=True)
class Field:
    """One parameter.

    Args:
        name: its name.
        about: what it is for.
        schema: what it may be, as OpenAPI says it; an array may be given several times.
        needed: whether it must be there.
        place: `query`, or `path`.
    """

    name: str
    about: str
    schema: dict[str, Any]
    needed: bool = False
    place: str = "query"

    def read(self, given: Sequence[str]) -> Any:
        """The value of the texts that were given; its default if there is none.

        Raises:
            Wrong: it is missing, there twice, or not what it may be.
        """
        if self.schema["type"] == "array":
            if len(given) > self.schema["maxItems"]:
                raise Wrong(f"{self.name}: it may be there {self.schema['maxItems']} times at most")
            if not given and self.needed:
                raise Wrong(f"{self.name}: it is missing")
            return [self._one(text, self.schema["items"]) for text in given]
        if len(given) > 1:
            raise Wrong(f"{self.name}: it may be there once, but is there {len(given)} times")
        if not given:
            if self.needed:
                raise Wrong(f"{self.name}: it is missing")
            return self.schema.get("default")
        return self._one(given[0], self.schema)

    def _one(self, text: str, schema: dict[str, Any]) -> Any:
        kind = schema["type"]
        if kind == "string":
            if len(text) > schema["maxLength"]:
                raise Wrong(f"{self.name}: it has more than {schema['maxLength']:,} characters")
            return text
        if kind == "boolean":
            if text not in _FLAG:
                raise Wrong(f"{self.name}: use 1 or 0")
            return _FLAG[text]
        low, high = schema["minimum"], schema["maximum"]
        pattern = _NUMBER if kind == "integer" else _SHARE
        value = (int(text) if kind == "integer" else float(text)) if pattern.fullmatch(text) else None
        if value is None or not low <= value <= high:
            sort = "a whole number" if kind == "integer" else "a number"
            raise Wrong(f"{self.name}: use {sort} from {low} to {high:,}")
        return value

    @property
    def openapi(self) -> dict[str, Any]:
        """The parameter as OpenAPI has it."""
        return {
            "name": self.name,
            "in": self.place,
            "required": self.needed,
            "description": self.about,
            "schema": self.schema,
        }


def read(query: bytes, fields: Sequence[Field]) -> dict[str, Any]:
    """The value of every field; an empty one counts as absent.

    Bytes that are no UTF-8 become surrogate escapes, as in the ids of files whose names are none.

    Raises:
        Wrong: see `Field.read`; or there is no such field.
    """
    given: dict[str, list[str]] = {field.name: [] for field in fields}
    for part in query.split(b"&") if query else ():
        name, _, text = (_text(one) for one in part.partition(b"="))
        if name not in given:
            known = f"use {', '.join(given)}" if given else "there is none here"
            raise Wrong(f"{name[:40].encode('ascii', 'backslashreplace').decode()}: no such parameter; {known}")
        if text:
            given[name].append(text)
    return {field.name: field.read(given[field.name]) for field in fields}


def _text(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _string(longest: int, **more: Any) -> dict[str, Any]:
    return {"type": "string", "maxLength": longest, **more}


def _ids(most: int) -> dict[str, Any]:
    return {"type": "array", "items": _string(4_096), "maxItems": most}


K = Field("k", "how many", {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 10})
N = Field("n", "how many, both ends among them", {"type": "integer", "minimum": 2, "maximum": 1_000, "default": 10})
Q = Field("q", "the words", _string(1_000), needed=True)
ID = Field("id", "an id", _string(4_096), needed=True)
IDS = Field("id", "the id of an item; of several, what is like all of them", _ids(50), needed=True)
MINUS = Field("minus", "the ids of items that the answers are to be unlike", _ids(50))
START = Field("start", "the id of the item where it starts", _string(4_096), needed=True)
END = Field("end", "the id of the item where it ends", _string(4_096), needed=True)
WHERE = Field("where", "a condition on the cells, such as genre = 'waltz' and tempo > 120", _string(4_096))
PER = Field("per", "a cell, such as artist, of which each value comes once at most", _string(200))
SHARE = {"type": "number", "minimum": 0, "maximum": 1, "default": 0.0}
DIVERSE = Field("diverse", "how much the answers are to differ, from 0 to 1", SHARE)
DISTINCT = Field("distinct", "1: of near-duplicates only the best", {"type": "boolean", "default": False})
COLUMN = Field("column", "the column of vectors that is meant; by default the first one indexed", _string(200))
AXES = Field("axes", "which map: pca2, pca3, umap2 ..., or the names of cells", _string(400, default="pca2"))
OPAQUE = Field("opaque", "the name", _string(24), True, "path")
NAME = Field("name", "the name of a cell", _string(200), needed=True)
