"""Find the items most similar to given items or files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..analyze.answers_plot import Sound
    from ..index.hits import Hit
    from ..index.index import Index

DRAWN_HITS = 5
SPECTROGRAM_RATE = 22_050  # Hz


def similar(
    index: str,
    item: list[str],
    *,
    unlike: list[str] | None = None,
    exclude: list[str] | None = None,
    k: int = 10,
    where: str | None = None,
    one_per: str | None = None,
    diversity: float = 0.0,
    dedupe: bool = False,
    field: str | None = None,
    json_: bool = False,
    m3u: str | None = None,
    root: str | None = None,
    png: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Find the items of an index that are most similar to an item or a file, or to the mean of several.

    Args:
        index: the index.
        item: an id, an indexed path, a title (or artist and title) or a file name that only one item has, in any case
            and with or without accents, or a file, which the model embeds. Names that begin with - come last, after --.
        unlike: an item or file that the results should not resemble.
        exclude: an item to leave out of the results.
        k: the number of results.
        where: only items that meet this condition, such as "genre = 'waltz' and tempo > 120".
        one_per: at most one result for each value of this column, such as artist.
        diversity: from 0 (the most similar items) to 1 (items that differ most from one another).
        dedupe: show near-duplicates as one result.
        field: the field of the index to search; the first if not given.
        json_: print JSON.
        m3u: also write the results as a playlist, an .m3u8 or .m3u file.
        root: the folder that the playlist's paths are relative to; / for absolute ones; the playlist's own by default.
        png: a .png file to draw the spectrograms of the items and of the first five results into.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from ..index import playlist
    from ..index.index import Index
    from ..index.snapshot import Item
    from ..indexing.query_encoder import find_item, find_item_or_encode
    from .console import check_plot, name_item, print_hits

    playlist.check(m3u, root)
    check_plot(png)
    with Index.open(index) as opened:

        def find(names: list[str] | None) -> list[Item]:
            items = [(name, find_item_or_encode(opened, name, field, trust, device)) for name in names or []]
            return [name_item(opened, name, item) for name, item in items]

        queries = find(item)
        hits = opened.similar(
            queries,
            k,
            field,
            where,
            unlike=find(unlike),
            exclude=[name_item(opened, name, find_item(opened, name)) for name in exclude or []],
            one_per=one_per,
            diversity=diversity,
            deduplicate=dedupe,
        )
        print_hits(opened, hits, k, where, field, json_, m3u, root)
        if png is not None:
            _draw(png, opened, list(zip(item, queries, strict=True)), hits[:DRAWN_HITS])


def _draw(png: str, index: Index, queries: Sequence[tuple[str, Any]], hits: Sequence[Hit]) -> None:
    """Draw the sounds of the queries, each an id or the vector of a file, and those of the hits.

    Raises:
        UsageError: the rows tell of no sound files.
    """
    import sys
    from pathlib import Path

    from ..analyze.answers_plot import draw
    from ..errors import UsageError
    from ..index import playlist
    from .progress import status

    info, rows = index.info, [index.row(item) if isinstance(item, str) else {} for _, item in queries]
    files = [playlist.locate(info, item, row) if row else name for (name, item), row in zip(queries, rows, strict=True)]
    answers = [playlist.locate(info, hit.id, hit.row) for hit in hits]
    if not any(answers):
        raise UsageError(png, "these rows tell of no sound files", "leave --png out, or search an index of sounds")
    with status("Reading sounds ..."):
        own = [_read(file, name, "", row) for file, (name, _), row in zip(files, queries, rows, strict=True)]
        answered = [_read(file, hit.id, f"{hit.score:.3f}  ", hit.row) for file, hit in zip(answers, hits, strict=True)]
        draw(Path(png), own, answered)
    print(f"{png}: spectrograms of the query and of {len(hits)} results", file=sys.stderr)


def _read(file: str | None, name: str, score: str, row: Any) -> Sound:
    """A sound with the title and the labels of its row."""
    from .. import audio
    from ..analyze.answers_plot import Sound
    from ..errors import UserError
    from ..training.label_curves import spectrogram

    title = str(row.get("title") or row.get("name") or name.rpartition("/")[2])
    note = score + ", ".join(str(row[key]) for key in ("artist", "genre") if isinstance(row.get(key), str))
    try:
        samples = audio.load(str(file), SPECTROGRAM_RATE)
    except (OSError, UserError):  # it may have been moved since it was indexed
        return Sound(title, note.strip(), None, 0.0)
    return Sound(title, note.strip(), spectrogram(samples, SPECTROGRAM_RATE), len(samples) / SPECTROGRAM_RATE)
