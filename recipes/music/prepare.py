"""A music folder as a table, to tune a model on it: what its tags, folders, playlists and ratings say.

    python recipes/music/prepare.py ~/Music out/music

A row is a sound file that can be indexed by its name. Columns, each where the file has it:

- id: the path in the folder; audio: the whole path. Nothing is copied and nothing in the folder is changed.
- title, artist, album, year: from the tags, or else as far as file names and folders plainly say them; of several
  artists the first.
- musicbrainz_recordingid: from the tags.
- playlists: names of the .m3u and .m3u8 files under the folder that list the file. Entries are found as paths from the
  playlist, or else by the end of their path where only one file has it, so that playlists of another computer work.
- rating: 1 to 5 stars, from POPM, RATING, FMPS_RATING or WM/SharedUserRating. 0 means unrated.
- caption: comments of at least three words, without what programs write there.
- groups: what songs are alike by: "artist: NAME", "album: ARTIST / NAME" and "playlist: NAME". The recipe
  `music/library` learns from this column alone, so a folder without playlists or without albums works too.

Splits: by artist, so that nothing of an artist is on two sides: a tenth of them is `test`, a tenth of the others `dev`.
Guests ("feat.") do not make another artist. A file without an artist goes with the other files of its folder. With
fewer than five artists all rows are `train`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jointembed import recipe_tools
from jointembed.audio.workers.tags import clean, tags
from jointembed.cli.progress import track
from jointembed.errors import UsageError
from jointembed.files import path_to_text, sound_path
from jointembed.index.backends.base import Root
from jointembed.index.backends.scan_files import File, display_path
from jointembed.ingest.path_metadata import PathMetadata
from jointembed.ingest.walk import Walk

FETCH = "give the folder of your music, then the folder to write"
MIN_ARTISTS_TO_SPLIT = 5
MIN_WORDS_IN_CAPTION = 3
MAX_PLAYLIST_BYTES = 16 << 20
PLAYLIST_EXTENSIONS = {".m3u", ".m3u8"}
COMMENT_KEYS = ("comment", "description", "\xa9cmt", "desc", "WM/Comments", "Description")
WRITTEN_BY_PROGRAMS = re.compile(r"https?:|www\.|[0-9A-F]{8}|\bEAC\b|\bLAME\b|ripped|encoded|downloaded", re.IGNORECASE)
GUESTS = re.compile(r"\s*[(\[]?\b(?:feat\.?|ft\.?|featuring)\s.*", re.IGNORECASE)


def find_songs(folder: Path) -> list[bytes]:
    """The paths in a folder of the files that are sounds by their name."""
    entries = [entry for entry in Walk(Root(str(folder))) if isinstance(entry, File)]
    return list(dict.fromkeys(sound_path(entry.path) for entry in entries))


def read_stars(path: Path) -> int | None:
    """The rating of a file, 1 to 5 stars; None if it has none or cannot be read."""
    for key, value in read_raw_tags(path):
        try:
            name = key.upper()
            if name.startswith("POPM"):
                # The borders between 1, 64, 128, 196 and 255, which most players write.
                stars = sum(value.rating >= border for border in (1, 32, 96, 160, 224))
            elif name == "FMPS_RATING":
                stars = round(5 * float(first_text(value)))
            elif name == "WM/SHAREDUSERRATING":
                stars = round(1 + float(first_text(value)) / 25)  # from 1, 25, 50, 75 and 99
            elif name == "RATING":
                number = float(first_text(value))
                stars = round(number if number <= 5 else number / 20)  # of 5 or of 100
            else:
                continue
        except (ValueError, AttributeError):
            continue
        if 1 <= stars <= 5:
            return stars
    return None


def read_captions(path: Path) -> list[str]:
    """The comments of a file that people may have written."""
    texts = []
    for key, value in read_raw_tags(path):
        if key in COMMENT_KEYS or (key.startswith("COMM:") and not key.startswith("COMM:iTun")):
            text = clean(first_text(value))
            if len(text.split()) >= MIN_WORDS_IN_CAPTION and not WRITTEN_BY_PROGRAMS.search(text):
                texts.append(text)
    return list(dict.fromkeys(texts))


def read_raw_tags(path: Path) -> list[tuple[str, Any]]:
    """The tags of a file as it has them; none if they cannot be read."""
    import mutagen

    try:
        raw = getattr(mutagen.File(path), "tags", None)
        return [(str(key), raw[key]) for key in list(raw.keys())] if raw else []
    except Exception:
        return []  # a damaged tag must not cost the song


def first_text(value: Any) -> str:
    """The text of a tag, or the first of its texts."""
    value = getattr(value, "text", value)
    if isinstance(value, list | tuple):
        value = value[0] if value else ""
    return str(value)


def find_playlists(folder: Path) -> Iterator[Path]:
    """The playlists of a folder, in the order of their paths."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in PLAYLIST_EXTENSIONS and not name.startswith("."):
                yield Path(place, name)


def read_playlist(path: Path) -> list[str]:
    """The entries of a playlist, with slashes.

    Raises:
        UsageError: it is too large to be a playlist.
    """
    if path.stat().st_size > MAX_PLAYLIST_BYTES:
        raise UsageError(path, f"the playlist has more than {MAX_PLAYLIST_BYTES} bytes", "move it out of the folder")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    entries = [unquote(line[7:]) if line.startswith("file://") else line for line in lines if line[:1] not in ("", "#")]
    return [entry.replace("\\", "/") for entry in entries]


class SongFinder:
    """Finds the songs of a folder that entries of playlists mean.

    Args:
        folder: of the songs.
        songs: their paths in it.
    """

    def __init__(self, folder: Path, songs: Iterable[str]) -> None:
        self.folder = folder.resolve()
        self.by_path = {normalize_path(song): song for song in songs}
        self.by_end: dict[str, set[str]] = defaultdict(set)
        for path, song in self.by_path.items():
            parts = path.split("/")
            for start in range(len(parts)):
                self.by_end["/".join(parts[start:])].add(song)

    def find(self, entry: str, playlist: Path) -> str | None:
        """The path of the song that an entry of a playlist means; None if it is absent or ambiguous."""
        place = os.path.normpath(os.path.join(playlist.resolve().parent, entry))
        song = self.by_path.get(normalize_path(os.path.relpath(place, self.folder)))
        if song is not None:
            return song
        parts = normalize_path(entry).split("/")
        for start in range(len(parts)):  # the longest end first
            songs = self.by_end.get("/".join(parts[start:]), set())
            if songs:
                return next(iter(songs)) if len(songs) == 1 else None
        return None


def normalize_path(path: str) -> str:
    """A path as it is compared: players differ in case and in the form of accents."""
    return unicodedata.normalize("NFC", path).casefold()


def plain(name: str) -> str:
    """What the spellings of an artist have in common: no case, no guests, no article."""
    name = GUESTS.sub("", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\W_]+", " ", re.sub(r"^the\s+|,\s*the$", "", name)).strip() or name


def describe(folder: Path, song: bytes, metadata: PathMetadata) -> recipe_tools.Row:
    """The row of a song, without its playlists and its split."""
    path = folder.resolve() / os.fsdecode(song)
    cells: dict[str, Any] = metadata.infer(song) | tags(os.fsencode(path))
    row: recipe_tools.Row = {"id": display_path(song), "audio": path_to_text(os.fsencode(path))}
    if isinstance(cells.get("artist"), list):
        cells["artist"] = cells["artist"][0]
    row |= {name: cells[name] for name in ("title", "artist", "album", "musicbrainz_recordingid") if name in cells}
    if "year" in cells:
        row["year"] = int(cells["year"])
    if stars := read_stars(path):
        row["rating"] = stars
    if captions := read_captions(path):
        row["caption"] = captions
    return row


def group(row: recipe_tools.Row) -> list[str]:
    """What a row has in common with others."""
    artist, album = row.get("artist"), row.get("album")
    groups = [f"artist: {plain(artist)}"] if artist else []
    if album:
        # Many artists have an album of "Greatest Hits", and many folders a compilation.
        owner = plain(artist) if artist else os.path.dirname(row["id"])
        groups.append(f"album: {owner} / {album}")
    return groups + [f"playlist: {name}" for name in row.get("playlists", [])]


def split_by_artist(rows: list[recipe_tools.Row]) -> None:
    """Give each row its split; rows of an artist get the same."""
    owners = [plain(row["artist"]) if "artist" in row else "folder " + os.path.dirname(row["id"]) for row in rows]
    test, dev = set[str](), set[str]()
    if len(set(owners)) >= MIN_ARTISTS_TO_SPLIT:
        test = recipe_tools.hold_out(owners, 0.1)
        dev = recipe_tools.hold_out([owner for owner in owners if owner not in test], 0.1)
    for row, owner in zip(rows, owners, strict=True):
        row["split"] = "test" if owner in test else "dev" if owner in dev else "train"


def main() -> None:
    sources, out, options = recipe_tools.Arguments(__doc__, FETCH).read()
    if len(sources) > 1:
        raise UsageError(sources[1], "one folder of music is expected", FETCH)
    folder = sources[0]
    songs = find_songs(folder)
    if not songs:
        raise UsageError(folder, "no file in it has the name of a sound file", FETCH)
    metadata = PathMetadata([Root(str(folder.resolve()))])
    rows = [describe(folder, song, metadata) for song in track(songs, "Reading tags")]
    by_song = {row["id"]: row for row in rows}
    finder, missing = SongFinder(folder, by_song), 0
    for playlist in find_playlists(folder):
        for entry in read_playlist(playlist):
            song = finder.find(entry, playlist)
            if song is None:
                missing += 1
            elif playlist.stem not in (names := by_song[song].setdefault("playlists", [])):
                names.append(playlist.stem)
    for row in rows:
        if groups := group(row):
            row["groups"] = groups
    split_by_artist(rows)
    if not any("groups" in row for row in rows):
        raise UsageError(folder, "no file has an artist, an album or a playlist", "add tags, or .m3u8 playlists")
    recipe_tools.write_rows(out, rows, split=options.split)
    counts = {name: sum(name in row for row in rows) for name in ("artist", "album", "playlists", "rating", "caption")}
    print("rows with " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if missing:
        print(f"{missing} entries of playlists are not in the folder, or several files may be meant")


if __name__ == "__main__":
    recipe_tools.run_script(main)
