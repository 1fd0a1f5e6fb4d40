"""Spoken digits as a table: digits to train an encoder on, and digits that it never sees in training.

    python recipes/reuse/prepare.py data/fsdd out/reuse

Source: the Free Spoken Digit Dataset, `{digit}_{speaker}_{index}.wav` in `recordings/` or `audio/`. Columns: id, split,
speech (path), digit and speaker. The digits of `--unseen` (56789) have the split `unseen`, which training ignores:
experiments/fewshot.py learns them from a few examples. Of the others nine tenths are `train`, one is `dev`.
"""

from __future__ import annotations

from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import UsageError

FETCH = (
    "git clone https://github.com/Jakobovski/free-spoken-digit-dataset data/fsdd (30 MB, CC BY-SA 4.0), then run "
    "prepare.py data/fsdd out/reuse"
)
digits_recipe = recipe_tools.load_script(Path(__file__).parents[1] / "digits" / "prepare.py")


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--unseen", metavar="DIGITS", default="56789", help="digits to leave out (56789)")
    sources, out, options = arguments.read()
    files = {path: match for source in sources for path, match in digits_recipe.recordings(source).items()}
    if not files:
        raise UsageError(sources[0], "recordings such as recordings/0_george_0.wav are missing", FETCH)
    digits, unseen = {match[1] for match in files.values()}, set(options.unseen)
    if not options.split and (len(unseen) < 2 or unseen - digits or len(digits - unseen) < 2):
        raise UsageError(
            f"--unseen {options.unseen}",
            "at least two digits must be left out, and at least two must remain",
            f"choose among {''.join(sorted(digits))}",
        )
    dev = recipe_tools.hold_out((match[0] for match in files.values() if match[1] not in unseen), 0.1)
    rows: list[recipe_tools.Row] = [
        {
            "id": path.stem,
            "split": "unseen" if match[1] in unseen else "dev" if path.stem in dev else "train",
            "speech": recipe_tools.link_or_copy(path, out, "speech"),
            "digit": match[1],
            "speaker": match[2],
        }
        for path, match in files.items()
    ]
    recipe_tools.write_rows(out, rows, split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
