"""The description of an index as the table `meta` of its file holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields

from .base import FieldInfo, IndexInfo, Root

VERSION = re.compile("[0-9a-f]{8}-[0-9]+-[0-9a-f]{8}")  # it becomes part of the names of files


def parse_info(meta: Mapping[str, str]) -> IndexInfo:
    """The description; KeyError, TypeError, ValueError or UserError if it is broken."""
    meta = {"approximate": "{}", **meta}  # an older index does not have it
    values = {item.name: json.loads(meta[item.name]) for item in fields(IndexInfo) if item.name != "version"}
    values["default"] = FieldInfo(**values["default"])
    values["roots"] = [Root(**{**value, "mounts": tuple(value.get("mounts", ()))}) for value in values["roots"]]
    values["declared"] = {name: FieldInfo(**value) for name, value in values["declared"].items()}
    info = IndexInfo(version=f"{values['identity']}-{values['generation']}-{meta['commit']}", **values)
    for field in (info.default, *info.declared.values()):
        if not isinstance(field.dim, int):
            raise ValueError(field)
        field.check("")
    names = [*info.fields, *info.columns]
    if not VERSION.fullmatch(info.version) or not all(isinstance(name, str) for name in names):
        raise ValueError(info)
    return info


def serialize_info(info: IndexInfo) -> Iterator[tuple[str, str]]:
    """The description, but its version, as records of the table."""
    for name, value in asdict(info).items():
        if name != "version":
            yield name, json.dumps(value)
