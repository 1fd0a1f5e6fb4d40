"""Written, spoken and spelt digits as a table: most rows have only one of these, and the digit links them.

    python recipes/digits/prepare.py data/mnist data/fsdd out/digits --hold george

Sources: MNIST (see recipes/mnist/prepare.py) and the Free Spoken Digit Dataset (`{digit}_{speaker}_{index}.wav` in
`recordings/` or `audio/`). Columns: id, split, bitmap (784 grey levels), speech (path), word, language, digit, speaker.

- Written rows: `test` is t10k, and a thirtieth of the training rows (2000 of 60000) is `dev`.
- Spoken rows: `--hold SPEAKER` makes every recording of that speaker `test`. Without it all speakers are trained on.
  A tenth of the recordings of the others is `dev`, so it knows their voices: it says when to stop, not how well a new
  voice will do.
- Spelt rows: the ten number words in English, German and French. A word is the same thing in every split, so each is
  once in `dev` and `test` and several times in `train`, where it must be met among some ten thousands of bitmaps.
"""

from __future__ import annotations

import re
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import UsageError, did_you_mean

FETCH = (
    "git clone https://github.com/Jakobovski/free-spoken-digit-dataset data/fsdd (30 MB, CC BY-SA 4.0), fetch MNIST "
    "(11 MB; recipes/mnist/prepare.py says how) into data/mnist, then run prepare.py data/mnist data/fsdd out/digits"
)
WORDS = {
    "en": "zero one two three four five six seven eight nine",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
}
COPIES = 100  # of each word in train: with 30 words one written or spelt row in twenty, so that each batch meets some

mnist = recipe_tools.load_script(Path(__file__).parents[1] / "mnist" / "prepare.py")


def recordings(source: Path) -> dict[Path, re.Match[str]]:
    """The spoken digits of a source, in the order of their names, each with its digit, speaker and index."""
    files = [file for folder in ("recordings", "audio", ".") for file in sorted((source / folder).glob("*.wav"))]
    matches = {file: re.fullmatch(r"(\d)_(\w+)_(\d+)", file.stem) for file in files}
    return {file: match for file, match in matches.items() if match}


def spoken(files: dict[Path, re.Match[str]], out: Path, hold: str | None) -> list[recipe_tools.Row]:
    """A row for every recording; those of the speaker to hold are `test`.

    Raises:
        UsageError: the speaker does not exist.
    """
    speakers = sorted({match[2] for match in files.values()})
    if hold and hold not in speakers:
        raise UsageError(f"--hold {hold}", "no recording has this speaker", did_you_mean(hold, speakers))
    carved = recipe_tools.hold_out((match[0] for match in files.values() if match[2] != hold), 0.1)
    return [
        {
            "id": file.stem,
            "split": "test" if match[2] == hold else "dev" if file.stem in carved else "train",
            "speech": recipe_tools.link_or_copy(file, out, "speech"),
            "digit": match[1],
            "speaker": match[2],
        }
        for file, match in files.items()
    ]


def spelt() -> list[recipe_tools.Row]:
    """The number words, each once in dev and in test."""
    return [
        {
            "id": f"{split}-{language}-{digit}-{copy}",
            "split": split,
            "word": word,
            "language": language,
            "digit": str(digit),
        }
        for split, copies in (("train", COPIES), ("dev", 1), ("test", 1))
        for language, words in WORDS.items()
        for digit, word in enumerate(words.split())
        for copy in range(copies)
    ]


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--hold", metavar="SPEAKER", help="make this speaker's recordings the test rows")
    sources, out, options = arguments.read()
    written: list[recipe_tools.Row] = []
    files: dict[Path, re.Match[str]] = {}
    for source in sources:
        matches = recordings(source)
        files |= matches
        if not matches:
            written += mnist.handwritten(source, 1 / 30)
    if not written and not (options.split and files):
        raise UsageError(sources[0], "no source holds train-images-idx3-ubyte.gz", FETCH)
    if not files and not options.split:
        raise UsageError(sources[0], "no source holds recordings/0_george_0.wav or its like", FETCH)
    words = [row for row in spelt() if not options.split or row["split"] == "test"]
    recipe_tools.write_rows(out, [*written, *spoken(files, out, options.hold), *words], split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
