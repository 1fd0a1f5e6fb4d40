"""Music and its genres or captions as a table: id, split, and what the source has of audio, genre, artist, caption.

    python recipes/genres/prepare.py data/gtzan data/lists/gtzan out/genres

makes the table of `features.yaml`: 57 features of GTZAN's songs, features and not audio. `--fold N` makes one of five
folds of train and valid `test`; `--audio` takes the audio, for `audio.yaml`; `captions.yaml` wants captions.

Sources, each in the layout of its publication, and several of them at once if you like:

- GTZAN: `features_30_sec.csv` with the lists of the fault-filtered split (Kereliuk et al. 2015), or one table of both;
  for `--audio`, `genres_original/GENRE/*.wav` and the lists. `valid` becomes `dev`.
- FMA: `fma_metadata/tracks.csv`, `fma_small/000/000002.mp3`, or medium, large, full.
- MTG-Jamendo: `data/splits/split-0/autotagging_genre-*.tsv`, the songs in `audio/` or a source of their own; several
  genres a song.
- MusicCaps: `musiccaps-public.csv`, `audio/YTID.wav`.
- Clotho: `clotho_captions_development.csv` and the like, folders `development/`, `validation/`, `evaluation/`.
- Song Describer: `song_describer.csv`, `audio/`; only captions that were checked, all of them `test`.

No figure of any audio has been measured yet: those of this recipe are of the features. Splits are the official ones.
Songs whose files are absent are left out and counted. Kaggle's copy of GTZAN holds one broken file, jazz.00054.wav:
delete it.
"""

from __future__ import annotations

from pathlib import Path

from jointembed import recipe_tools
from jointembed.errors import UsageError, did_you_mean

FETCH = (
    "fetch features_30_sec.csv of GTZAN on Kaggle (1 MB, licence unclear, for research) into data/gtzan and "
    "git clone https://github.com/coreyker/dnn-mgr data/lists for its split, then run prepare.py data/gtzan "
    "data/lists/gtzan out/genres; for audio, FMA's fma_small.zip and fma_metadata.zip (8 GB, CC BY 4.0 and each "
    "song's own) are a start: --help shows all layouts"
)
HOME = Path(__file__).parent
gtzan, tagged, captioned = (recipe_tools.load_script(HOME / f"{name}.py") for name in ("gtzan", "tagged", "captioned"))


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument(
        "--fold", metavar="N", help="GTZAN: make this fold (1 to 5) of train and valid the test rows"
    )
    arguments.add_argument("--audio", action="store_true", help="GTZAN: take the audio, not the features")
    sources, out, options = arguments.read()
    if options.fold and options.fold not in list("12345"):
        raise UsageError(
            f"--fold {options.fold}", "the fold must be between 1 and 5", did_you_mean(options.fold, range(1, 6))
        )
    layouts = [
        gtzan.clips if options.audio else gtzan.measured,
        tagged.fma,
        tagged.jamendo,
        captioned.musiccaps,
        captioned.clotho,
        captioned.describer,
    ]
    if options.fold:
        layouts = layouts[:1]
    items = [item for source in sources for layout in layouts for item in layout(source, sources)]
    if not items:
        raise UsageError(sources[0], "no source holds features_30_sec.csv or another list that --help names", FETCH)
    if options.fold:
        gtzan.fold(items, int(options.fold))
    rows: list[recipe_tools.Row] = []
    for item in items:
        if "audio" in item:
            if not item["audio"].is_file():
                continue
            item["audio"] = recipe_tools.link_or_copy(item["audio"], out, f"audio/{item['audio'].parent.name}")
        rows.append(item)
    recipe_tools.write_rows(out, rows, skipped=len(items) - len(rows), split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
