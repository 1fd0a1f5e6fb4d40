"""Image captions in English, German and French as a table: the columns id, split, en, de, fr.

    python recipes/languages/prepare.py data/multi30k out/languages

Source: Multi30k (Elliott et al. 2016, 2017), `train.en.gz`, `train.de.gz`, `train.fr.gz` and the like for val and
test_2016_flickr, anywhere in the folder; line i of each file describes the same picture. French may be absent.

- `val` and `test_...` keep their names; every thirtieth picture of train becomes `dev`.
- `--halves` leaves French out of the first half of the training rows and German out of the other: then no picture
  that is trained on has both, and German finds French only through English. The rows of dev keep all languages.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

LANGUAGES = ["en", "de", "fr"]
FETCH = (
    "git clone https://github.com/multi30k/dataset data/multi30k (60 MB, captions made from Flickr30k, for research), "
    "then run prepare.py data/multi30k/data/task1/raw out/languages"
)


def lines(path: Path) -> list[str]:
    """The captions of a file; an empty line is a missing caption."""
    try:
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DamagedError(path, f"it cannot be read ({error})", "fetch it again") from error
    # Not `splitlines`: other line separators are part of a caption.
    return [line.strip() for line in text.removesuffix("\n").split("\n")]


def find(source: Path) -> dict[str, dict[str, list[str]]]:
    """The captions of a source: split -> language -> lines."""
    captions: dict[str, dict[str, list[str]]] = {}
    for path in sorted(source.rglob("*")):
        split, _, language = path.name.removesuffix(".gz").rpartition(".")
        if language in LANGUAGES and (split in ("train", "val") or split.startswith("test")) and path.is_file():
            captions.setdefault(split, {}).setdefault(language, lines(path))
    return captions


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--halves", action="store_true", help="German in one half of train, French in the other")
    sources, out, options = arguments.read()
    captions: dict[str, dict[str, list[str]]] = {}
    for source in sources:
        for split, texts in find(source).items():
            captions.setdefault(split, {}).update(texts)
    if not captions or "train" not in captions and not options.split:
        raise UsageError(sources[0], "train.en.gz is missing", FETCH)
    rows: list[recipe_tools.Row] = []
    for split, texts in captions.items():
        counts = {language: len(lines_of) for language, lines_of in texts.items()}
        if len(set(counts.values())) > 1:
            raise DamagedError(sources[0], f"{split} has not equally many lines in all languages: {counts}", FETCH)
        ids = [f"{split}-{number}" for number in range(next(iter(counts.values())))]
        carved = recipe_tools.hold_out(ids, 1 / 30) if split == "train" and not options.split else set()
        for number, id in enumerate(ids):
            part = "dev" if id in carved else split
            left_out = (
                ("fr" if number < len(ids) // 2 else "de")
                if options.halves and part == "train" and not options.split
                else ""
            )
            cells = {
                language: line[number] for language, line in texts.items() if line[number] and language != left_out
            }
            rows.append({"id": id, "split": part, **cells})
    recipe_tools.write_rows(out, rows, split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
