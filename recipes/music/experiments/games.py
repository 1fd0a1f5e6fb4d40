"""Whether a model tuned on some soundtracks is better on others: the recipe `music/library` on eight games' music.

    python recipes/music/experiments/games.py table GAMES OUT --tune wesnoth,drascula
    jointembed fit -c music/library --data.table OUT --trainer.default_root_dir RUN
    python recipes/music/experiments/games.py evaluate OUT music.ckpt RUN

GAMES holds games.csv (filename, game, artist) and the folder audio. Songs of the games to tune on are `train`, but for
a tenth (`dev`); all of another game are `test`. Prints precision@5 and mean average precision of songs of the same game
among all songs, for each test song as a query, and the differences with the 95 % interval of a bootstrap over queries.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jointembed import recipe_tools
from jointembed.errors import UsageError, did_you_mean

FETCH = "give `table` with a folder and a table to write, or `evaluate` with a table and two models"
CUTOFF = 5
RESAMPLES = 10_000


def write_table(games: Path, out: Path, tune: list[str]) -> None:
    """Write the table; see the first lines.

    Raises:
        UsageError: there is no such game.
    """
    songs = recipe_tools.read_csv(games / "games.csv", ["filename", "game", "artist"])
    names = sorted({song["game"] for song in songs})
    for name in tune:
        if name not in names:
            raise UsageError(name, "no song is from this game", did_you_mean(name, names))
    dev = recipe_tools.hold_out((song["filename"] for song in songs if song["game"] in tune), 0.1)
    rows = []
    for song in songs:
        artist = [f"artist: {song['artist']}"] if song["artist"] else []
        split = "test" if song["game"] not in tune else "dev" if song["filename"] in dev else "train"
        row = {"id": song["filename"], "split": split, "audio": str((games / "audio" / song["filename"]).resolve())}
        rows.append(row | {"game": song["game"], "groups": [*artist, f"album: {song['game']}"]})
    recipe_tools.write_rows(out, rows)


def rank(vectors: NDArray[np.float32], games: list[str], queries: list[int]) -> NDArray[np.float64]:
    """Precision@5 and average precision of each query among all other songs: (Q, 2)."""
    results = []
    for query in queries:
        order = np.argsort(-(vectors @ vectors[query]), kind="stable")
        hits = np.array([games[song] == games[query] for song in order if song != query])
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        results.append((hits[:CUTOFF].mean(), precision[hits].mean()))
    return np.array(results)


def evaluate(table: Path, *models: Path) -> None:
    """Print the figures; see the first lines."""
    from jointembed import Space
    from jointembed.data.rows import Rows

    rows = Rows.open(table).dicts()
    games = [row["game"] for row in rows]
    queries = [number for number, row in enumerate(rows) if row["split"] == "test"]
    results = []
    for path in models:
        vectors = Space.load(path).embed("audio", [row["audio"] for row in rows])
        results.append(rank(vectors, games, queries))
        precision, average = results[-1].mean(0)
        print(f"{path}: precision@{CUTOFF} {precision:.3f}, MAP {average:.3f}, {len(queries)} queries", flush=True)
        draws = np.random.default_rng(0).integers(len(queries), size=(RESAMPLES, len(queries)))
        differences = results[-1] - results[0]
        low, high = np.quantile(differences[draws].mean(1), [0.025, 0.975], axis=0)
        for column, name in enumerate((f"precision@{CUTOFF}", "MAP")):
            mean = differences[:, column].mean()
            print(f"  {name} above the first by {mean:.3f} ({low[column]:.3f} - {high[column]:.3f})", flush=True)


def main() -> None:
    parser = recipe_tools.Arguments(__doc__, FETCH)
    parser.add_argument("--tune", metavar="GAME,GAME", default="", help="games to tune on")
    options = parser.parse_intermixed_args()
    step, *places = options.places or [""]
    if step == "table" and len(places) == 2 and options.tune:
        write_table(Path(places[0]), Path(places[1]), options.tune.split(","))
    elif step == "evaluate" and len(places) > 2:
        evaluate(*map(Path, places))
    else:
        raise UsageError("games.py", "its arguments are not understood", FETCH)


if __name__ == "__main__":
    recipe_tools.run_script(main)
