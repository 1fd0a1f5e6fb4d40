"""The page of an index: the data that it shows, and the page with all of its data as one HTML file.

Letters: N rows, K neighbors of each.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from .. import files
from ..analyze import layout
from ..errors import UsageError, did_you_mean
from ..index.backends.connection import rebuild_command
from ..index.column_kinds import encode_column
from ..index.index import Index
from .media import embed_covers, embed_outlines, find_files, link_files
from .packed import pack_column, quantize

STATIC = Path(__file__).parent / "static"
_ROWS_PER_BLOCK = 4_096  # rows whose neighbors are searched at once
_MAX_STEP = 65_535  # of a quantized score
_LAYOUTS = ("pca2", "pca3", "umap2", "umap3")
_IMPORT = re.compile(r"^import\s[^;]*?\sfrom \"\./([\w.]+)\";\n", re.MULTILINE)


def page_info(index: Index, field: str | None = None) -> dict[str, Any]:
    """What the page loads first: name, counts, vector fields, layouts, and the kind of each metadata column."""
    space = index.field_info(field)
    kinds = index.column_kinds(field)
    fields = index.fields
    return {
        "name": index.path.stem,
        "count": index.count(field=field) if fields else 0,
        "rows": len(index),
        "version": index.version,
        "metric": space.metric,
        "dim": space.dim,
        "fields": fields,
        "field": field or next(iter(fields), None),
        "axes": layout.available_axes(index, field),
        "columns": [{"name": name, "kind": column.kind, "size": column.size} for name, column in kinds.items()],
        "title": next((name for name in ("title", "name") if name in kinds), "id"),
        "note": space.note,
    }


def layout_bytes(index: Index, axes: str, field: str | None = None, bits: int = 32) -> bytes:
    """A layout, little-endian, in the order of `Index.ids`; see `analyze.layout`.

    Args:
        index: the index.
        axes: the layout.
        field: the vector field.
        bits: 32 for float32, (N, 3); 16 for steps, see `packed.quantize`.
    """
    points = layout.compute_layout(index, axes, field)
    return (quantize(points) if bits == 16 else points.astype("<f4")).tobytes()


def column_values(index: Index, name: str, field: str | None = None) -> dict[str, Any]:
    """One column of metadata, or `id`, in the order of `Index.ids`; see `encode_column`.

    Raises:
        UsageError: no row has this column.
    """
    kinds = index.column_kinds(field)
    if name == "id":
        return {"kind": "text", "values": index.cells({"id"}, field)["id"]}
    if name not in kinds:
        raise UsageError(name, "no row has this column", did_you_mean(name, ["id", *kinds]))
    every = index.coded_cells(name, field, every=True) if len(index.fields) > 1 else None
    return encode_column(*index.coded_cells(name, field), kinds[name], every)


def column_bytes(index: Index, name: str, field: str | None = None) -> bytes:
    """A column as `column_values` has it, with the version of the index, packed; see `packed.pack_column`."""
    return pack_column({**column_values(index, name, field), "version": index.version})


def export(
    index: Index,
    out: Path | str,
    k: int = 20,
    axes: str = "pca2",
    field: str | None = None,
    root: Path | str | None = None,
    max_cover_bytes: int = 4_000_000,
    has_waveforms: bool = False,
) -> int:
    """Write the page and all of its data into one HTML file that needs no server and no network.

    Args:
        index: the index.
        out: the file to write.
        k: exact nearest neighbors of each row to include.
        axes: the layout to start with; see `analyze.layout.compute_layout`.
        field: the vector field; by default the first one indexed.
        root: the folder of the rows' files; the page plays those that exist, from where they are.
        max_cover_bytes: how many bytes of covers from these files the page may hold, those of the first rows.
        has_waveforms: whether the page draws the outlines of the sounds, which are all decoded for it. A page
            without a server cannot read the files that it plays.

    Returns:
        The number of bytes written.

    Raises:
        UsageError: the index is empty, or it has no such field or layout.
    """
    out = Path(out)
    if k < 1:
        raise UsageError("k", f"k must be at least 1, got {k}", "use a whole number from 1")
    files.check_writable(out, "a page", ".html", ".htm")
    with index.reading():  # one version for everything in the file
        return _write(index, out, k, axes, field, None if root is None else Path(root), max_cover_bytes, has_waveforms)


def _write(
    index: Index,
    out: Path,
    k: int,
    axes: str,
    field: str | None,
    root: Path | None,
    max_cover_bytes: int,
    has_waveforms: bool,
) -> int:
    info = page_info(index, field)
    count = info["count"]
    if not count:
        raise UsageError(index.path, "this index is empty", f"fill it with: {rebuild_command(index.path)}")
    field = info["field"]
    near, scores = neighbors(index, min(k, max(count - 1, 1)), field)
    names = dict.fromkeys([*([axes] if axes in _LAYOUTS else []), "pca2", "pca3"])
    layouts = {name: layout.compute_layout(index, name, field) for name in names}
    layout.compute_layout(index, axes, field)  # columns as axes: the page computes the layout, but they must exist
    kinds = index.column_kinds(field)
    cells = index.cells(None, field)
    low, high = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    paths = [] if root is None else find_files(cells, root, field)
    numeric = [name for name, column in kinds.items() if column.numeric and column.size > 1]
    info |= {"axes": [*layouts, *numeric], "start": axes, "k": near.shape[1], "scores": [low, high]}
    # The blocks before the script are what the page draws first.
    first = [("info", _to_json(info))]
    first += [(f"layout {name}", _to_base64(quantize(points))) for name, points in layouts.items()]
    later: list[tuple[str, bytes]] = []
    for number, (name, column) in enumerate(kinds.items()):
        block = (f"column {number}", _to_json(column_values(index, name, field)))
        (later if column.kind == "text" else first).append(block)
    later.append(("column id", _to_json({"kind": "text", "values": cells["id"]})))
    width = (high - low) or 1.0
    later += [("neighbors", _to_base64(near.astype("<u4")))]
    later += [("scores", _to_base64(np.round((scores - low) / width * _MAX_STEP).astype("<u2")))]
    if any(paths):
        later += [("links", _to_json(link_files(paths, cells, out)))]
        later += [("covers", _to_json(embed_covers(paths, max_cover_bytes)))] if max_cover_bytes else []
        later += [("outlines", _to_json(embed_outlines(paths)))] if has_waveforms else []
    later += [("terms", _to_json(_terms(index, cells["id"], field)))] if index.vocabulary(field)[0] else []
    head, script, tail = _template()
    with files.atomic_write(out) as file:
        for part in (head, *map(_block, first), script, *map(_block, later), tail):
            file.write(part)
        return file.tell()


def neighbors(
    index: Index, k: int, field: str | None = None, rows_per_block: int = _ROWS_PER_BLOCK
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """The K nearest other rows of every row, best first: their positions in `Index.ids` and scores, both (N, K)."""
    ids, vectors = index.vectors(field)
    k = min(k, len(ids) - 1)
    if k < 1:
        return np.empty((len(ids), 0), np.intp), np.empty((len(ids), 0))
    blocks = [slice(start, start + rows_per_block) for start in range(0, len(ids), rows_per_block)]
    results = [index.search_batch(vectors[rows], k, field, exclude=[[id] for id in ids[rows]]) for rows in blocks]
    return np.concatenate([near for near, _ in results]), np.concatenate([scores for _, scores in results])


def _terms(index: Index, ids: Sequence[str], field: str | None) -> dict[str, Any]:
    """The vocabulary of the model, and for each row the positions of its nearest terms."""
    values = index.vocabulary(field)[0]
    position = {term: number for number, term in enumerate(values)}
    blocks = (ids[at : at + _ROWS_PER_BLOCK] for at in range(0, len(ids), _ROWS_PER_BLOCK))
    rows = [terms for block in blocks for terms in index.nearest_terms(block, field=field)]
    return {"values": values, "near": [[position[term] for term in terms] for terms in rows]}


def _to_base64(array: npt.NDArray[Any]) -> bytes:
    return base64.b64encode(array.tobytes())


def _to_json(value: Any) -> bytes:
    """JSON that cannot close the element it is in."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8 has lone surrogates, which JSON can escape
        text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return text.replace(b"<", b"\\u003c")


def _block(block: tuple[str, bytes]) -> bytes:
    name, content = block
    return b'<script type="application/json" data-name="%b">%b</script>\n' % (name.encode(), content)


def bundle(entry: str = "main.js") -> str:
    """The modules of the page as one script, in the order of their imports: a page from disk cannot load modules."""
    sources: dict[str, str] = {}

    def visit(names: Iterable[str]) -> None:
        for name in names:
            if name not in sources:
                text = (STATIC / name).read_text("utf-8")
                visit(_IMPORT.findall(text))
                sources[name] = re.sub(r"^export (?=\w)", "", _IMPORT.sub("", text), flags=re.MULTILINE)

    visit([entry])
    return '"use strict";\n(() => {\n' + "\n".join(sources.values()) + "})();\n"


def _template() -> tuple[bytes, bytes, bytes]:
    """The page around its data: the part before it, the script, and the part after it."""
    script = bundle()
    page, style, icon = ((STATIC / name).read_text("utf-8") for name in ("index.html", "page.css", "icon.svg"))

    def allow(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    policy = (
        f"default-src 'none'; script-src {allow(script)}; style-src {allow(style)}; img-src data:; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    replacements = {
        "<title>": f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>',
        '<link rel="stylesheet" href="page.css">': f"<style>{style}</style>",
        'href="icon.svg"': f'href="data:image/svg+xml,{quote(icon)}"',
    }
    for old, new in replacements.items():
        assert page.count(old) == 1, old
        page = page.replace(old, new)
    head, separator, tail = page.partition('<script type="module" src="main.js"></script>')
    assert separator
    return head.encode(), f"<script>{script}</script>\n".encode(), tail.encode()
