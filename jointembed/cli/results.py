"""What a search found, as it is told: JSON, or a table of as many cells as the terminal has room for."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence

from ..errors import escape_control
from ..index import playlist
from ..index.hits import Hit
from ..index.index import Index
from ..index.selection import require
from .show import cut, table, width

HIDDEN = {"id", "split", "caption", "audio", "score", "speech", "bitmap"}  # long or plain to see
PIPED = 6  # cells of a row where no terminal says how many there is room for
READABLE = 16  # signs below which a cell that was cut says too little
NAMED = 24  # signs that a name gets before anything else, and its nearest words too
_FILE = re.compile(r"\S\.[A-Za-z]\w{1,4}$")

Columns = dict[str, list[str]]  # the texts of each, its heading first; no cell's name begins with _


def tell(
    index: Index,
    found: Sequence[Hit],
    k: int,
    where: str | None,
    column: str | None,
    as_json: bool,
    m3u: str | None,
    root: str | None,
    ends: int = 0,
) -> None:
    """Print hits, and write them as a playlist if that is wanted.

    Args:
        index: what was searched.
        found: the hits.
        k: how many were wanted.
        where: the condition that they had to meet; if they are fewer for it, a line on standard error says so.
        column: of the index's columns the one whose nearest words are shown.
        as_json: print JSON.
        m3u: the playlist.
        root: the folder that its paths start from.
        ends: hits that did not have to meet the condition.

    Raises:
        UsageError: no item meets the condition.
    """
    if len(found) <= ends < k:
        require(index, where)
    words = index.nearest_terms([hit.id for hit in found], column=column)
    own = json.loads(index.get_meta("clusters") or "{}")
    print(listed(found, words) if as_json else shown(found, words, own))
    if where is not None and 0 < len(found) < k:
        print(f"only {len(found)} of {k}: nothing else fits under this condition", file=sys.stderr)
    if m3u:
        print(playlist.write(m3u, index, found, root), file=sys.stderr)


def listed(found: Sequence[Hit], words: Sequence[Sequence[str]]) -> str:
    """Hits as JSON: [{"rank", "id", "score", "row", "words", "alike"}]."""
    made = [
        {"rank": n, "id": hit.id, "score": hit.score, "row": hit.row, "words": list(near), "alike": list(hit.alike)}
        for n, (hit, near) in enumerate(zip(found, words, strict=True), 1)
    ]
    text = json.dumps(made, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # an id that is no UTF-8 holds surrogates: "\\udce9"


def shown(found: Sequence[Hit], words: Sequence[Sequence[str]], clusters: Collection[str] = ()) -> str:
    """Hits as a table; where a terminal has no room for all of their cells, a line below it names the others.

    Args:
        found: the hits.
        words: of each hit the words of the model's own space that it is nearest to.
        clusters: cells that `cluster` wrote, which are the first to be left out.
    """
    if not found:
        return "nothing fits"
    columns = _columns(found, words)
    scored = [["", *map(str, range(1, len(found) + 1))], ["score", *(f"{hit.score:.4f}" for hit in found)]]
    most = shutil.get_terminal_size((0, 0)).columns
    if most:
        kept = _fitted(columns, clusters, most - sum(max(map(width, texts)) + 2 for texts in scored))
    else:
        cells = [name for name in columns if name != "id" and not name.startswith("_")]
        kept = {name: texts for name, texts in columns.items() if name not in cells[PIPED:]}
    lines = table([*zip(*scored, *kept.values(), strict=True)], right=(0, 1))
    left = [name for name in columns if name not in kept]
    if not most or not left:
        return lines
    return f"{lines}\n{cut('for more cells use --json or a wider terminal: ' + ', '.join(left), most)}"


def _columns(found: Sequence[Hit], words: Sequence[Sequence[str]]) -> Columns:
    """Ids, cells that are numbers or texts, nearest words, and what each hit stands for, as they are shown."""
    known = dict.fromkeys(name for hit in found for name in hit.row if name not in HIDDEN and not name.startswith("_"))
    if all(hit.row.get("path") == hit.id for hit in found):
        known.pop("path", None)
    cells = {name: [hit.row.get(name) for hit in found] for name in known}
    made = {"id": ["id", *(hit.id for hit in found)]}
    for name, values in cells.items():
        if any(isinstance(value, str | int | float) for value in values):
            made[name] = [name, *("" if value is None else str(value) for value in values)]
    more = {"_words": ["words", *map(", ".join, words)], "_and": ["and", *(", ".join(hit.alike) for hit in found)]}
    made |= {name: texts for name, texts in more.items() if any(texts[1:])}
    return {name: [escape_control(text) for text in texts] for name, texts in made.items()}


def _fitted(columns: Columns, clusters: Collection[str], room: int) -> Columns:
    """As many columns as there is room for: names and nearest words always, though shortened; then the most telling."""
    room = max(room, NAMED) + 2  # no gap follows the last one
    need = {name: max(map(width, texts)) + 2 for name, texts in columns.items()}
    if sum(need.values()) <= room:
        return columns
    called = next((name for name in ("title", "name") if name in columns), "id")
    if called != "id":
        texts = zip(columns[called], columns["id"], strict=True)
        columns = {**columns, called: [text or id.rpartition("/")[2] for text, id in texts]}
    first = max(room // 3, min(NAMED, room // 2))
    wide = {name: min(need[name], first) for name in (called, "_words") if name in columns}
    for name in sorted(columns, key=lambda name: _dull(name, columns, called, clusters)):
        least = need[name] if name == "id" else min(need[name], max(room // 4, READABLE))  # a part of an id is none
        if name not in wide and sum(wide.values()) + least <= room:
            wide[name] = least
    for name in wide:  # what is left over goes to those that were shortened
        wide[name] = min(need[name], wide[name] + room - sum(wide.values()))
    return {name: [_short(text, wide[name] - 2) for text in columns[name]] for name in columns if name in wide}


def _dull(name: str, columns: Mapping[str, Sequence[str]], called: str, clusters: Collection[str]) -> int:
    """How little a column tells beside names: least what names several items, most what is the same of all."""
    texts = columns[name][1:]
    same = len(texts) > 1 and len(set(texts)) == 1
    files = all(_FILE.search(text) for text in texts if text)
    if name == "_and":
        return 0
    if name == "id" and not files:
        return 0 if len(set(columns[called])) < len(columns[called]) else 2
    return 5 if same else 4 if files else 3 if name in clusters else 1


def _short(text: str, most: int) -> str:
    """As much of a text as there is room for: its beginning, or the end of a path, where the file is."""
    if not _FILE.search(text):
        return cut(text, most)
    while width(text) > most:
        text = "…" + text[2:]
    return text
