"""Strokes of the mridangam, a South Indian drum, as a table: the columns id, split, audio, stroke and tonic.

    python recipes/strokes/prepare.py data/mridangam_stroke_1.5 out/strokes --hold dsh

Source: the Mridangam Stroke Dataset (Anantapadmanabhan et al. 2013), whose file names give stroke and tonic:
`B/224030__akshaylaya__bheem-b-001.wav` there, `audio/cha-b-224035.flac` in copies. The tonic is what the drum is tuned
to: b c csh d dsh e.

`--hold TONIC` makes every clip of that tonic `test`: the hand is known, the tuning is not. Without it all are trained
on. A tenth of the training clips is `dev`, so it knows their tunings; `--dev TONIC` makes the clips of a second tonic
`dev` instead, which is what to choose settings by.
"""

from __future__ import annotations

import re
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import UsageError, did_you_mean

FETCH = (
    "fetch mridangam_stroke_1.5.zip (6977 clips, some 250 MB, CC BY 3.0) from https://zenodo.org/records/4068196, "
    "unpack it into data/, then run prepare.py data/mridangam_stroke_1.5 out/strokes"
)
NAMES = [
    re.compile(r"(?P<id>\d+)__\w+?__(?P<stroke>[a-z]+)-(?P<tonic>[a-z]+)-\d+\.wav"),
    re.compile(r"(?P<stroke>[a-z]+)-(?P<tonic>[a-z]+)-(?P<id>\d+)\.flac"),
]


def find(source: Path) -> dict[Path, re.Match[str]]:
    """The clips of a source, each with its id, stroke and tonic."""
    matches = [(path, name.fullmatch(path.name)) for path in sorted(source.rglob("*.*")) for name in NAMES]
    return {path: match for path, match in matches if match}


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--hold", metavar="TONIC", help="make this tonic's clips the test rows")
    arguments.add_argument("--dev", metavar="TONIC", help="make this tonic's clips the dev rows")
    sources, out, options = arguments.read()
    clips = {path: match for source in sources for path, match in find(source).items()}
    if not clips:
        raise UsageError(sources[0], "no file is named like 224030__akshaylaya__bheem-b-001.wav", FETCH)
    tonics = sorted({match["tonic"] for match in clips.values()})
    for flag, tonic in (("--hold", options.hold), ("--dev", options.dev)):
        if tonic and tonic not in tonics:
            raise UsageError(f"{flag} {tonic}", "no clip has this tonic", did_you_mean(tonic, tonics))
    if options.hold and options.hold == options.dev:
        raise UsageError(f"--dev {options.dev}", "that tonic is held out already", "give another one")
    train_clips = [match for match in clips.values() if match["tonic"] != options.hold]
    dev_tonic_ids = {match["id"] for match in train_clips if match["tonic"] == options.dev}
    dev_ids = dev_tonic_ids or recipe_tools.hold_out((match["id"] for match in train_clips), 0.1)
    rows: list[recipe_tools.Row] = [
        {
            "id": match["id"],
            "split": "test" if match["tonic"] == options.hold else "dev" if match["id"] in dev_ids else "train",
            "audio": recipe_tools.link_or_copy(path, out, "audio"),
            "stroke": match["stroke"],
            "tonic": match["tonic"],
        }
        for path, match in clips.items()
    ]
    recipe_tools.write_rows(out, rows, split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
