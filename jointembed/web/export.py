"""The page of an index: its map, search and neighbours, as a server gives it out piece by piece or as one file.

Letters: N rows, D dimension, K neighbours of each.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from .. import files
from ..analyze import layout
from ..errors import UsageError, did_you_mean
from ..index.backends.connection import mend
from ..index.columns import cells as told
from ..index.columns import columns, read
from ..index.index import Index

_FOLDER = Path(__file__).parent
_MEDIA = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_SCRIPTS = (  # in this order
    "element", "colour", "source", "map", "hands", "overlay", "filters", "list", "player", "paint", "ask", "main",
)  # fmt: skip
_BLOCK = 4_096  # rows that ask for their neighbours at once
_MISSING = 65_535  # a quantised coordinate of a row that is not on the map


def asset(name: str) -> tuple[bytes, str]:
    """A file of the page, `page.html`, `page.css`, `page.js` or `icon.svg`, and its media type; KeyError if none.

    The script is its parts in one scope: they need no bundler, and a page from disk may not load modules.
    """
    if name == "page.js":
        parts = [(_FOLDER / f"{part}.js").read_text("utf-8") for part in _SCRIPTS]
        script = re.sub(r"(?m)^[ \t]+|^\s*(//|/\*\*).*\n", "", "\n".join(parts))  # neither indents nor remarks
        content = f'"use strict";\n(() => {{\n{script}}})();\n'.encode()
    elif name in ("page.html", "page.css", "icon.svg"):
        content = (_FOLDER / name).read_bytes()
    else:
        raise KeyError(name)
    kind = _MEDIA[name.rpartition(".")[2]]
    return content, kind if kind.startswith("image") else f"{kind}; charset=utf-8"


def about(index: Index, column: str | None = None) -> dict[str, Any]:
    """What the page must know first: name, count, column, the maps to be had, and what each cell is."""
    space = index.field_info(column)
    known = columns(index, column)
    return {
        "name": index.path.stem,
        "count": len(index.ids(column)) if space["columns"] else 0,
        "rows": len(index),
        "generation": space["generation"],
        "metric": space["metric"],
        "dim": space["dim"],
        "columns": space["columns"],
        "column": column or next(iter(space["columns"]), None),
        "axes": layout.axes(index, column),
        "cells": [{"name": name, "kind": one.kind, "size": one.size} for name, one in known.items()],
        "title": next((name for name in ("title", "name") if name in known), "id"),
        "note": space["note"],
    }


def points(index: Index, axes: str, column: str | None = None) -> bytes:
    """The map as float32, little-endian, (N, 3), in the order of `Index.ids`; see `project.coordinates`."""
    return layout.coordinates(index, axes, column).astype("<f4").tobytes()


def cells(index: Index, name: str, column: str | None = None) -> dict[str, Any]:
    """One cell of every row, `id` too, in the order of `Index.ids`; see `columns.cells`.

    Raises:
        UsageError: no row has such a cell.
    """
    known = columns(index, column)
    if name == "id":
        return {"kind": "text", "values": read(index, column, {"id"})["id"]}
    if name not in known:
        raise UsageError(name, "no row has this cell", did_you_mean(name, ["id", *known]))
    return told(read(index, column, {name})[name], known[name], _every(index, {name}).get(name))


def export(
    index: Index,
    out: Path | str,
    k: int = 20,
    axes: str = "pca2",
    column: str | None = None,
    root: Path | str | None = None,
) -> int:
    """Write the page with all that it shows into one HTML file, which needs no server and asks nothing of any.

    Args:
        index: the index.
        out: the file.
        k: how many neighbours of each row to write down; they are exact.
        axes: the map to begin with; see `project.coordinates`.
        column: the column whose vectors are meant; by default the first one indexed.
        root: the folder that the rows' files lie in; those that are there are played, from where they are.

    Returns:
        The bytes written.

    Raises:
        UsageError: the index is empty, or there is no such column or map.
    """
    out = Path(out)
    if k < 1:
        raise UsageError("k", f"{k} neighbours cannot be had", "use a whole number from 1 on")
    files.check_writable(out, "a page", ".html", ".htm")
    with index.reading():  # all of it is of one generation
        return _written(index, out, k, axes, column, root)


def _written(index: Index, out: Path, k: int, axes: str, column: str | None, root: Path | str | None) -> int:
    shown = about(index, column)
    number = shown["count"]
    if not number:
        raise UsageError(index.path, "this index is empty", f"fill it with: {mend(index.path)}")
    column = shown["column"]
    near, scores = neighbours(index, min(k, max(number - 1, 1)), column)
    maps = [axes] if axes in ("pca2", "pca3", "umap2", "umap3") else []
    maps += [one for one in ("pca2", "pca3") if one not in maps]
    placed = {one: layout.coordinates(index, one, column) for one in maps}
    layout.coordinates(index, axes, column)  # cells as axes: the page makes the map, but they must be there
    known = columns(index, column)
    tables = read(index, column)
    every = _every(index, {name for name, one in known.items() if one.kind == "category"})
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    links = [] if root is None else _links(tables, Path(root), out, column)
    numeric = [name for name, one in known.items() if one.numeric and one.size > 1]
    shown |= {"axes": [*maps, *numeric], "start": axes, "k": near.shape[1], "scores": [low, high]}
    first = [("about", _json(shown)), *((f"map {name}", _packed(_steps(xyz))) for name, xyz in placed.items())]
    later: list[tuple[str, bytes]] = []
    for at, (name, one) in enumerate(known.items()):
        block = (f"cell {at}", _json(told(tables[name], one, every.get(name))))
        (later if one.kind == "text" else first).append(block)
    later.append(("cell id", _json({"kind": "text", "values": tables["id"]})))
    width = (high - low) or 1.0
    later += [("near", _packed(near.astype("<u4")))]
    later += [("scores", _packed(np.round((scores - low) / width * _MISSING).astype("<u2")))]
    later += [("links", _json(links))] if any(links) else []
    later += [("words", _json(_words(index, tables["id"], column)))] if index.vocabulary(column)[0] else []
    head, script, tail = _shell()
    with files.atomic_write(out) as file:
        for part in (head, *map(_block, first), script, *map(_block, later), tail):
            file.write(part)
        return file.tell()


def _every(index: Index, names: set[str]) -> dict[str, list[Any]]:
    """Cells of all rows, where an index of several columns may show fewer."""
    return read(index, None, names, every=True) if len(index.columns) > 1 else {}


def neighbours(index: Index, k: int, column: str | None = None) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """The K nearest other rows of every row: their places in `Index.ids` and scores, both (N, K), the best first."""
    _, values = index.vectors(column)
    count = len(values)
    k = min(k, count - 1)
    places, scores = np.empty((count, k), np.intp), np.empty((count, k), np.float32)
    for at in range(0, count, _BLOCK):
        rows = np.arange(at, min(at + _BLOCK, count))
        near, found = index.search_batch(values[rows], k + 1, column)
        own = near == rows[:, None]
        own[~own.any(1), -1] = True  # so many are equal to the row that it is not among them itself
        places[rows], scores[rows] = near[~own].reshape(len(rows), k), found[~own].reshape(len(rows), k)
    return places, scores


def _words(index: Index, ids: Sequence[str], column: str | None) -> dict[str, Any]:
    """The words of the model's own space, and of each row the numbers of those that it is nearest to."""
    values = index.vocabulary(column)[0]
    number = {word: at for at, word in enumerate(values)}
    near = [index.nearest_terms(ids[at : at + _BLOCK], column=column) for at in range(0, len(ids), _BLOCK)]
    return {"values": values, "near": [[number[word] for word in words] for block in near for words in block]}


def _links(tables: dict[str, list[Any]], root: Path, out: Path, column: str | None) -> list[str]:
    """Of each row the address of its file as seen from the page, or "" if it has none in the folder."""
    if not root.is_dir():
        raise UsageError(root, "there is no such folder", "give the folder that the files of the rows lie in")
    root, base = root.resolve(), out.resolve().parent
    named = [tables[name] for name in dict.fromkeys([column, "path", "audio", "id"]) if name in tables]
    return [_link(root, base, row) for row in zip(*named, strict=True)]


def _link(root: Path, base: Path, names: tuple[Any, ...]) -> str:
    for name in names:
        if isinstance(name, str) and name and "\0" not in name and len(name) < 4096:
            try:
                path = (root / name).resolve()
                if path.is_relative_to(root) and path.is_file():
                    return "./" + quote(os.fsencode(os.path.relpath(path, base)))
            except (OSError, ValueError):
                continue  # no file can have this name
    return ""


def _steps(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Coordinates in [-1, 1] as 65,535 steps; only x and y where z is 0 throughout."""
    flat = points if np.nan_to_num(points[:, 2]).any() else points[:, :2]
    steps = np.round((np.nan_to_num(flat) + 1) / 2 * (_MISSING - 1)).astype("<u2")
    steps[np.isnan(flat).any(1)] = _MISSING
    return steps


def _packed(array: npt.NDArray[Any]) -> bytes:
    return base64.b64encode(array.tobytes())


def _json(value: Any) -> bytes:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        found = text.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8 is kept as lone surrogates, which JSON can escape
        found = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return found.replace(b"<", b"\\u003c")


def _block(named: tuple[str, bytes]) -> bytes:
    name, content = named
    return b'<script type="application/json" data-name="%b">%b</script>\n' % (name.encode(), content)


def _shell() -> tuple[bytes, bytes, bytes]:
    """The page around its data: what comes before it, the script, and what comes after."""
    page, style, script = (asset(name)[0].decode() for name in ("page.html", "page.css", "page.js"))

    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    policy = (
        f"default-src 'none'; script-src {allowed(script)}; style-src {allowed(style)}; img-src data:; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    icon = "data:image/svg+xml," + quote(asset("icon.svg")[0])
    changes = {
        "<title>": f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>',
        '<link rel="stylesheet" href="page.css">': f"<style>{style}</style>",
        'href="icon.svg"': f'href="{icon}"',
    }
    for old, new in changes.items():
        before, found, after = page.partition(old)
        assert found, old
        page = before + new + after
    head, found, tail = page.partition('<script src="page.js" defer></script>')
    assert found
    return head.encode(), f"<script>{script}</script>\n".encode(), tail.encode()
