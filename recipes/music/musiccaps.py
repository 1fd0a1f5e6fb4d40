"""MusicCaps as a table for the recipe `music/words`: captions, their phrases, and the tags that belong to them.

    python recipes/music/musiccaps.py data/captions out/words

The source holds `musiccaps-public.csv`, as published, or `musiccaps.csv.gz` (Agostinelli et al. 2023). Columns: id,
split, caption (a list: its phrases, cut at stops, commas, "and" and "with", and the whole text at the end), tags (those
aspects of the clip that occur in at least 20 training rows, in lower case).

Splits: clips of AudioSet's evaluation part, which MusicCaps publishes as such, are `test`; a tenth of the others is
`dev`. Tags are counted in the other rows, dev included.
"""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

FETCH = "fetch musiccaps-public.csv (3 MB, CC BY-SA 4.0) from google/MusicCaps on Hugging Face, and give its folder"
MIN_ROWS_OF_TAG = 20
BREAKS = re.compile(r"[.,;:()]|\band\b|\bwith\b")


def read(source: Path) -> list[dict[str, str]]:
    """The clips as published.

    Raises:
        UsageError: the source has no such file.
        DamagedError: a column is missing.
    """
    lines = recipe_tools.lines(source, "musiccaps-public.csv", "musiccaps.csv")
    if not lines:
        raise UsageError(source, "musiccaps-public.csv is missing", FETCH)
    rows = list(csv.DictReader(line + "\n" for line in lines))
    for column in ("ytid", "aspect_list", "caption", "is_audioset_eval"):
        if column not in rows[0]:
            raise DamagedError(source, f"musiccaps has no column {column}", "use the file as it was published")
    return rows


def cut(caption: str) -> list[str]:
    """The phrases of a caption, then the caption itself."""
    phrases = [phrase.strip() for phrase in BREAKS.split(caption.lower())]
    return [*(phrase for phrase in phrases if re.search("[a-z]", phrase)), caption]


def parse_aspects(row: dict[str, str]) -> list[str]:
    """The aspects of a clip, each once.

    Raises:
        DamagedError: they are not a list.
    """
    try:
        aspects = ast.literal_eval(row["aspect_list"])
    except (ValueError, SyntaxError) as error:
        raise DamagedError(row["ytid"], "its aspect_list is not a list", "use the file as it was published") from error
    return sorted({" ".join(str(aspect).lower().split()) for aspect in aspects} - {""})


def main() -> None:
    sources, out, options = recipe_tools.Arguments(__doc__, FETCH).read()
    published = read(sources[0])
    aspects = [parse_aspects(row) for row in published]
    is_test = [row["is_audioset_eval"] == "True" for row in published]
    counts = Counter(tag for tags, test in zip(aspects, is_test, strict=True) if not test for tag in tags)
    frequent = {tag for tag, count in counts.items() if count >= MIN_ROWS_OF_TAG}
    dev = recipe_tools.hold_out((row["ytid"] for row, test in zip(published, is_test, strict=True) if not test), 0.1)
    rows = []
    for row, tags, test in zip(published, aspects, is_test, strict=True):
        cells = {
            "id": row["ytid"],
            "split": "test" if test else "dev" if row["ytid"] in dev else "train",
            "caption": cut(row["caption"]),
        }
        tags = [tag for tag in tags if tag in frequent]
        rows.append(cells | ({"tags": tags} if tags else {}))
    recipe_tools.write_rows(out, rows, split=options.split)
    print(f"{len(frequent)} tags")


if __name__ == "__main__":
    recipe_tools.run_script(main)
