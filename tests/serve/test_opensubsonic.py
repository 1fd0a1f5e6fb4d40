"""What music players get: answers in XML and JSON, to those who present the credentials alone."""

import asyncio
import hashlib
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote, urlencode

import mutagen.id3
import numpy as np
import pytest
import sound_files
from web_server import DIM, Client, ask, get_json, serving, unit

from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.index.backends.base import Changes, Root
from jointembed.index.index import Index
from jointembed.serve import open_server
from jointembed.serve.song_lookup import SongLookup

ACCOUNT, TOKEN = "ann:correct horse é", "a-token-of-16-signs"
PASSWORD = ACCOUNT.partition(":")[2]
SALT = "c19b2d"
PLAIN = {"u": "ann", "p": PASSWORD}
SALTED = {"u": "ann", "t": hashlib.md5((PASSWORD + SALT).encode()).hexdigest(), "s": SALT}
RECORDING = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
XMLNS = "{http://subsonic.org/restapi}"
ENDPOINTS = {  # with what an answer holds
    "ping": ({}, None),
    "getLicense": ({}, "license"),
    "getOpenSubsonicExtensions": ({}, "openSubsonicExtensions"),
    "tokenInfo": ({}, "tokenInfo"),
    "getSong": ({"id": "A/One/1.wav"}, "song"),
    "getSonicSimilarTracks": ({"id": "A/One/1.wav", "count": 3}, "sonicMatch"),
    "findSonicPath": ({"startSongId": "A/One/1.wav", "endSongId": "B/Two/2.wav", "count": 4}, "sonicMatch"),
    "getSimilarSongs": ({"id": "A/One/1.wav", "count": 2}, "similarSongs"),
    "getSimilarSongs2": ({"id": "A/One/1.wav", "count": 2}, "similarSongs2"),
}


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """An index of a folder of songs."""
    folder = tmp_path_factory.mktemp("players")
    root = folder / "Music"
    names = [f"{artist}/{album}/{number}.wav" for artist in "AB" for album in ("One", "Two") for number in (1, 2)]
    rows = [
        {"id": name, "path": name, "title": f"Song {at}", "artist": name[0], "track": at, "seconds": 61.7}
        for at, name in enumerate(names)
    ]
    rows[1] |= {"musicbrainz_recordingid": RECORDING, "genre": ["jazz", "bop"], "artist": ["A & <B>", "Ärzte"]}
    rows[1] |= {"album": "Q\x07A", "year": 1959}
    rows += [{"id": "caf\udce9.wav", "path": "caf\udce9.wav"}, {"id": "top.wav", "path": "top.wav"}]
    rows += [{"id": f"B/long.wav#{at}", "path": "B/long.wav", "start": 9.0 * at, "seconds": 9.0} for at in range(2)]
    for row in rows:
        path = os.fsencode(root) + b"/" + os.fsencode(row["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"RIFF" + os.fsencode(row["id"]) * 50)
    with Index.create(folder / "songs.index", DIM, "cosine", root=str(root)) as index:
        index.add(rows, unit(len(rows)), "audio")
    return folder / "songs.index"


@pytest.fixture(scope="module")
def port(songs):
    with serving(songs, opensubsonic=ACCOUNT, token=TOKEN) as port:
        yield port


def call(port, name, values=(), account=PLAIN, method="GET", **more):
    """The status, headers and body of an answer."""
    text = urlencode([*dict(values).items(), *account.items()], errors="surrogateescape")
    if method == "POST":
        kind = ["Content-Type: application/x-www-form-urlencoded; charset=utf-8"]
        return ask(port, f"/rest/{name}", method, kind, text.encode(), **more)
    return ask(port, f"/rest/{name}?{text}", method, **more)


def call_json(port, name, values=(), account=PLAIN, method="GET"):
    status, headers, body = call(port, name, {**dict(values), "f": "json"}, account, method)
    assert (status, headers["content-type"]) == (200, "application/json"), body
    answer = json.loads(body)["subsonic-response"]
    assert (answer["version"], answer["type"], answer["openSubsonic"]) == ("1.16.1", "jointembed", True)
    assert (answer["status"] == "failed") == ("error" in answer)
    return answer


def call_xml(port, name, values=(), account=PLAIN):
    status, headers, body = call(port, name, values, account)
    assert (status, headers["content-type"]) == (200, "application/xml"), body
    root = ElementTree.fromstring(body)
    assert root.tag == XMLNS + "subsonic-response" and root.get("openSubsonic") == "true"
    return root


def error_code(port, name, values=(), account=PLAIN):
    answer = call_json(port, name, values, account)
    xml = call_xml(port, name, values, account)
    code = answer.get("error", {}).get("code")
    error = xml.find(XMLNS + "error")
    assert xml.get("status") == answer["status"] and (None if error is None else int(error.get("code"))) == code
    assert code is None or "\n" not in answer["error"]["message"]
    return code


def flatten(value):
    """The JSON of an answer as its XML has it."""
    if isinstance(value, dict):
        return {
            name: [flatten(each) for each in (cell if isinstance(cell, list) else [cell])]
            if isinstance(cell, list | dict)
            else flatten(cell)
            for name, cell in value.items()
            if cell != []
        }
    return str(value).lower() if isinstance(value, bool) else str(value)


def unflatten(element):
    children = {}
    for child in element:
        children.setdefault(child.tag.removeprefix(XMLNS), []).append(
            unflatten(child) if child.attrib or len(child) else child.text
        )
    return {**element.attrib, **children}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_endpoint_answers_in_xml_and_json_to_get_and_post(port, name):
    values, key = ENDPOINTS[name]
    answer = call_json(port, name, values)
    assert answer["status"] == "ok" and set(answer) == {
        "status", "version", "type", "serverVersion", "openSubsonic", *([key] if key else []),
    }  # fmt: skip
    assert answer == call_json(port, name + ".view", values, SALTED)
    assert answer == call_json(port, name, values, method="POST")
    assert answer == call_json(port, name + ".view", values, {"apiKey": TOKEN}, method="POST")
    xml = unflatten(call_xml(port, name, values))
    assert xml == json.loads(json.dumps(flatten(answer)).replace(r"\u0007", r"\ufffd"))
    status, headers, body = call(port, name, values, method="HEAD")
    assert status == 200 and not body and int(headers["content-length"]) > 100


def test_song_is_described_by_its_row(port):
    song = call_json(port, "getSong", {"id": "A/One/2.wav"})["song"]
    assert song == {
        "id": "A/One/2.wav", "isDir": False, "isVideo": False, "type": "music", "mediaType": "song",
        "title": "Song 1", "artist": "A & <B>, Ärzte", "displayArtist": "A & <B>, Ärzte", "album": "Q\x07A",
        "genre": "jazz", "genres": [{"name": "jazz"}, {"name": "bop"}], "track": 1, "year": 1959, "duration": 62,
        "path": "A/One/2.wav", "suffix": "wav", "contentType": "audio/wav", "musicBrainzId": RECORDING,
        "coverArt": "A/One/2.wav",
    }  # fmt: skip
    assert call_json(port, "getSong", {"id": "top.wav"})["song"]["title"] == "top.wav"
    assert call_xml(port, "getSong", {"id": RECORDING})[0].get("artist") == "A & <B>, Ärzte"


def test_similar_songs_are_those_of_the_index_with_similarities_from_0_to_1(songs, port):
    with Index.open(songs) as index:
        hits = index.similar("A/One/1.wav", 1000)
    matches = call_json(port, "getSonicSimilarTracks", {"id": "A/One/1.wav", "count": 10**9})["sonicMatch"]
    assert len(matches) == len(hits) == 11
    assert [round(match["similarity"], 4) for match in matches] == [round((1 + hit.score) / 2, 4) for hit in hits]
    ids = [match["entry"]["id"] for match in matches]
    assert [id for id in ids if "caf" not in id and "hex" not in id] == [h.id for h in hits if "caf" not in h.id]
    assert len(call_json(port, "getSonicSimilarTracks", {"id": "A/One/1.wav"})["sonicMatch"]) == 10
    for name, key in (("getSimilarSongs", "similarSongs"), ("getSimilarSongs2", "similarSongs2")):
        assert [song["id"] for song in call_json(port, name, {"id": "A/One/1.wav"})[key]["song"]] == ids


def test_path_begins_and_ends_with_its_songs_and_is_that_of_the_index(songs, port):
    ends = {"startSongId": "A/One/1.wav", "endSongId": "B/Two/2.wav"}
    with Index.open(songs) as index:
        expected = [hit.id for hit in index.path_between(*ends.values(), 5)]
        scores = {hit.id: hit.score for hit in index.similar("A/One/1.wav", 100)}
    path = call_json(port, "findSonicPath", {**ends, "count": 5})["sonicMatch"]
    assert [match["entry"]["id"] for match in path] == expected
    assert path[0]["similarity"] == 1
    assert [match["similarity"] for match in path[1:]] == pytest.approx(
        [(1 + scores[id]) / 2 for id in expected[1:]], abs=1e-5
    )
    assert len(call_json(port, "findSonicPath", {**ends, "count": 10**9})["sonicMatch"]) == 12
    [alone] = call_json(port, "findSonicPath", {**ends, "endSongId": "A/One/1.wav"})["sonicMatch"]
    assert alone["similarity"] == 1


@pytest.mark.parametrize("metric, least, most", [("euclidean", 0, 1), ("dot", -1, -1)])
def test_similarities_of_other_metrics(tmp_path, metric, least, most):
    with Index.create(tmp_path / "a.index", DIM, metric) as index:
        index.add([{"id": str(at)} for at in range(9)], 3 * unit(9), "audio")
    with serving(tmp_path / "a.index", opensubsonic=ACCOUNT) as port:
        matches = call_json(port, "getSonicSimilarTracks", {"id": "1"})["sonicMatch"]
        path = call_json(port, "findSonicPath", {"startSongId": "1", "endSongId": "2", "count": 4})["sonicMatch"]
    scores = [match["similarity"] for match in matches]
    assert len(scores) == 8 and scores == sorted(scores, reverse=True)
    assert all(least <= score <= most for score in scores) and len(path) == 4
    assert path[0]["similarity"] == most


ACCOUNTS = {
    "plain": (PLAIN, None),
    "hexadecimal": ({"u": "ann", "p": "enc:" + PASSWORD.encode().hex()}, None),
    "salted": (SALTED, None),
    "salted, in capitals": ({**SALTED, "t": SALTED["t"].upper()}, None),
    "api key": ({"apiKey": TOKEN}, None),
    "nothing": ({}, 10),
    "no password": ({"u": "ann"}, 10),
    "no user": ({"p": PASSWORD}, 10),
    "no salt": ({"u": "ann", "t": SALTED["t"]}, 10),
    "no digest": ({"u": "ann", "s": SALT}, 10),
    "empty password": ({"u": "ann", "p": ""}, 10),
    "wrong password": ({"u": "ann", "p": PASSWORD + "x"}, 40),
    "wrong user": ({**PLAIN, "u": "bob"}, 40),
    "password of another's token": ({"u": "ann", "p": TOKEN}, 40),
    "invalid UTF-8": ({"u": "ann", "p": "\udcff"}, 40),
    "no hexadecimal digits": ({"u": "ann", "p": "enc:xyz"}, 40),
    "hexadecimal of nothing": ({"u": "ann", "p": "enc:"}, 40),
    "wrong salt": ({**SALTED, "s": SALT + "x"}, 40),
    "wrong digest": ({**SALTED, "t": "0" * 32}, 40),
    "not a digest": ({**SALTED, "t": "é"}, 40),
    "wrong api key": ({"apiKey": TOKEN + "x"}, 44),
    "password as api key": ({"apiKey": PASSWORD}, 44),
    "api key and user": ({"apiKey": TOKEN, "u": "ann"}, 43),
    "api key and password": ({"apiKey": TOKEN, "p": PASSWORD}, 43),
    "password and digest": ({**PLAIN, **SALTED}, 43),
}


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_credentials(port, kind):
    account, code = ACCOUNTS[kind]
    for name, (values, _) in ENDPOINTS.items():
        is_open = name == "getOpenSubsonicExtensions"
        assert error_code(port, name, values, account) == (None if is_open else code), name
    if code is not None:
        status, headers, body = call(port, "stream", {"id": "A/One/1.wav"}, account)
        assert status == 200 and headers["content-type"] == "application/xml" and b"RIFF" not in body


def test_repeated_credentials_conflict(port):
    target = f"/rest/ping?f=json&u=ann&p=wrong-one&p={quote(PASSWORD)}"
    assert json.loads(ask(port, target)[2])["subsonic-response"]["error"]["code"] == 43


def test_credentials_of_players_open_nothing_else_and_the_token_opens_no_endpoint(songs, port):
    text = urlencode(PLAIN)
    for path in ("/", "/api/info", "/docs", "/audio", "/metrics", "/rest", "/restful/ping", "//rest/ping"):
        assert ask(port, f"{path}?{text}")[0] == 401, path
        assert ask(port, f"{path}?apiKey={TOKEN}")[0] == 401, path
    bearer = [f"Authorization: Bearer {TOKEN}"]
    answer = json.loads(ask(port, "/rest/ping?f=json", headers=bearer)[2])
    assert answer["subsonic-response"]["error"]["code"] == 10
    for path in ("getArtists", "..%2fapi/info", "../api/info", "%2e%2e/main.js", "main.js", ""):
        status, _, body = ask(port, f"/rest/{path}?{text}")
        assert status == 404 and b"songs.index" not in body, path
    with serving(songs, token=TOKEN) as closed:
        assert ask(closed, f"/rest/ping?{text}")[0] == 401
    with serving(songs) as closed:
        assert ask(closed, f"/rest/ping?{text}")[0] == 404
    with serving(songs, opensubsonic=ACCOUNT) as local:
        assert call_json(local, "ping")["status"] == "ok"
        assert call_json(local, "ping", account={"apiKey": TOKEN})["error"]["code"] == 42
        names = [each["name"] for each in call_json(local, "getOpenSubsonicExtensions")["openSubsonicExtensions"]]
        assert names == ["formPost", "sonicSimilarity"]
        assert call(local, "ping", host="evil.example")[0] == 403


def test_song_is_found_by_recording_and_by_paths_of_other_roots(songs, port):
    root = str(songs.parent / "Music")
    for name, id in {
        "A/One/2.wav": "A/One/2.wav",
        RECORDING: "A/One/2.wav",
        RECORDING.upper(): "A/One/2.wav",
        f"{root}/B/Two/1.wav": "B/Two/1.wav",
        "/srv/navidrome/music/B/Two/1.wav": "B/Two/1.wav",
        "D:\\Music\\B\\Two\\1.wav": "B/Two/1.wav",
        "Music/B/Two/1.wav": "B/Two/1.wav",
        f"{root}/top.wav": "top.wav",
        "Music/top.wav": "top.wav",
        "/Two/1.wav": None,  # of A and of B
        "One/1.wav": None,
        "1.wav": None,
        "/srv/top.wav": None,  # another top.wav may be meant
        "C/Two/1.wav": None,
        "B/long.wav": None,  # of two tracks
        "Song 1": None,
        "3f0c7a52-d987-4042-ae91-78d6a3267d69": None,
        "..": None,
        "/": None,
        "hex:zz": None,
        "\udcff\udcfe": None,
        "\0": None,
        "a" * 4096: None,
    }.items():
        answer = call_json(port, "getSong", {"id": name})
        assert answer.get("song", {}).get("id") == id, name
        assert id is not None or answer["error"]["code"] == 70
    matches = call_json(port, "getSonicSimilarTracks", {"id": RECORDING.upper(), "count": 1})["sonicMatch"]
    assert matches[0]["entry"]["id"] != "A/One/2.wav"


def test_lookup_of_several_folders_and_of_a_part_of_the_library(tmp_path):
    with Index.create(tmp_path / "a.index", DIM, "cosine", root="/home/me") as index:
        rows = [{"id": id, "path": id} for id in ("Music/A/1.flac", "Music/B/1.flac", "cafe\u0301/1.flac")]
        rows += [{"id": "7", "audio": "/data/x/7.flac", "recording_mbid": RECORDING}, {"id": "8"}]
        index.add(rows, unit(len(rows)), "audio")
        lookup = SongLookup(index)
    assert lookup.find("A/1.flac") == "Music/A/1.flac"
    assert lookup.find("/music/A/1.flac") is None  # it may be another one
    assert lookup.find("caf\u00e9/1.flac") == "cafe\u0301/1.flac"
    assert lookup.find("/data/x/7.flac") == lookup.find(RECORDING) == "7"
    assert lookup.find("/other/data/x/7.flac") == "7"
    with Index.create(tmp_path / "b.index", DIM, "cosine", root="/srv/one") as index:
        index.backend.commit(Changes(edit_info=lambda info: info.with_root(Root("/srv/two", "two//"))))
        rows = [{"id": id, "path": id} for id in ("top.mp3", "A/1.mp3", "two//A/1.mp3", "two//2.mp3", "two//B/3.mp3")]
        index.add(rows, unit(len(rows)), "audio")
        lookup = SongLookup(index)
    assert lookup.find("top.mp3") == "top.mp3"
    assert lookup.find("2.mp3") == lookup.find("/srv/two/2.mp3") == lookup.find("two/2.mp3") == "two//2.mp3"
    assert lookup.find("/music/B/3.mp3") == lookup.find("B/3.mp3") == "two//B/3.mp3"
    assert lookup.find("A/1.mp3") is None
    assert lookup.find("/srv/one/A/1.mp3") == "A/1.mp3" and lookup.find("two/A/1.mp3") == "two//A/1.mp3"


def test_ids_come_back_unchanged_whatever_they_contain(port):
    matches = call_json(port, "getSonicSimilarTracks", {"id": "top.wav", "count": 100})["sonicMatch"]
    xml = call_xml(port, "getSonicSimilarTracks", {"id": "top.wav", "count": 100})
    ids = [match["entry"]["id"] for match in matches]
    assert ids == [entry.get("id") for entry in xml.iter(XMLNS + "entry")] and len(set(ids)) == 11
    for id in ids:
        assert call_json(port, "getSong", {"id": id})["song"]["id"] == id
    [odd] = [id for id in ids if id.startswith("hex:")]
    assert call_json(port, "getSong", {"id": "caf\udce9.wav"})["song"]["id"] == odd


@pytest.mark.parametrize(
    "name, query, code",
    [
        ("getSong", "", 10),
        ("getSong", "id=", 10),
        ("getSong", "id=A%2FOne%2F1.wav&id=A%2FOne%2F2.wav", 0),
        ("getSong", "id=" + 4097 * "a", 0),
        ("getSong", "id=%FF%FE", 70),
        ("getSong", "id[]=1", 10),
        ("findSonicPath", "startSongId=top.wav", 10),
        ("findSonicPath", "endSongId=top.wav", 10),
        ("findSonicPath", "startSongId=top.wav&endSongId=nothing", 70),
        ("findSonicPath", "startSongId=top.wav&endSongId=A%2FOne%2F1.wav&count=1", 0),
        *((name, f"id=top.wav&count={count}", 0) for name in ("getSonicSimilarTracks", "getSimilarSongs2")
          for count in ("-1", "0", "1.5", "1e3", "x", "1_0", "%D9%A1", "9" * 40, "1&count=2", "NaN")),
        ("getSimilarSongs", "id=ar-12", 70),
        ("stream", "", 10),
        ("stream", "id=nothing", 70),
        ("stream", "id=..%2F..%2Fetc%2Fpasswd", 70),
        ("stream", "id=B%2Flong.wav%231", 70),
        ("ping", "f=jsonp&callback=alert", 0),
        ("ping", "f=xml&f=xml", 0),
    ],
)  # fmt: skip
def test_hostile_and_missing_parameters_are_errors_with_a_code(port, name, query, code):
    status, headers, body = ask(port, f"/rest/{name}?{urlencode(PLAIN)}&{query}")
    assert status == 200 and headers["content-type"] == "application/xml"
    error = ElementTree.fromstring(body).find(XMLNS + "error")
    assert int(error.get("code")) == code and error.get("message")


def test_form_is_bounded_and_other_bodies_are_ignored(port):
    form = ["Content-Type: application/x-www-form-urlencoded"]
    body = urlencode(PLAIN).encode()
    assert b'status="ok"' in ask(port, "/rest/ping", "POST", form, body)[2]
    assert b'status="ok"' in ask(port, "/rest/ping?u=ann", "POST", form, urlencode({"p": PASSWORD}).encode())[2]
    assert b'code="10"' in ask(port, "/rest/ping", "POST", ["Content-Type: text/plain"], body)[2]
    assert b'code="0"' in ask(port, "/rest/ping", "POST", form, body + b"&x=" + b"a" * 70_000)[2]
    assert b'code="10"' in ask(port, "/rest/ping", "POST", form, b"\xff\xfe%%%=&&&=%FF")[2]


def test_form_that_never_ends_is_refused(port, monkeypatch):
    monkeypatch.setattr("jointembed.serve.subsonic_protocol._FORM_SECONDS", 0.2)
    lines = [f"Host: 127.0.0.1:{port}", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 99"]
    with Client(port) as client:
        client.send("\r\n".join(["POST /rest/ping HTTP/1.1", *lines, "", "u=ann"]).encode())
        assert b"the form took longer" in client.read()[2]


def test_stream_sends_the_file_and_ranges_of_it(songs, port):
    content = (songs.parent / "Music" / "A" / "One" / "1.wav").read_bytes()
    status, headers, body = call(port, "stream", {"id": "A/One/1.wav", "maxBitRate": "320", "format": "raw"})
    assert (status, headers["content-type"], body) == (200, "audio/wav", content)
    target = f"/rest/stream.view?{urlencode({**PLAIN, 'id': 'A/One/1.wav'})}"
    status, headers, body = ask(port, target, headers=["Range: bytes=4-9"])
    assert status == 206 and body == content[4:10]


def test_cover_is_the_picture_in_the_file(tmp_path):
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    frames = mutagen.id3.ID3()
    frames.add(mutagen.id3.APIC(encoding=0, mime="image/png", type=3, data=picture))
    (tmp_path / "1.mp3").write_bytes(sound_files.pack(sound_files.melody(0.6), "MP3"))
    shutil.copy(tmp_path / "1.mp3", tmp_path / "2.mp3")
    frames.save(tmp_path / "1.mp3")
    with Index.create(tmp_path / "a.index", DIM, "cosine", root=str(tmp_path)) as index:
        index.add([{"id": name, "path": name} for name in ("1.mp3", "2.mp3", "3.mp3")], unit(3), "audio")
    with serving(tmp_path / "a.index", opensubsonic=ACCOUNT) as port:
        cover = call_json(port, "getSong", {"id": "1.mp3"})["song"]["coverArt"]
        status, headers, body = call(port, "getCoverArt", {"id": cover, "size": 300})
        assert (status, headers["content-type"], body) == (200, "image/png", picture)
        assert (
            error_code(port, "getCoverArt", {"id": "2.mp3"}) == error_code(port, "getCoverArt", {"id": "3.mp3"}) == 70
        )
        assert error_code(port, "getCoverArt", {"id": "1.mp3"}, {"u": "ann", "p": "wrong"}) == 40


def test_new_version_of_the_index_is_found(songs, tmp_path):
    shutil.copy(songs, tmp_path / "songs.index")
    with serving(tmp_path / "songs.index", opensubsonic=ACCOUNT) as port:
        assert error_code(port, "getSong", {"id": "/x/N/New/1.wav"}) == 70
        with Index.open(tmp_path / "songs.index") as index:
            index.add([{"id": "n", "path": "N/New/1.wav"}], unit(1, seed=9), "audio")
        assert call_json(port, "getSong", {"id": "/x/N/New/1.wav"})["song"]["id"] == "n"
        with Index.open(tmp_path / "songs.index") as index:
            index.add_field("words", 2, "cosine")
            index.add([{"id": "unheard"}], np.array([[1, 0]], np.float32), "words")
        assert call_json(port, "getSong", {"id": "unheard"})["status"] == "ok"
        assert error_code(port, "getSonicSimilarTracks", {"id": "unheard"}) == 70


def test_docs_list_the_routes_and_the_log_hides_secrets(songs, capfd):
    with serving(songs, opensubsonic=ACCOUNT, token=TOKEN, access_log=True) as port:
        bearer = [f"Authorization: Bearer {TOKEN}"]
        api = get_json(port, "/openapi.json", headers=bearer)
        page = ask(port, "/docs", headers=bearer)[2].decode()
        capfd.readouterr()
        for account in (PLAIN, SALTED, {"apiKey": TOKEN}):
            call_json(port, "getSong", {"id": "top.wav"}, account)
    assert "25 by default" in str(api["paths"]["/rest/findSonicPath"])
    for name in (*ENDPOINTS, "stream", "getCoverArt"):
        operation = api["paths"][f"/rest/{name}"]["get"]
        assert f"GET /rest/{name}<" in page and operation["summary"]
        required = {each["name"] for each in operation["parameters"] if each["required"]}
        assert required == set(ENDPOINTS.get(name, ({"id": ""}, None))[0]) - {"count"}
    assert not [path for path in api["paths"] if path.endswith(".view")] and "http://" not in page
    log = capfd.readouterr().err
    assert log.count("id=top.wav") == 3 and "u=ann" in log
    secrets = (TOKEN, quote(PASSWORD), urlencode({"": PASSWORD})[1:], SALTED["t"], SALT)
    assert not [secret for secret in secrets if secret in log]


@pytest.mark.parametrize(
    "environment, options, named",
    [
        ("", ["--opensubsonic"], "JOINTEMBED_OPENSUBSONIC"),
        ("ann:short", ["--opensubsonic"], "8 characters"),
        ("no colon, but long", ["--opensubsonic"], "USER:PASSWORD"),
        (":a password", ["--opensubsonic"], "USER:PASSWORD"),
        (ACCOUNT, ["--opensubsonic", "--host", "0.0.0.0"], "token"),
        (ACCOUNT, ["--opensubsonic-file", "/nowhere"], "/nowhere"),
    ],
)
def test_missing_or_weak_credentials_are_refused(songs, capsys, monkeypatch, environment, options, named):
    monkeypatch.setenv("JOINTEMBED_OPENSUBSONIC", environment)
    assert main(["serve", str(songs), "--port", "0", *options]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and named in err and not out
    assert "short" not in err.replace("too short", "") and PASSWORD not in err


def test_credentials_are_read_from_a_file_or_the_environment(songs, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("jointembed.serve.serve", lambda *words, **_: opened.append(words[2]()[1]) or 0)
    (tmp_path / "account").write_text(ACCOUNT + "\n", "utf-8")
    monkeypatch.setenv("JOINTEMBED_OPENSUBSONIC", "bob:another password")
    for options in ([], ["--opensubsonic"], ["--opensubsonic-file", str(tmp_path / "account")]):
        assert main(["serve", str(songs), *options]) == 0
    assert opened == [None, "bob:another password", ACCOUNT]
    with pytest.raises(UsageError, match="password"), open_server(songs, port=0, opensubsonic="ann:"):
        pass


@pytest.mark.slow
def test_libsonic_talks_to_the_server(songs):
    libsonic = pytest.importorskip("libsonic", reason="pip install py-sonic")
    with serving(songs, opensubsonic="ann:correct horse") as port:
        for legacy in (False, True):
            client = libsonic.Connection("http://127.0.0.1", "ann", "correct horse", port=port, legacyAuth=legacy)
            assert client.ping() and client.getLicense()["license"]["valid"]
            similar = client.getSimilarSongs2("A/One/1.wav", count=3)["similarSongs2"]["song"]
            assert len(similar) == 3 and client.getSong(similar[0]["id"])["song"] == similar[0]
            assert client.stream("A/One/1.wav").read().startswith(b"RIFF")
        with pytest.raises(libsonic.errors.CredentialError):
            libsonic.Connection("http://127.0.0.1", "ann", "wrong", port=port).getSong("A/One/1.wav")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"api_key": TOKEN}, {"username": "ann", "password": PASSWORD, "use_get": True}])
def test_libopensonic_gets_similar_tracks_and_a_path(port, options):
    libopensonic = pytest.importorskip("libopensonic", reason="pip install py-opensonic")

    async def talk():
        client = libopensonic.AsyncConnection("http://127.0.0.1", port=port, **options)
        try:
            assert await client.ping()
            extensions = await client.get_open_subsonic_extensions()
            assert "sonicSimilarity" in [extension.name for extension in extensions]
            matches = await client.get_sonic_similar_tracks(RECORDING, count=4)
            assert len(matches) == 4 and 1 >= matches[0].similarity >= matches[3].similarity >= 0
            path = await client.find_sonic_path("A/One/1.wav", "/music/B/Two/2.wav", count=5)
            assert [path[0].entry.id, path[-1].entry.id, len(path)] == ["A/One/1.wav", "B/Two/2.wav", 5]
            assert (await client.get_song(path[1].entry.id)).title == path[1].entry.title
            with pytest.raises(libopensonic.errors.DataNotFoundError):
                await client.get_song("nothing")
        finally:
            await client.cleanup()

    asyncio.run(talk())
