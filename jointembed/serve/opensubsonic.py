"""Routes for music players: the OpenSubsonic extension `sonicSimilarity`, and what of Subsonic an index can answer.

The extension is that of https://opensubsonic.netlify.app/docs/extensions/sonicsimilarity/. An index has songs, but no
ids of artists and albums: songs alone have similar songs, also in `getSimilarSongs2`, and nothing can be browsed.
Sounds and covers are sent as they are, whatever bit rate or size a client asks for.
"""

from __future__ import annotations

import math
import posixpath
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from ..errors import UserError
from ..index.hits import Hit
from ..index.index import Index
from ..index.path import MAX_PATH_ITEMS
from ..index.track import track_times
from . import audio
from .errors import public_message
from .live_index import LiveIndex
from .song_lookup import SongLookup, recording_id
from .subsonic_protocol import (
    GENERIC,
    NOT_FOUND,
    Credentials,
    SubsonicError,
    Values,
    private_id,
    public_id,
    read_count,
    read_text,
    read_values,
    render,
    render_error,
)
from .workers import Workers

_MAX_COUNT = 1_000
_MATCHES, _PATH_SONGS, _SIMILAR_SONGS = 10, 25, 50  # by default
_EXTENSIONS = ("formPost", "sonicSimilarity")
_SONG = {"id": "the song: its id here, its MusicBrainz recording id, or its path"}
_ENDS = {"startSongId": _SONG["id"] + ", where the path begins", "endSongId": "the song where it ends"}
_COMMON = {
    "u": "the user",
    "t": "md5(password + salt), in hexadecimal digits",
    "s": "the salt",
    "p": "instead of t and s: the password, or enc: and its bytes in hexadecimal digits",
    "apiKey": "instead of u, t, s and p: the token of the server",
    "f": "xml, the default, or json",
}

Answer = Mapping[str, Any] | Response


def add_routes(
    app: FastAPI,
    live: LiveIndex,
    searches: Workers,
    covers: Workers,
    roots: Sequence[str],
    credentials: Callable[[], Credentials],
) -> None:
    """Add the routes, `/rest/NAME` and `/rest/NAME.view`, which take their parameters from the URL or a form.

    Args:
        app: the app.
        live: the index.
        searches: the threads that answer.
        covers: the threads that read covers.
        roots: folders that sounds may be in, beside the index's own.
        credentials: returns what a client must present, but to list the extensions.
    """
    songs = Songs(live, roots)

    def add(name: str, summary: str, answer: Callable[[Values], Answer], *texts: Mapping[str, str]) -> None:
        async def endpoint(request: Request) -> Response:
            is_json = False
            try:
                values = await read_values(request)
                is_json = _is_json(values)
                if name != "getOpenSubsonicExtensions":  # a client asks for them before it has credentials
                    credentials().check(values)
                workers = covers if name == "getCoverArt" else searches
                # What tells nothing of a song needs no index: nobody without credentials can fill the queue.
                result = await workers.run(request, answer, values) if texts else answer(values)
                return result if isinstance(result, Response) else render(result, is_json)
            except SubsonicError as error:
                return render_error(error, is_json)
            except HTTPException as error:
                return render_error(SubsonicError(GENERIC, error.detail), is_json)
            except UserError as error:
                return render_error(SubsonicError(GENERIC, public_message(error, with_fix=True)), is_json)

        described = [_describe(*text) for group in (*texts, _COMMON) for text in group.items()]
        for path in (f"/rest/{name}", f"/rest/{name}.view"):
            is_shown = not path.endswith(".view")
            extra = {"parameters": described}
            app.add_api_route(path, endpoint, summary=summary, openapi_extra=extra, include_in_schema=is_shown)
            app.add_api_route(path, endpoint, methods=["POST"], include_in_schema=False)

    def list_extensions(_: Values) -> Answer:
        names = [*_EXTENSIONS, *(["apiKeyAuthentication"] if credentials().api_key else [])]
        return {"openSubsonicExtensions": [{"name": name, "versions": [1]} for name in sorted(names)]}

    add("ping", "Whether the server is up and the credentials are right", lambda _: {})
    add("getLicense", "That the server is free", lambda _: {"license": {"valid": True}})
    add(
        "getOpenSubsonicExtensions",
        "The OpenSubsonic extensions of this server; open without credentials",
        list_extensions,
    )
    add("tokenInfo", "The user that the credentials are of", lambda _: {"tokenInfo": {"username": credentials().user}})
    add("getSong", "A song", songs.get_song, _SONG)
    add(
        "getSonicSimilarTracks",
        "Songs that sound similar, with scores",
        songs.get_sonic_similar_tracks,
        _SONG,
        _count(_MATCHES),
    )
    add("findSonicPath", "A path of songs from one song to another", songs.find_sonic_path, _ENDS, _count(_PATH_SONGS))
    add("getSimilarSongs", "Songs that sound similar", songs.get_similar_songs, _SONG, _count(_SIMILAR_SONGS))
    add("getSimilarSongs2", "Songs that sound similar", songs.get_similar_songs2, _SONG, _count(_SIMILAR_SONGS))
    add("stream", "The sound file of a song", songs.stream, _SONG)
    add("getCoverArt", "The picture in the sound file of a song", songs.get_cover_art, _SONG)


class Songs:
    """The answers about songs.

    Args:
        live: the index.
        roots: folders that sounds may be in, beside the index's own.
    """

    def __init__(self, live: LiveIndex, roots: Sequence[str]) -> None:
        self._live, self._roots = live, roots
        self._lookup: SongLookup | None = None
        self._lock = threading.Lock()

    def get_song(self, values: Values) -> Answer:
        """Answer with the details of a song."""
        with self._live.read() as index:
            return {"song": _child(index.row(self._find(index, values)))}

    def get_sonic_similar_tracks(self, values: Values) -> Answer:
        """Answer with the songs nearest to a song and their similarities, most similar first."""
        with self._live.read() as index:
            hits = self._find_similar(index, values, _MATCHES)
            metric = index.field_info().metric
            return _matches([(hit.row, _similarity(hit.score, metric)) for hit in hits])

    def get_similar_songs(self, values: Values) -> Answer:
        """Answer with the songs nearest to a song."""
        with self._live.read() as index:
            hits = self._find_similar(index, values, _SIMILAR_SONGS)
        return {"similarSongs": {"song": [_child(hit.row) for hit in hits]}}

    def get_similar_songs2(self, values: Values) -> Answer:
        """Answer as `get_similar_songs`, under the name that this answer has."""
        with self._live.read() as index:
            hits = self._find_similar(index, values, _SIMILAR_SONGS)
        return {"similarSongs2": {"song": [_child(hit.row) for hit in hits]}}

    def find_sonic_path(self, values: Values) -> Answer:
        """Answer with a path of songs, with both ends; the similarities are those with the first song."""
        count = read_count(values, _PATH_SONGS, 2, MAX_PATH_ITEMS)
        with self._live.read() as index, index.reading() as snapshot:
            start, end = (self._find_analyzed(index, values, name) for name in ("startSongId", "endSongId"))
            if start == end:
                return _matches([(index.row(start), 1.0)])
            rows = [hit.row for hit in index.path_between(start, end, count)]
            view = snapshot.field(None)
            positions = np.array([snapshot.position(row["id"], None) for row in rows])
            scores = view.rescore(positions, view.take(positions[:1])[0])
            return _matches([(row, _similarity(score, view.metric)) for row, score in zip(rows, scores, strict=True)])

    def stream(self, values: Values) -> Answer:
        """Answer with the sound file of a song, which is never converted."""
        with self._live.read() as index:
            row = index.row(self._find(index, values))
            path = audio.find_sound(row, index.info, self._roots)
        if path is None or track_times(row):
            reason = "a track of a longer file cannot be streamed alone" if path else "this song has no file here"
            raise SubsonicError(NOT_FOUND, reason)
        return FileResponse(path, media_type=audio.media_type(path))

    def get_cover_art(self, values: Values) -> Answer:
        """Answer with the picture in the sound file of a song."""
        with self._live.read() as index:
            path = audio.find_sound(index.row(self._find(index, values)), index.info, self._roots)
        answer = audio.answer_cover(path, None)
        if answer.status_code != 200:
            raise SubsonicError(NOT_FOUND, "this song has no cover")
        return answer

    def _find_similar(self, index: Index, values: Values, default: int) -> list[Hit]:
        count = read_count(values, default, 1, _MAX_COUNT)
        return index.similar(self._find_analyzed(index, values, "id"), count)

    def _find_analyzed(self, index: Index, values: Values, name: str) -> str:
        """The id of a song that has a vector."""
        id = self._find(index, values, name)
        with index.reading() as snapshot:
            if not len(snapshot.positions([id], None)):
                raise SubsonicError(NOT_FOUND, f"{name}: this song is not analyzed")
        return id

    def _find(self, index: Index, values: Values, name: str = "id") -> str:
        """The id of the song that a parameter names."""
        text = read_text(values, name)
        for id in (text, private_id(text)):
            if id is not None and index.has(id):
                return id
        with self._lock:
            lookup = self._lookup
            if lookup is None or lookup.version != index.version:
                lookup = self._lookup = SongLookup(index)
        id = lookup.find(text)
        if id is None:
            raise SubsonicError(NOT_FOUND, f"{name}: no song, or more than one, has this id, recording or path")
        return id


def _matches(songs: Sequence[tuple[Mapping[str, Any], float]]) -> Answer:
    return {"sonicMatch": [{"entry": _child(row), "similarity": similarity} for row, similarity in songs]}


def _similarity(score: float | None, metric: str) -> float:
    """A score as a number from 0 to 1, for the same song; -1 if the metric has no largest score."""
    if score is None or metric == "dot":
        return -1.0
    if metric == "cosine":
        return round(min(1.0, max(0.0, (1 + float(score)) / 2)), 6)
    return round(1 / (1 + math.sqrt(max(0.0, -float(score)))), 6)


def _child(row: Mapping[str, Any]) -> dict[str, Any]:
    """A song as https://opensubsonic.netlify.app/docs/responses/child/ describes it, with what its row has."""
    path = next((row[name] for name in ("path", "audio") if isinstance(row.get(name), str)), "")
    suffix = posixpath.splitext(path)[1]
    artist, genres = ", ".join(_texts(row.get("artist"))), _texts(row.get("genre"))
    title = [*_texts(row.get("title")), *_texts(row.get("name")), posixpath.basename(path), str(row["id"])]
    child = {
        "id": public_id(str(row["id"])),
        "isDir": False,
        "isVideo": False,
        "type": "music",
        "mediaType": "song",
        "title": next(filter(None, title)),
        "artist": artist,
        "album": ", ".join(_texts(row.get("album"))),
        "genre": next(iter(genres), ""),
        "track": _whole(row.get("track")),
        "year": _whole(row.get("year")),
        "duration": _whole(row.get("seconds")),
        "path": path,
        "suffix": suffix[1:].lower(),
        "contentType": audio.media_type(path) if suffix else "",
        "coverArt": public_id(str(row["id"])) if path else "",
    }
    always = {
        "displayArtist": artist,
        "musicBrainzId": recording_id(row),
        "genres": [{"name": genre} for genre in genres],
    }
    return {name: value for name, value in child.items() if value not in ("", None)} | always


def _texts(cell: Any) -> list[str]:
    cells = cell if isinstance(cell, list) else [cell]
    return [str(text) for text in cells if isinstance(text, str | int | float) and text != ""]


def _whole(cell: Any) -> int | None:
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell)
    return round(cell) if is_number else None


def _is_json(values: Values) -> bool:
    formats = values.get("f", ["xml"])
    if formats not in (["xml"], ["json"]):
        raise SubsonicError(GENERIC, "f: must be xml or json")
    return formats == ["json"]


def _count(default: int) -> dict[str, str]:
    return {"count": f"the largest number of songs, up to {_MAX_COUNT:,}; {default} by default"}


def _describe(name: str, description: str) -> dict[str, Any]:
    is_count = name == "count"
    schema: dict[str, Any] = {"type": "integer", "minimum": 1} if is_count else {"type": "string"}
    is_required = name in (*_SONG, *_ENDS)
    return {"name": name, "in": "query", "required": is_required, "description": description, "schema": schema}
