"""The title, artist, album, year and track of a sound file as its name and folders plainly say.

An album is a folder of numbered tracks, of discs, or with a year beside its name; its artist is the folder above it, or
stands before a dash. Where the files of a folder disagree, or a folder may be an artist, an album or a genre, nothing
is said. The folder that is indexed says nothing at all.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from ..audio.formats import AUDIO_EXTENSIONS
from ..index.backends.base import Root
from ..index.backends.scanned import display_path, stem
from ..index.titles import fold

FOLDERS_REMEMBERED = 256
FIRST_YEAR_OF_RECORDINGS, LAST_YEAR = 1890, 2100
_DASH = re.compile(r"\s+[-–—]\s+")
_NUMBER = re.compile(
    r"[\[(]?(?:(?P<disc>\d{1,2})[-.](?=\d\d))?(?P<track>\d{1,3})(?:\s*[-–—.)\]]\s*|\s+)(?P<title>\S.*)"
)
_ARTIST_ALBUM_TRACK = re.compile(r"(?P<artist>.+?) - (?P<album>.+) - (?P<track>\d\d)(?: -|\.)? (?P<title>\S.*)")
_YEAR_BEFORE = re.compile(r"(?:[\[(](\d{4})[\])]\s*(?:[-–—]\s*)?|(\d{4})\s+[-–—]\s+)(?=\S)")
_YEAR_BEHIND = re.compile(r"(?<=\S)\s*[\[(](\d{4})[\])]$")
_FORMAT = re.compile(
    r"(?<=\S)\s*[\[({](?:flac|mp3|ogg|opus|aac|wav|320|v[0-2]|web|vinyl|lossless|\d+ ?kbps|\d\d-\d\d|\d\d ?bit)\b"
    r"[^\])}]*[\])}]$",
    re.IGNORECASE,
)
_DISC = re.compile(r"(?:cd|dis[ck]|lp)[\s._-]*\d{1,2}\b.*|(?:side|dis[ck]|cd)[\s._-]+[a-d]|bonus(?:[\s_]\w+)?", re.I)
_DISC_BEHIND = re.compile(r"(?<=\S)[\s._,-]*[\[(]?(?:cd|dis[ck])[\s._-]*\d{1,2}[\])]?$", re.I)
_WORK = re.compile(r"\b(?:no\.?|op\.?|symphony|sonata|concerto|suite|act|part|chapter|vol\.?|disc|cd) ?\d", re.I)
_MOVEMENT = re.compile(r"(?:[IVX]+|\d+)[.:)]\s")
_SHELF = re.compile(r"[a-z0-9]( [a-z0-9])?|\d+s?")  # "a", "a-f" once folded, "1990s"
_COMPILATIONS = {"various artists", "various", "va", "v a", "compilations", "compilation"}
_GENERAL_FOLDERS = frozenset(
    (
        "music, my music, songs, audio, sound, sounds, media, itunes, itunes media, library, mp3, mp3s, flac, ogg, "
        "wav, lossless, downloads, download, desktop, albums, artists, singles, eps, live, tracks, soundtracks, "
        "soundtrack, ost, scores, misc, miscellaneous, other, unsorted, unknown, unknown artist, unknown album, "
        "new, old, backup, playlists, podcasts, audiobooks, mixes, remixes, demos, covers, classical music, world, "
        "movies, games, karaoke, favorites, favourites, best"
    ).split(", ")
)


@dataclass(frozen=True)
class _Album:
    """The name of a folder, understood as that of an album."""

    name: str
    artist: str | None
    year: int | None
    is_certain: bool  # no artist has such a name


@dataclass(frozen=True)
class _Stem:
    """The name of a file, understood: its parts between dashes, behind the number of a track."""

    parts: list[str]
    track: int | None = None


class _Folder:
    """The names in a folder: those of its sound files without extension, and those of its subfolders."""

    def __init__(self, path: bytes) -> None:
        self.stems: set[str] = set()
        self.subfolders: list[str] = []
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                name = display_path(entry.name)
                if entry.is_dir():
                    self.subfolders.append(name)
                elif os.path.splitext(entry.name)[1].lower() in AUDIO_EXTENSIONS:
                    self.stems.add(stem(name))

    @cached_property
    def is_numbered(self) -> bool:
        """Whether all of its sound files begin with the number of a track."""
        matches = [_NUMBER.fullmatch(_spaced(name)) for name in self.stems]
        tracks = [match for match in matches if match is not None]
        numbers = {(match["disc"], int(match["track"])) for match in tracks}
        if not tracks or len(tracks) < len(matches) or len(numbers) < len(tracks):
            return False
        if any(match["track"].startswith("0") or match["disc"] for match in tracks):
            return True
        # "99 Luftballons" and "7 Years" are titles; 1 to 12 are tracks.
        is_dense = min(numbers)[1] == 1 and max(number for _, number in numbers) <= 2 * len(numbers)
        return len(tracks) > 1 and is_dense

    @cached_property
    def parsed(self) -> dict[str, _Stem]:
        """Its sound files, understood."""
        return {name: self._parse(name) for name in self.stems}

    @cached_property
    def has_artists(self) -> bool:
        """Whether all of its sound files are called ARTIST - TITLE, behind their numbers."""
        pairs = [file.parts for file in self.parsed.values()]
        if len(pairs) < 2 and not self.is_numbered or any(len(parts) != 2 for parts in pairs):
            return False
        return not any(_WORK.search(artist) or _MOVEMENT.match(title) for artist, title in pairs)

    @property
    def album_folders(self) -> list[str]:
        """Its subfolders but those of discs."""
        return [name for name in self.subfolders if not _DISC.fullmatch(name)]

    def _parse(self, name: str) -> _Stem:
        name = _spaced(name)
        if not self.is_numbered:
            return _Stem(_DASH.split(name))
        match = _NUMBER.fullmatch(name)
        assert match is not None
        return _Stem(_DASH.split(match["title"]), int(match["track"]) or None)


class PathMetadata:
    """Reads the metadata of sound files off their paths, and the names beside them.

    Args:
        roots: the folders that the paths start from.
    """

    def __init__(self, roots: Sequence[Root]) -> None:
        self._folders = {os.fsencode(root.label): os.fsencode(root.folder) for root in roots}
        self._folder = lru_cache(FOLDERS_REMEMBERED)(_Folder)
        self._infer_from_folders = lru_cache(FOLDERS_REMEMBERED)(self._parse_folders)

    def infer(self, path: bytes) -> dict[str, Any]:
        """The `title` of a file, and those of its `artist`, `album`, `year` and `track` that are plain to see.

        The title is the name of the file, without its number and its artist where it begins with them.
        """
        label, separator, relative = path.rpartition(b"//")
        place, name = os.path.split(relative)
        title = stem(display_path(name))
        if match := _ARTIST_ALBUM_TRACK.fullmatch(title):
            return {**match.groupdict(), "track": int(match["track"])}
        top = self._folders[label + separator]
        folder = self._folder(os.path.join(top, place))
        cells = dict(self._infer_from_folders(top, place))
        file = folder.parsed.get(title)
        if file is None:  # it is gone
            return {"title": title}
        artist, parts = cells.get("artist"), file.parts
        if len(parts) > 1 and artist is not None and fold(parts[0]) == fold(artist):
            parts = parts[1:]
        elif artist is None and folder.has_artists:
            cells["artist"], parts = parts[0], parts[1:]
        # Parts keep the dashes that they were written with if no part was taken away.
        cells["title"] = " - ".join(parts) if file.track is not None or len(parts) < len(file.parts) else title
        if file.track is not None:
            cells["track"] = file.track
        return cells

    def _parse_folders(self, top: bytes, place: bytes) -> dict[str, Any]:
        """The artist, album and year of the files of a folder."""
        places = place.split(b"/") if place else []
        has_discs = False
        while places and _DISC.fullmatch(display_path(places[-1])):
            places, has_discs = places[:-1], True
        names = [display_path(part) for part in places]
        first = next((at for at, name in enumerate(names) if not _is_general(name)), len(names))
        names = names[first:]
        if not names:
            return {}
        album = _parse_album(names[-1])
        if has_discs or _DISC_BEHIND.search(names[-1]):
            album = replace(album, name=_DISC_BEHIND.sub("", album.name), is_certain=True)
        if album.artist is not None:
            if fold(album.artist) in _COMPILATIONS:
                album = replace(album, artist=None)
            return _without_none({"artist": album.artist, "album": album.name, "year": album.year})
        if _is_general(album.name):
            return {}
        if len(names) == 1:
            return self._infer_from_one_folder(album, os.path.join(top, *places))
        if not (album.is_certain or self._folder(os.path.join(top, place)).is_numbered):
            return {}
        parent = self._folder(os.path.join(top, *places[:-1]))
        if parent.is_numbered and len(parent.album_folders) < 2:
            return {}  # the parent may be the album
        artist = names[0] if len(names) == 2 and _is_artist(names[0], parent) else None
        return _without_none({"artist": artist, "album": album.name, "year": album.year})

    def _infer_from_one_folder(self, album: _Album, path: bytes) -> dict[str, Any]:
        """A single folder is an artist if it holds albums, and an album only if its name says so."""
        folder = self._folder(path)
        if len(folder.album_folders) > 1 and _is_artist(album.name, folder):
            return {"artist": album.name}
        return _without_none({"album": album.name, "year": album.year}) if album.is_certain else {}


def _is_artist(name: str, folder: _Folder) -> bool:
    """Whether a folder that holds albums can have the name of their artist."""
    if _is_general(name) or fold(name) in _COMPILATIONS or _DASH.search(name) or _parse_album(name).is_certain:
        return False
    artists = {_parse_album(subfolder).artist for subfolder in folder.album_folders} - {None}
    return all(fold(str(artist)) == fold(name) for artist in artists)


def _parse_album(name: str) -> _Album:
    """A folder's name as ARTIST - ALBUM, with a year before, between or behind them, without notes of the format."""
    text, year = _spaced(name), None
    for _ in range(3):
        text = _FORMAT.sub("", text)
        if year is None and (match := _YEAR_BEHIND.search(text)) and _is_year(match[1]):
            text, year = text[: match.start()], int(match[1])
    if (match := _YEAR_BEFORE.match(text)) and _is_year(str(match[1] or match[2])):
        text, year = text[match.end() :], year or int(match[1] or match[2])
    parts = _DASH.split(text)
    years = [part for part in parts[1:] if _is_year(part)]
    if len(parts) == 3 and len(years) == 1:
        parts, year = [part for part in parts if part != years[0]], year or int(years[0])
    if len(parts) == 2 and not _is_general(parts[0]):
        return _Album(parts[1], parts[0], year, True)
    return _Album(" - ".join(parts), None, year, year is not None)


def _is_year(text: str) -> bool:
    return bool(re.fullmatch(r"\d{4}", text)) and FIRST_YEAR_OF_RECORDINGS <= int(text) < LAST_YEAR


def _is_general(name: str) -> bool:
    """Whether a folder's name is that of a shelf: a genre, a letter, a format, a word such as Music."""
    folded = fold(name)
    return folded in _GENERAL_FOLDERS or folded in _genres() or bool(_SHELF.fullmatch(folded))


@lru_cache(1)
def _genres() -> frozenset[str]:
    from mutagen.id3 import TCON

    return frozenset(fold(genre) for genre in TCON.GENRES)


def _spaced(name: str) -> str:
    """A name whose words are joined by underscores, with spaces instead."""
    return name if " " in name else name.replace("_", " ").strip()


def _without_none(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in cells.items() if cell is not None}
