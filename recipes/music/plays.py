"""How often people played the songs of a music folder, as a table: id, split, user, song, plays, audio.

    python recipes/music/plays.py ~/Music EXPORTS out/plays

EXPORTS is a folder with any of these, which are only read:

- NAME.jsonl, or a folder NAME with such files: an unpacked export of ListenBrainz, a listen a line.
- NAME.csv: scrobbles of Last.fm, with a header that names the columns artist and track, or without one as artist,
  album, track, date.
- NAME.db: the database of Navidrome, `navidrome.db`, which has users of its own.

NAME is the user. If several of these say how often a user played a song, the largest number counts, since services
forward what they hear to each other.

`song` is the path in the folder, as in the table of `prepare.py`, with its `audio`, title and artist. A song is found
by its MusicBrainz recording id, by its path or the end of it, or by artist and title where only one song has both;
case, guests and articles make no difference. A looks-random tenth of the rows is `test`, another tenth `dev`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jointembed import recipe_tools
from jointembed.cli.progress import track
from jointembed.errors import DamagedError, UsageError
from jointembed.index.backends.base import Root
from jointembed.ingest.path_metadata import PathMetadata

FETCH = "give the folder of your music, a folder with exports of ListenBrainz, Last.fm or Navidrome, and one to write"
RECORDING = "musicbrainz_recordingid"
NAVIDROME = """
    SELECT user_name, play_count, path, title, media_file.artist, {recording} FROM annotation
    JOIN user ON user.id = user_id JOIN media_file ON media_file.id = item_id
    WHERE item_type = 'media_file' AND play_count > 0 ORDER BY user_name, path
"""
prepare = recipe_tools.load_script(Path(__file__).with_name("prepare.py"))


@dataclass(frozen=True)
class Track:
    """A song as an export names it; what it does not say is empty."""

    title: str = ""
    artist: str = ""
    recording: str = ""
    path: str = ""


class TrackFinder:
    """Finds the songs of a folder that exports mean.

    Args:
        folder: of the songs.
        rows: their rows in the table of `prepare.py`.
    """

    def __init__(self, folder: Path, rows: list[recipe_tools.Row]) -> None:
        self.folder = folder
        self.paths = prepare.SongFinder(folder, [row["id"] for row in rows])
        self.by_recording = {row[RECORDING]: row["id"] for row in reversed(rows) if RECORDING in row}
        self.by_name: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in rows:
            if "title" in row and "artist" in row:
                self.by_name[name_key(row["artist"], row["title"])].add(row["id"])

    def find(self, song: Track) -> str | None:
        """The id of the song; None if it is absent or ambiguous."""
        if song.recording in self.by_recording:
            return self.by_recording[song.recording]
        if song.path and (id := self.paths.find(song.path, self.folder / "playlist")):
            return id
        songs = self.by_name.get(name_key(song.artist, song.title), set())
        return next(iter(songs)) if len(songs) == 1 else None


def name_key(artist: str, title: str) -> tuple[str, str]:
    """What the spellings of an artist and a title have in common."""
    return prepare.plain(artist), prepare.plain(title)


def read_listenbrainz(path: Path) -> Iterator[Track]:
    """The listens of a file of ListenBrainz; lines about anything else, such as likes, are passed over.

    Raises:
        DamagedError: a line is not JSON.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                listen = json.loads(line)
                match listen.get("track_metadata") if "listened_at" in listen else None:
                    case {"track_name": str(title), "artist_name": str(artist), **more}:
                        parts = [more.get(name) or {} for name in ("mbid_mapping", "additional_info")]
                        recordings = (part.get("recording_mbid") for part in parts)
                        yield Track(title, artist, str(next(filter(None, recordings), "")).lower())
            except (ValueError, AttributeError, TypeError, RecursionError) as error:
                raise DamagedError(path, f"line {number} is not JSON of ListenBrainz", "export it again") from error


def read_lastfm(path: Path) -> Iterator[Track]:
    """The scrobbles of a CSV file of Last.fm.

    Raises:
        DamagedError: a row has too few cells, or is not CSV.
    """
    fix = "use CSV with the columns artist and track, or artist, album, track, date"
    artist, title = 0, 2
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            for number, cells in enumerate(csv.reader(file), 1):
                names = [cell.strip().lower() for cell in cells]
                if number == 1 and "artist" in names and "track" in names:
                    artist, title = names.index("artist"), names.index("track")
                elif len(cells) > max(artist, title):
                    yield Track(cells[title], cells[artist])
                elif cells:
                    raise DamagedError(path, f"row {number} has {len(cells)} cells", fix)
        except csv.Error as error:
            raise DamagedError(path, f"it is not CSV ({error})", fix) from error


def read_navidrome(path: Path) -> Iterator[tuple[str, int, Track]]:
    """The users, play counts and songs of a database of Navidrome, which is opened for reading only.

    Raises:
        DamagedError: it is not such a database.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            columns = [row[1] for row in database.execute("PRAGMA table_info(media_file)")]
            recording = "mbz_recording_id" if "mbz_recording_id" in columns else "mbz_track_id"  # before 2023
            for user, count, place, title, artist, id in database.execute(NAVIDROME.format(recording=recording)):
                yield user, count, Track(title or "", artist or "", (id or "").lower(), place or "")
    except sqlite3.Error as error:
        fix = "stop Navidrome, and copy navidrome.db with its -wal file"
        raise DamagedError(path, f"it cannot be read as a database of Navidrome ({error})", fix) from error


def count_plays(exports: Path) -> list[tuple[str, Counter[Track]]]:
    """The plays of each user in each export, in the order of their names."""
    counted: list[tuple[str, Counter[Track]]] = []
    for entry in track(sorted(exports.iterdir()), "Reading exports"):
        files = sorted(entry.rglob("*.jsonl")) if entry.is_dir() else [entry]
        if entry.suffix == ".db":
            by_user: dict[str, Counter[Track]] = defaultdict(Counter)
            for user, count, song in read_navidrome(entry):
                by_user[user][song] += count
            counted += by_user.items()
        elif entry.suffix == ".csv":
            counted.append((entry.stem, Counter(read_lastfm(entry))))
        elif files and files[0].suffix == ".jsonl":
            counted.append((entry.stem, Counter(song for file in files for song in read_listenbrainz(file))))
    return [(user, plays) for user, plays in counted if plays]


def main() -> None:
    sources, out, options = recipe_tools.Arguments(__doc__, FETCH).read()
    if len(sources) != 2:
        raise UsageError(sources[-1], "a folder of music and a folder of exports are expected", FETCH)
    folder, exports = sources
    songs = prepare.find_songs(folder)
    if not songs:
        raise UsageError(folder, "no file in it has the name of a sound file", FETCH)
    counted = count_plays(exports)
    if not counted:
        raise UsageError(exports, "no play is in it", "put NAME.jsonl, NAME.csv or navidrome.db into it")
    metadata = PathMetadata([Root(str(folder.resolve()))])
    described = [prepare.describe(folder, song, metadata) for song in track(songs, "Reading tags")]
    finder, by_song = TrackFinder(folder, described), {row["id"]: row for row in described}
    most: dict[tuple[str, str], int] = {}
    absent: Counter[Track] = Counter()
    for user, plays in counted:
        by_id: Counter[str] = Counter()
        for song, count in plays.items():
            if id := finder.find(song):
                by_id[id] += count
            else:
                absent[song] += count
        for id, count in by_id.items():
            most[user, id] = max(count, most.get((user, id), 0))
    rows = []
    for (user, id), count in sorted(most.items()):
        row = {"id": f"{user}: {id}", "user": user, "song": id, "plays": count}
        fraction = recipe_tools.hash_fraction(row["id"])
        row["split"] = "test" if fraction < 0.1 else "dev" if fraction < 0.2 else "train"
        rows.append(row | {name: by_song[id][name] for name in ("audio", "title", "artist") if name in by_song[id]})
    if not rows:
        raise UsageError(exports, "none of its songs is in the folder", "give the folder of the music that was played")
    recipe_tools.write_rows(out, rows, split=options.split)
    print(f"{len({row['user'] for row in rows})} users; {sum(row['plays'] for row in rows)} plays of these songs")
    if absent:
        examples = ", ".join(f"{song.artist} - {song.title}" for song, _ in absent.most_common(3))
        print(f"{sum(absent.values())} plays are of songs that are not in the folder, or may be several: {examples}")


if __name__ == "__main__":
    recipe_tools.run_script(main)
