"""The server over an index: its answers, and how it follows the index."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import quote_from_bytes

import mutagen
import mutagen.id3
import numpy as np
import pytest
from sound_files import melody, pack
from web_server import DIM, Client, Embedder, ask, filled, get_json, serving, unit, until

from jointembed.__main__ import main
from jointembed.errors import MismatchError, UsageError
from jointembed.index.backends.base import Changes, Root
from jointembed.index.index import Index
from jointembed.serve import open_server

ODD_IDS = [
    "a/b/../c", 'say "hi"', "\U0001f3b5 song", "two\nlines", "caf\udce9.mp3", "<img src=x>", "a&b=c+d%20", "..", "é",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def encode(id):
    return quote_from_bytes(id.encode("utf-8", "surrogateescape"), safe="")


def run_in_threads(function, arguments):
    threads = [threading.Thread(target=function, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join()


class SlowEmbedder(Embedder):
    """Embeds nothing until `go` is set."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def text(self, words):
        self.texts.append(words)
        self.go.wait(20)
        return unit(1, self.dim)[0]

    def sound(self, path):
        self.go.wait(20)
        return super().sound(path)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("songs") / "songs.index", 300)


@pytest.fixture(scope="module")
def port(songs):
    with serving(songs) as port:
        yield port


@pytest.fixture
def slow(songs):
    """A server whose model is slow, and the model."""
    embedder = SlowEmbedder()
    with serving(songs, load=lambda path, field: embedder) as port:
        until(lambda: get_json(port, "/api/info")["file"])
        yield port, embedder
        embedder.go.set()


def test_similar_gives_the_hits_of_the_index(songs, port):
    with Index.open(songs) as index:
        for id in ("s0", "s7", "s299"):
            answer = get_json(port, f"/api/similar?id={id}&k=7")
            expected = index.similar(id, 7)
            assert answer["version"] == index.version
            assert [(hit["id"], hit["score"], hit["row"]) for hit in answer["hits"]] == [
                (hit.id, hit.score, hit.row) for hit in expected
            ]
            assert [hit["rank"] for hit in answer["hits"]] == list(range(1, 8))


def test_scores_are_the_same_whatever_the_load(songs, port):
    with Index.open(songs) as index:
        expected = {
            id: [(hit.id, hit.score) for hit in index.similar(id, 1 + at % 9)] for at, id in enumerate(index.ids()[:96])
        }
    answers, failures = {}, []

    def client(ids):
        with Client(port) as connection:
            for id in ids:
                status, _, body = connection.ask(f"/api/similar?id={id}&k={len(expected[id])}")
                if status == 200:
                    answers[id] = [(hit["id"], hit["score"]) for hit in json.loads(body)["hits"]]
                else:
                    failures.append((status, body))

    join(run_in_threads(client, [(list(expected)[at::12],) for at in range(12)]))
    assert not failures
    assert answers == expected


def test_unknown_id_leaves_the_answers_computed_with_it_alone(songs, port):
    targets = [f"/api/similar?id={id}" for id in ("s1", "nobody", "s2", "s3")] * 6
    answers = []
    threads = run_in_threads(lambda target: answers.append((target, *ask(port, target)[::2])), [(t,) for t in targets])
    join(threads)
    with Index.open(songs) as index:
        for target, status, body in answers:
            id = target.removeprefix("/api/similar?id=")
            assert status == (404 if id == "nobody" else 200), target
            if status == 200:
                assert [hit["id"] for hit in json.loads(body)["hits"]] == [hit.id for hit in index.similar(id)]
    assert sorted(target for target, _, _ in answers) == sorted(targets)


def test_similar_takes_conditions_diversity_and_several_items(songs, port):
    with Index.open(songs) as index:
        target = "/api/similar?id=s1&id=s2&unlike=s3&k=5&where=genre+%3D+%27waltz%27&diversity=0.3&deduplicate=true"
        hits = get_json(port, target)["hits"]
        expected = index.similar(
            ["s1", "s2"], 5, None, "genre = 'waltz'", unlike=["s3"], diversity=0.3, deduplicate=True
        )
        assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
        assert len(get_json(port, "/api/similar?id=s1&k=50&one_per=genre")["hits"]) == 2
        path = get_json(port, "/api/path?start=s1&end=s9&n=4")["hits"]
        assert [hit["id"] for hit in path] == [hit.id for hit in index.path_between("s1", "s9", 4)]


@pytest.mark.parametrize(
    "target",
    [
        "/api/similar?id=s1",
        "/api/similar?id=s1&where=tempo+%3E+80&deduplicate=true",
        "/api/similar?id=s1&id=s2&unlike=s3&one_per=tempo",
        "/api/search?q=song",
        "/api/search?q=waltz&where=tempo+%3E+80",
    ],
)
def test_pages_of_results_continue_each_other(port, target):
    whole = get_json(port, f"{target}&k=100")["hits"]
    pages = [get_json(port, f"{target}&k=30&offset={offset}")["hits"] for offset in (0, 30, 60)]
    assert [hit for page in pages for hit in page] == whole[:90]
    assert get_json(port, f"{target}&offset=9000")["hits"] == []


def test_pages_of_a_text_that_a_model_embeds_continue_each_other(songs):
    with serving(songs, load=lambda path, field: Embedder()) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        whole = get_json(port, "/api/search?q=any&k=9")
        pages = [get_json(port, f"/api/search?q=any&k=3&offset={offset}")["hits"] for offset in (0, 3, 6)]
        assert whole["method"] == "model" and sum(pages, []) == whole["hits"]
        upload = [ask(port, f"/api/query?{page}", "POST", body=b"any sound") for page in ("k=4", "k=2&offset=2")]
        first, second = (json.loads(body)["hits"] for _, _, body in upload)
        assert len(second) == 2 and second == first[2:]


def test_pages_of_equal_scores_repeat_and_miss_nothing(tmp_path):
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        index.add([{"id": f"s{at}"} for at in range(40)], np.repeat(unit(2), 20, axis=0), "audio")
    with serving(tmp_path / "a.index") as port:
        pages = [get_json(port, f"/api/similar?id=s0&k=7&offset={offset}")["hits"] for offset in range(0, 42, 7)]
    ids = [hit["id"] for page in pages for hit in page]
    assert len(ids) == 39 and len(set(ids)) == 39


def test_rows_columns_and_layouts_are_those_of_the_index(songs, port):
    assert get_json(port, "/api/row?id=s5")["row"]["title"] == "Song 5"
    column = get_json(port, "/api/column?name=genre")
    assert column["values"] == ["polka", "waltz"] and column["codes"][:2] == [1, 0]
    _, headers, body = ask(port, "/api/layout?axes=pca2")
    assert len(body) == 300 * 12
    assert headers["index-version"] == column["version"] == get_json(port, "/api/info")["version"]
    _, _, steps = ask(port, "/api/layout?axes=pca2&bits=16")
    expected = np.frombuffer(body, "<f4").reshape(300, 3)[:, :2]
    np.testing.assert_allclose(np.frombuffer(steps, "<u2").reshape(300, 2) / 65534 * 2 - 1, expected, atol=2e-5)


def test_packed_column_is_sent_once_a_version(songs, port):
    target = "/api/column?name=genre&format=packed"
    _, headers, body = ask(port, target)
    size = int.from_bytes(body[:4], "little")
    assert json.loads(body[4 : 4 + size])["values"] == ["polka", "waltz"]
    assert np.frombuffer(body[4 + size :], np.int8)[:2].tolist() == [1, 0]
    again = ask(port, target, headers=[f"If-None-Match: {headers['etag']}"])
    assert (again[0], again[2], again[1]["index-version"]) == (304, b"", headers["index-version"])
    assert headers["cache-control"] == "no-cache"


def test_items_are_found_by_their_position_on_the_map(songs, port):
    hits = get_json(port, "/api/similar?id=s5")["hits"]
    positions = [hit["position"] for hit in hits]
    items = get_json(port, "/api/items?" + "&".join(f"position={at}" for at in positions))["items"]
    assert [(each["id"], each["row"], each["position"]) for each in items] == [
        (hit["id"], hit["row"], hit["position"]) for hit in hits
    ]
    assert get_json(port, "/api/row?id=s5")["position"] == 5
    for target, status in (("position=300", 404), ("position=-1", 404), ("position=x", 422), ("", 422)):
        assert ask(port, f"/api/items?{target}")[0] == status


@pytest.mark.parametrize(
    "target, status, named",
    [
        ("/api/similar?id=nobody", 404, "id"),
        ("/api/similar?id=s1&id=nobody", 404, "id"),
        ("/api/row?id=nobody", 404, "id"),
        ("/api/row", 422, "id"),
        ("/api/similar?id=s1&where=genr+%3D+1", 422, "did you mean genre"),
        ("/api/similar?id=s1&where=1%3B+DROP+TABLE+rows", 422, "where"),
        ("/api/similar?id=s1&one_per=nothing", 422, "nothing"),
        ("/api/similar?id=s1&field=nothing", 422, "field"),
        ("/api/similar?id=s1&wher=genre", 422, "wher"),
        ("/api/search?q=%3F%21", 422, "word"),
        ("/api/path?start=s1&end=s1", 422, "path"),
        ("/api/path?start=s1&end=nobody", 404, "id"),
        ("/nothing", 404, "not found"),
    ],
)
def test_error_is_one_line_that_names_the_parameter(port, target, status, named):
    answer, headers, body = ask(port, target)
    assert (answer, headers["content-type"]) == (status, "application/json")
    [line] = json.loads(body).values()
    assert named in line and "\n" not in line and "sqlite" not in line.lower()


def test_odd_ids_come_back_unchanged(tmp_path):
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        rows = [{"id": id, "path": id, "tags": [id, {"of": id}, None]} for id in ODD_IDS]
        index.add(rows, unit(len(ODD_IDS)), "audio")
    with serving(tmp_path / "a.index") as port:
        for id in ODD_IDS:
            assert get_json(port, f"/api/row?id={encode(id)}")["row"]["tags"][1] == {"of": id}
            hits = get_json(port, f"/api/similar?id={encode(id)}&k=100")["hits"]
            assert {hit["id"] for hit in hits} == set(ODD_IDS) - {id}


def test_openapi_describes_the_routes_and_the_docs_page_works_offline(port):
    api = get_json(port, "/openapi.json")
    parameters = {each["name"]: each for each in api["paths"]["/api/similar"]["get"]["parameters"]}
    assert parameters["offset"]["schema"]["maximum"] == 9000 and parameters["offset"]["description"]
    assert parameters["k"]["schema"]["maximum"] == 1000 and parameters["id"]["required"]
    assert "post" in api["paths"]["/api/query"]
    answer = api["paths"]["/api/similar"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Hits"}
    assert "version" in api["components"]["schemas"]["Hits"]["properties"]
    status, headers, body = ask(port, "/docs")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert b"/api/similar" in body and b"<script" not in body and b"http://" not in body and b"https://" not in body
    for path, methods in api["paths"].items():
        for method in methods:
            assert ask(port, path, method.upper())[0] in (200, 422), path


def test_answers_match_their_documented_models(port):
    from jointembed.serve import schema

    for target, model in [
        ("/api/info", schema.Info),
        ("/api/column?name=genre", schema.ColumnValues),
        ("/api/row?id=s1", schema.Row),
        ("/api/items?position=1", schema.Items),
        ("/api/similar?id=s1", schema.Hits),
        ("/api/path?start=s1&end=s2", schema.Hits),
        ("/api/search?q=waltz", schema.Hits),
    ]:
        answer = get_json(port, target)
        assert set(answer) <= set(model.model_fields), target
        model.model_validate(answer)


def test_page_is_served_as_readable_modules(port):
    status, headers, body = ask(port, "/")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8" and b"main.js" in body
    status, headers, body = ask(port, "/main.js")
    assert status == 200 and headers["content-type"] == "text/javascript; charset=utf-8" and b"\nimport {" in body
    again = ask(port, "/main.js", headers=[f"If-None-Match: {headers['etag']}"])
    assert again[0] == 304 and not again[2]
    for target in ("/export.py", "/../export.py", "/nothing.js"):
        assert ask(port, target)[0] == 404, target


def test_texts_are_searched_in_the_columns_until_the_model_has_loaded(songs):
    go, embedder = threading.Event(), Embedder()

    def load(path, field):
        go.wait(10)
        return embedder

    with serving(songs, load=load) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "loading")
        assert not get_json(port, "/api/info")["file"]
        assert ask(port, "/api/query", "POST", body=b"abc")[0] == 503
        answer = get_json(port, "/api/search?q=polka&k=3")
        assert answer["method"] == "text" and {hit["row"]["genre"] for hit in answer["hits"]} == {"polka"}
        go.set()
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        assert get_json(port, "/api/info")["file"]
        for _ in range(3):
            answer = get_json(port, "/api/search?q=polka&k=3&where=genre+%3D+%27waltz%27")
            assert answer["method"] == "model" and {hit["row"]["genre"] for hit in answer["hits"]} == {"waltz"}
        assert embedder.texts == ["polka"]
        answer = get_json(port, "/api/search?q=unknown")
        assert answer["method"] == "text" and answer["hits"] == []
        assert "none of these words; no item contains the words" in answer["note"]


@pytest.mark.parametrize(
    "error", [UsageError("model", "it is gone", "x"), MismatchError("/home/me/m", "it is gone", "x"), OSError()]
)
def test_server_works_without_its_model(songs, error):
    def load(path, field):
        raise error

    with serving(songs, load=load) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "none")
        answer = get_json(port, "/api/search?q=polka&k=3")
        assert answer["method"] == "text" and len(answer["hits"]) == 3
        assert "gone" in answer["note"] or "could not be loaded" in answer["note"]
        assert "/home" not in answer["note"]
        assert ask(port, "/api/query", "POST", body=b"abc")[0] == 422


def test_upload_is_searched_and_leaves_no_file_behind(songs, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(songs, load=lambda path, field: Embedder()) as port:
        until(lambda: get_json(port, "/api/info")["file"])
        for headers in ((), ('Content-Disposition: attachment; filename="../../x"',)):
            answer = get_json(port, "/api/query?k=4", method="POST", headers=headers, body=b"RIFF" * 100_000)
            assert answer["method"] == "model" and len(answer["hits"]) == 4
        status, _, body = ask(port, "/api/query", "POST", body=b"BAD sound")
        assert status == 422 and json.loads(body)["error"] == "the file: it holds no sound; send another one"
        assert ask(port, "/api/query", "POST")[0] == 422
        with Client(port) as client:
            head = f"POST /api/query HTTP/1.1\r\nHost: localhost:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.send(head.encode() + b"5\r\nRIFF1\r\n3\r\nabc\r\n0\r\n\r\n")
            assert client.read()[0] == 200
        assert [*tmp_path.glob("jointembed-*/*")] == []
    assert [*tmp_path.iterdir()] == []


def test_uploads_beyond_the_limit_are_refused(slow):
    port, embedder = slow
    answers = []
    threads = run_in_threads(lambda: answers.append(ask(port, "/api/query", "POST", body=b"RIFF")), [()] * 16)
    until(lambda: len(answers) == 6)
    assert get_json(port, "/api/similar?id=s1")["hits"]
    embedder.go.set()
    join(threads)
    assert sorted(status for status, _, _ in answers) == [200] * 10 + [503] * 6
    assert all(headers["retry-after"] for status, headers, _ in answers if status == 503)


def test_overload_is_refused_at_once_and_in_no_other_way(slow):
    port, embedder = slow
    answers = []
    threads = run_in_threads(
        lambda at: answers.append(ask(port, f"/api/search?q=word{at}")), [(at,) for at in range(50)]
    )
    until(lambda: len(answers) == 17)  # one is embedded, 32 wait
    assert {(status, headers["retry-after"]) for status, headers, _ in answers} == {(503, "1")}
    embedder.go.set()
    join(threads)
    assert sorted(status for status, _, _ in answers) == [200] * 33 + [503] * 17


def test_abandoned_requests_are_cancelled(slow):
    port, embedder = slow
    clients = [Client(port) for _ in range(33)]
    for at, client in enumerate(clients):
        client.send(f"GET /api/search?q=word{at} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    until(lambda: ask(port, "/api/search?q=more")[0] == 503)
    for client in clients:
        client.close()
    answers = []
    until(lambda: not answers.append(ask(port, "/api/similar?id=s1")[0]) and answers == [200])
    threads = run_in_threads(lambda: answers.append(ask(port, "/api/search?q=last")[0]), [()])
    until(lambda: len(embedder.texts) == 1)
    embedder.go.set()
    join(threads)
    assert answers == [200, 200]
    assert len(embedder.texts) == 2 and embedder.texts[1] == "last"  # the first was running, the others never ran


def test_requests_being_answered_are_finished_when_the_server_stops(songs):
    embedder, answers = SlowEmbedder(), []
    with serving(songs, load=lambda path, field: embedder) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        threads = run_in_threads(
            lambda at: answers.append(ask(port, f"/api/search?q=word{at}")[0]), [(at,) for at in range(8)]
        )
        until(lambda: embedder.texts)
        threading.Timer(0.3, embedder.go.set).start()
    join(threads)
    assert answers == [200] * 8


@pytest.fixture
def music(tmp_path):
    """An index of a folder, a secret outside of it, and links to the secret."""
    root = tmp_path / "music"
    (root / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("a.wav", "deep/b.mp3", ".hidden/c.wav", "notes.txt"):
        (root / name).write_bytes(np.random.default_rng(len(name)).bytes(5000))
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.ogg").write_bytes(b"more")
    (root / "out.wav").symlink_to(tmp_path / "secret.wav")
    (root / "disguised.wav").symlink_to(root / "notes.txt")
    os.mkfifo(root / "pipe.wav")
    paths = [
        "a.wav", "deep/b.mp3", "out.wav", "../secret.wav", str(tmp_path / "secret.wav"), "notes.txt", "pipe.wav",
        ".hidden/c.wav", "gone.wav", "disguised.wav", "deep", "d.ogg", "a.wav\0.mp3", "/etc/passwd",
        str(tmp_path / "more" / "d.ogg"),
    ]  # fmt: skip
    with Index.create(tmp_path / "m.index", DIM, "cosine", root=str(root)) as index:
        index.add([{"id": path, "path": path} for path in paths], unit(len(paths)), "audio")
    return tmp_path


def ask_sound(port, id, **options):
    return ask(port, f"/audio?id={encode(id)}", **options)


def test_sounds_are_served_only_from_inside_the_folder(music):
    with serving(music / "m.index") as port:
        status, headers, body = ask_sound(port, "a.wav")
        assert (status, headers["content-type"], body) == (200, "audio/wav", (music / "music" / "a.wav").read_bytes())
        assert ask_sound(port, "deep/b.mp3")[1]["content-type"] == "audio/mpeg"
        assert get_json(port, "/api/row?id=a.wav")["audio"] == "audio?id=a.wav"
        assert get_json(port, "/api/row?id=notes.txt")["audio"] is None
        with Index.open(music / "m.index") as index:
            outside = [id for id in index.ids() if id not in ("a.wav", "deep/b.mp3")]
        assert len(outside) == 13
        for id in (*outside, "unknown"):
            status, _, body = ask_sound(port, id)
            assert status == 404 and b"secret" not in body and b"root:" not in body, id
    with serving(music / "m.index", roots=[str(music / "more")]) as port:
        assert ask_sound(port, "d.ogg")[2] == b"more"
        assert ask_sound(port, str(music / "more" / "d.ogg"))[2] == b"more"
        assert ask_sound(port, "../secret.wav")[0] == 404


def test_cover_of_a_sound_is_served_with_its_version(music):
    picture = b"\x89PNG\r\n\x1a\n" + bytes(50)
    (music / "music" / "a.wav").write_bytes(pack(melody(0.3)))
    sound = mutagen.File(music / "music" / "a.wav")
    sound.add_tags()
    sound.tags.add(mutagen.id3.APIC(mime="text/html", type=3, data=picture))
    sound.save()
    with serving(music / "m.index") as port:
        status, headers, body = ask(port, "/api/cover?id=a.wav")
        assert (status, headers["content-type"], body) == (200, "image/png", picture)
        assert headers["cache-control"] == ask_sound(port, "a.wav")[1]["cache-control"] == "no-cache"
        version = get_json(port, "/api/info")["version"]
        assert "immutable" in ask(port, f"/api/cover?id=a.wav&version={version}")[1]["cache-control"]
        assert "immutable" in ask(port, f"/api/cover?id=out.wav&version={version}")[1]["cache-control"]
        assert ask(port, "/api/cover?id=a.wav&version=before")[1]["cache-control"] == "no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        again = ask(port, "/api/cover?id=a.wav", headers=[f"If-None-Match: {headers['etag']}"])
        assert again[0] == 304 and again[2] == b""
        sound.tags.delall("APIC")
        sound.save()
        assert ask(port, "/api/cover?id=a.wav", headers=[f"If-None-Match: {headers['etag']}"])[0] == 204
        for id in ("deep/b.mp3", "out.wav", "../secret.wav", "pipe.wav", "gone.wav", "/etc/passwd"):
            assert ask(port, f"/api/cover?id={encode(id)}")[::2] == (204, b""), id
        assert ask(port, "/api/cover?id=unknown")[0] == 404
        assert ask(port, "/api/cover?id=a.wav", headers=["Sec-Fetch-Site: cross-site"])[0] == 403
    with serving(music / "m.index", token="t" * 20) as port:
        assert ask(port, "/api/cover?id=a.wav")[0] == 401


def test_playlist_has_the_paths_of_sound_files(music):
    with serving(music / "m.index") as port:

        def save(*ids, body=None):
            content = body or json.dumps({"ids": ids}).encode()
            return ask(port, "/api/playlist", "POST", ["Content-Type: application/json"], content)

        status, headers, body = save("deep/b.mp3", "a.wav")
        assert (status, headers["content-type"]) == (200, "audio/x-mpegurl")
        lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
        assert lines == [str(music / "music" / "deep" / "b.mp3"), str(music / "music" / "a.wav")]
        assert save("a.wav", "unknown")[0] == 404
        assert save("notes.txt", "../secret.wav", "/etc/passwd")[0] == 422  # as they are not played either
        playlist = save("notes.txt", "a.wav", "d.ogg")[2].decode().splitlines()
        assert [line for line in playlist if not line.startswith("#")] == [str(music / "music" / "a.wav")]
        for body in (b"", b"[]", b"{}", b'{"ids": []}', b'{"ids": [1]}', b'{"ids": "a.wav"}', b"{", b"[" * 100_000):
            assert save(body=body or b" ")[0] == 422
    with serving(music / "m.index", roots=[str(music / "more")]) as port:
        body = ask(port, "/api/playlist", "POST", ["Content-Type: application/json"], b'{"ids": ["d.ogg"]}')[2]
        assert str(music / "more" / "d.ogg") in body.decode().splitlines()


def test_sounds_are_served_from_each_folder_of_an_index(music):
    with Index.open(music / "m.index") as index:
        more = Root(str(music / "more"), "more//")
        index.backend.commit(Changes(edit_info=lambda info: info.with_root(more)))
        paths = ["more//d.ogg", "more//a.wav", "more//../secret.wav"]
        index.add([{"id": path, "path": path} for path in paths], unit(len(paths)), "audio")
        index.update([{"id": "more//d.ogg", "start": 61.5, "seconds": 60}])  # a track of the file
    with serving(music / "m.index") as port:
        assert get_json(port, "/api/row?id=more//d.ogg")["audio"] == "audio?id=more%2F%2Fd.ogg#t=61.500,121.500"
        assert ask_sound(port, "more//d.ogg")[2] == b"more" and ask_sound(port, "a.wav")[0] == 200
        assert ask_sound(port, "more//a.wav")[0] == ask_sound(port, "more//../secret.wav")[0] == 404


def test_link_that_is_created_later_does_not_lead_outside(music):
    deep = music / "music" / "deep"
    with serving(music / "m.index") as port:
        assert ask_sound(port, "deep/b.mp3")[0] == 200
        (deep / "b.mp3").unlink()
        (deep / "b.mp3").symlink_to(music / "secret.wav")
        assert ask_sound(port, "deep/b.mp3")[0] == 404
        (deep / "b.mp3").unlink()
        deep.rmdir()
        deep.symlink_to(music)
        (music / "b.mp3").write_bytes(b"secret")
        assert ask_sound(port, "deep/b.mp3")[0] == 404


def test_range_requests_give_parts_of_a_sound(music):
    content = (music / "music" / "a.wav").read_bytes()
    with serving(music / "m.index") as port:
        for header, status, expected in (
            ("bytes=0-9", 206, content[:10]),
            ("bytes=4990-", 206, content[4990:]),
            ("bytes=-7", 206, content[-7:]),
            ("bytes=10-99999", 206, content[10:]),
            ("bytes=5000-", 416, None),
        ):
            answer, headers, body = ask_sound(port, "a.wav", headers=[f"Range: {header}"])
            assert answer == status and (expected is None or body == expected), header
            if status == 206:
                start = content.index(expected)
                assert headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/5000"
        for header in ("bytes=5-1", "bytes=-", "lines=1-2", "bytes=" + ",".join(f"{n}-{n}" for n in range(1000))):
            assert ask_sound(port, "a.wav", headers=[f"Range: {header}"])[0] in (200, 206, 400, 416), header
        status, headers, body = ask_sound(port, "a.wav", method="HEAD")
        assert (status, headers["content-length"], body) == (200, "5000", b"")
        tag = headers["etag"]
        assert ask_sound(port, "a.wav", headers=["Range: bytes=0-1", f"If-Range: {tag}"])[0] == 206
        assert ask_sound(port, "a.wav", headers=["Range: bytes=0-1", 'If-Range: "old"'])[0] == 200


def test_head_does_not_read_the_sound(music):
    size = 64 << 20
    with open(music / "music" / "a.wav", "wb") as file:
        file.truncate(size)

    def bytes_read():
        return int(Path("/proc/self/io").read_text().split()[1])

    with serving(music / "m.index") as port, Client(port) as client:
        before = bytes_read()
        assert client.ask("/audio?id=a.wav", "HEAD")[1]["content-length"] == str(size)
        assert client.ask("/healthz")[0] == 200  # the answer before is complete
        assert bytes_read() - before < size / 2


def test_new_version_and_another_file_are_picked_up(tmp_path):
    path = filled(tmp_path / "a.index", 20)
    with serving(path) as port:
        version = get_json(port, "/api/similar?id=s1")["version"]
        assert ask(port, "/api/row?id=new")[0] == 404
        with Index.open(path) as index:
            index.add([{"id": "new", "title": "fresh"}], unit(1, seed=9), "audio")
        assert get_json(port, "/api/row?id=new")["row"]["title"] == "fresh"
        assert get_json(port, "/api/search?q=fresh")["hits"][0]["id"] == "new"
        assert get_json(port, "/api/info")["count"] == 21
        assert get_json(port, "/api/similar?id=s1")["version"] != version
        filled(path, 5, seed=3)
        assert ask(port, "/api/row?id=new")[0] == 404
        assert get_json(port, "/api/info")["count"] == 5


def test_missing_or_damaged_index_is_waited_for(tmp_path, capfd):
    path = filled(tmp_path / "a.index", 20)
    with serving(path) as port:
        assert get_json(port, "/api/similar?id=s1")["hits"]
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        for target in ("/api/similar?id=s1", "/api/info", "/api/search?q=waltz", "/api/layout"):
            status, headers, body = ask(port, target)
            assert status == 503 and headers["retry-after"] and "does not exist" in json.loads(body)["error"], target
        path.write_bytes(b"no index at all" * 1000)
        status, _, body = ask(port, "/api/similar?id=s1")
        assert status == 503 and str(tmp_path) not in body.decode()
        path.unlink()
        filled(path, 20)
        assert get_json(port, "/api/similar?id=s1")["hits"]
        assert ask(port, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_index_that_breaks_while_it_is_read_gives_503(tmp_path, capfd):
    path = filled(tmp_path / "a.index", 15_000)  # more than SQLite keeps in memory
    with serving(path) as port:
        assert get_json(port, "/api/similar?id=s1")["hits"]
        with open(path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        statuses = set()
        for target in (
            "/api/similar?id=s9&where=tempo+%3E+1", "/api/row?id=s9", "/api/similar?id=s9", "/api/column?name=a",
        ):  # fmt: skip
            for _ in range(3):
                status, _, body = ask(port, target)
                statuses.add(status)
                assert str(tmp_path) not in body.decode()
        assert 503 in statuses and statuses <= {200, 503}
        filled(path, 20)
        assert get_json(port, "/api/similar?id=s1")["hits"]
    err = capfd.readouterr().err
    assert "broken" in err and "Traceback" not in err


def test_commits_and_replacements_under_load_drop_no_request(tmp_path):
    path = filled(tmp_path / "a.index", 50)
    stop, answers = threading.Event(), []

    def client(target):
        with Client(port) as connection:
            while not stop.is_set():
                status, _, body = connection.ask(target)
                answers.append((status, None if status == 200 else body))

    with serving(path) as port:
        targets = ["/api/similar?id=s1", "/api/similar?id=s2&where=tempo+%3E+60", "/api/search?q=waltz", "/api/info"]
        threads = run_in_threads(client, [(target,) for target in targets])
        for turn in range(10):
            if turn % 2:
                new = filled(tmp_path / "new" / "a.index", 50 + turn)
                for end in ("-wal", "-shm"):
                    Path(f"{path}{end}").unlink(missing_ok=True)
                os.replace(new, path)
            else:
                with Index.open(path) as index:
                    index.add([{"id": f"new{turn}"}], unit(1, seed=turn), "audio")
            time.sleep(0.1)
        assert get_json(port, "/api/info")["count"] == 59
        stop.set()
        join(threads)
    assert len(answers) > 50
    assert set(answers) == {(200, None)}


def test_unexpected_failure_is_one_line_for_client_and_log(songs, capfd):
    class BrokenEmbedder(Embedder):
        def text(self, words):
            raise ZeroDivisionError("sqlite3.OperationalError\nin /home/me")

    with serving(songs, load=lambda path, field: BrokenEmbedder()) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        status, headers, body = ask(port, "/api/search?q=x")
        assert status == 500 and headers["content-type"] == "application/json" and headers["x-content-type-options"]
        assert b"sqlite" not in body and b"home" not in body and b"error" in body
        assert get_json(port, "/api/similar?id=s1")["hits"]
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "ZeroDivisionError" in err and "Traceback" not in err


def test_root_path_prefixes_all_addresses_behind_a_proxy(songs):
    token = "a-token-of-16-characters"
    with serving(songs, root_path="/songs", token=token) as port:
        status, headers, _ = ask(port, f"/songs/?token={token}", host="music.example")
        assert (status, headers["location"]) == (303, "/songs/") and "Path=/songs/;" in headers["set-cookie"]
        cookie = "Cookie: " + headers["set-cookie"].split(";")[0]
        for prefix in ("", "/songs"):  # whether the proxy strips the prefix or not
            own = [cookie, "Origin: https://music.example"]
            assert ask(port, f"{prefix}/api/similar?id=s1", headers=own, host="music.example")[0] == 200
            assert ask(port, f"{prefix}/main.js", headers=own, host="music.example")[0] == 200
    html = (Path(__file__).parents[2] / "jointembed" / "web" / "static" / "index.html").read_text()
    assert 'src="/' not in html and 'href="/' not in html


def test_access_log_is_in_the_common_log_format_without_the_token(songs, capfd):
    token = "a-token-of-16-characters"
    with serving(songs, token=token, access_log=True) as port:
        capfd.readouterr()
        bearer = [f"Authorization: Bearer {token}"]
        ask(port, f"/?token={token}")
        _, _, body = ask(port, '/api/similar?id=s1&where="tempo"=1', headers=bearer)
        _, _, page = ask(port, "/main.js", headers=bearer)
        ask(port, "/api/info", "HEAD", headers=bearer)
    err = capfd.readouterr().err
    pattern = r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "([^"]+)" (\d{3}) (\d+|-)'
    lines = [re.fullmatch(pattern, line).groups() for line in err.splitlines()]
    assert {host for host, *_ in lines} == {"127.0.0.1"} and token not in err
    assert abs(datetime.strptime(lines[0][1], "%d/%b/%Y:%H:%M:%S %z").timestamp() - time.time()) < 60
    requests = [line[2:] for line in lines if "/healthz" not in line[2]]  # that is `serving`, until the server answers
    assert requests == [
        ("GET /?token=... HTTP/1.1", "303", "-"),
        ("GET /api/similar?id=s1&where=%22tempo%22=1 HTTP/1.1", "200", str(len(body))),
        ("GET /main.js HTTP/1.1", "200", str(len(page))),
        ("HEAD /api/info HTTP/1.1", "200", "-"),
    ]


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal_ends_the_command_with_its_code(songs, name, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "jointembed", "serve", str(songs), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    line = process.stdout.readline()
    assert line.startswith("songs.index: 300 items at http://127.0.0.1:") and "Ctrl-C" in line
    port = int(line.split("127.0.0.1:")[1].split("/")[0])
    assert get_json(port, "/api/similar?id=s1")["hits"]
    with Client(port) as idle, Client(port) as incomplete:
        idle.ask("/healthz")
        incomplete.send(b"GET / HT")
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert not out and "Traceback" not in err


@pytest.mark.parametrize(
    "options, token, named",
    [
        (["--host", "0.0.0.0"], None, "token"),
        (["--host", "::"], None, "token"),
        (["--host", "192.0.2.1"], None, "token"),
        (["--host", "0.0.0.0"], "short", "token"),
        ([], "sixteen signs & more", "token"),
        (["--host", "192.0.2.1"], "a" * 16, "--port"),
        (["--port", "70000"], None, "--port"),
        (["--root", "/nowhere"], None, "/nowhere"),
        (["--root-path", "songs"], None, "--root-path"),
        (["--token-file", "/nowhere"], None, "--token-file"),
    ],
)
def test_unsafe_or_impossible_options_are_refused(songs, capsys, monkeypatch, options, token, named):
    if token is not None:
        monkeypatch.setenv("JOINTEMBED_TOKEN", token)
    assert main(["serve", str(songs), *options]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and named in err and not out


def test_token_is_read_from_a_file(songs, tmp_path):
    (tmp_path / "token").write_text("a-token-of-16-characters\n")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jointembed",
            "serve",
            str(songs),
            "--port",
            "0",
            "--token-file",
            str(tmp_path / "token"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert "/?token=a-token-of-16-characters" in line


def test_missing_index_is_refused(songs, capsys):
    assert main(["serve", f"{songs}.not"]) == 2


def test_occupied_port_is_refused(songs, port):
    with pytest.raises(UsageError, match="choose another port"), open_server(songs, port=port):
        pass


def test_missing_extra_is_one_line(songs):
    script = (
        "import sys; sys.modules['fastapi'] = None; from jointembed.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", str(songs)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and 'pip install "jointembed[serve]"' in done.stderr


def test_server_starts_without_torch():
    script = "import sys; import jointembed.serve.app, jointembed.cli.serve; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "False"
