"""ESC-50, or its part ESC-10, as a table: the columns id, split, audio, caption, category and fold.

    python recipes/sounds/prepare.py data/ESC-50 out/sounds --esc10 --fold 5

The source holds `meta/esc50.csv` or `esc10.csv`, and the clips in `audio/`. A caption is the source's own where it has
one, else a sentence made of the category: either way it is one sentence a class, so finding a sound by its caption is
finding its class.

`--fold N` makes that fold `test`; without it all are trained on. About a tenth of the training clips of each category
is `dev`; clips cut from one recording stay on one side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import UsageError, did_you_mean

FETCH = (
    "fetch ESC-50 (600 MB, CC BY-NC 3.0, its part ESC-10 CC BY 3.0) with git clone "
    "https://github.com/karolpiczak/ESC-50 data/ESC-50, then run prepare.py data/ESC-50 out/sounds"
)
COLUMNS = ["filename", "fold", "category", "src_file"]
LISTS = ["meta/esc50.csv", "esc50.csv", "meta/esc10.csv", "esc10.csv"]


def find(source: Path) -> list[dict[str, str]]:
    """The clips that a source lists, each with its `path`."""
    listed = next((source / name for name in LISTS if (source / name).is_file()), None)
    if listed is None:
        raise UsageError(source, "meta/esc50.csv is missing", FETCH)
    return [
        clip | {"path": str(source / "audio" / clip["filename"])} for clip in recipe_tools.read_csv(listed, COLUMNS)
    ]


def choose_dev(clips: list[dict[str, str]]) -> set[str]:
    """The recordings that become dev: of each category as many as fit into a tenth of its clips."""
    clips_of = Counter(clip["src_file"] for clip in clips)
    recordings = defaultdict(set)
    for clip in clips:
        recordings[clip["category"]].add(clip["src_file"])
    dev_recordings: set[str] = set()
    for group in recordings.values():
        room = round(0.1 * sum(clips_of[recording] for recording in group))
        for recording in sorted(group, key=recipe_tools.hash_fraction):
            if clips_of[recording] <= room:
                room -= clips_of[recording]
                dev_recordings.add(recording)
    return dev_recordings


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--fold", metavar="N", help="make this fold the test rows")
    arguments.add_argument("--esc10", action="store_true", help="take only the ten classes of ESC-10")
    sources, out, options = arguments.read()
    listed = [clip for source in sources for clip in find(source)]
    if options.esc10:
        listed = [clip for clip in listed if clip.get("esc10") == "True"]
    clips = [clip for clip in listed if Path(clip["path"]).is_file()]
    folds = sorted({clip["fold"] for clip in clips})
    if clips and options.fold and options.fold not in folds:
        raise UsageError(f"--fold {options.fold}", "no clip has this fold", did_you_mean(options.fold, folds))
    dev_recordings = choose_dev([clip for clip in clips if clip["fold"] != options.fold])
    rows: list[recipe_tools.Row] = [
        {
            "id": Path(clip["filename"]).stem,
            "split": "test"
            if clip["fold"] == options.fold
            else "dev"
            if clip["src_file"] in dev_recordings
            else "train",
            "audio": recipe_tools.link_or_copy(Path(clip["path"]), out, "audio"),
            "caption": clip.get("caption") or f"the sound of {clip['category'].replace('_', ' ')}",
            "category": clip["category"],
            "fold": int(clip["fold"]),
        }
        for clip in clips
    ]
    recipe_tools.write_rows(out, rows, skipped=len(listed) - len(clips), split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
