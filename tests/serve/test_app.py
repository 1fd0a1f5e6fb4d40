import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
from web_server import DIM, PAGE, Client, Embedder, ask, filled, serving, told, unit, until

from jointembed.__main__ import main
from jointembed.errors import MismatchError, UsageError
from jointembed.index.index import Index
from jointembed.serve import audio, ready

ODD = ["a/b/../c", 'say "hi"', "\U0001f3b5 song", "two\nlines", "caf\udce9.mp3", "<img src=x>", "a&b=c+d%20", "..", "é"]


def spelt(id):
    return quote_from_bytes(id.encode("utf-8", "surrogateescape"), safe="")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("songs") / "songs.index", 300)


@pytest.fixture(scope="module")
def port(songs):
    with serving(songs) as port:
        yield port


def test_look_ups_give_what_the_index_gives(songs, port):
    with Index.open(songs) as index:
        ids = index.ids()
        for id in ("s0", "s7", "s299"):
            hits = told(port, f"/api/similar?id={id}&k=7")["hits"]
            wanted = index.similar(id, 7)
            assert [hit["id"] for hit in hits] == [hit.id for hit in wanted]
            assert [hit["row"] for hit in hits] == [hit.row for hit in wanted]
            assert np.allclose([hit["score"] for hit in hits], [hit.score for hit in wanted], atol=1e-6)
            assert [hit["rank"] for hit in hits] == list(range(1, 8))
            assert [ids[hit["place"]] for hit in hits] == [hit["id"] for hit in hits]


def test_look_ups_that_wait_together_are_not_mixed_up(songs, port):
    with Index.open(songs) as index:
        wanted = {id: [hit.id for hit in index.similar(id, 1 + at % 9)] for at, id in enumerate(index.ids()[:96])}
    found, wrong = {}, []

    def client(ids):
        with Client(port) as one:
            for id in ids:
                status, _, body = one.ask(f"/api/similar?id={id}&k={len(wanted[id])}")
                if status == 200:
                    found[id] = [hit["id"] for hit in json.loads(body)["hits"]]
                else:
                    wrong.append((status, body))

    threads = [threading.Thread(target=client, args=(list(wanted)[at::12],)) for at in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    assert found == wanted


def test_searches_take_conditions_variety_and_several_items(songs, port):
    with Index.open(songs) as index:
        asked = "/api/similar?id=s1&id=s2&minus=s3&k=5&where=genre+%3D+%27waltz%27&diverse=0.3&distinct=1"
        hits = told(port, asked)["hits"]
        wanted = index.similar(["s1", "s2"], 5, None, "genre = 'waltz'", unlike=["s3"], diversity=0.3, deduplicate=True)
        assert [hit["id"] for hit in hits] == [hit.id for hit in wanted]
        assert len(told(port, "/api/similar?id=s1&k=50&per=genre")["hits"]) == 2
        way = told(port, "/api/path?start=s1&end=s9&n=4")["hits"]
        assert [hit["id"] for hit in way] == [hit.id for hit in index.path_between("s1", "s9", 4)]
    assert told(port, "/api/row?id=s5")["row"]["title"] == "Song 5"
    assert told(port, "/api/cells?name=genre")["values"][:2] == ["waltz", "polka"]
    assert len(ask(port, "/api/map?axes=pca2")[2]) == 300 * 12


def test_what_cannot_be_had_is_said_in_one_line_that_names_the_field(port):
    for target, status, names in (
        ("/api/similar?id=nobody", 404, "id"),
        ("/api/similar?id=s1&id=nobody", 404, "id"),
        ("/api/row?id=nobody", 404, "id"),
        ("/api/row", 422, "id"),
        ("/api/similar?id=s1&where=genr+%3D+1", 422, "did you mean genre"),
        ("/api/similar?id=s1&where=1%3B+DROP+TABLE+rows", 422, "where"),
        ("/api/similar?id=s1&per=nothing", 422, "per"),
        ("/api/similar?id=s1&column=nothing", 422, "column"),
        ("/api/similar?id=s1&wher=genre", 422, "wher"),
        ("/api/search?q=%3F%21", 422, "word"),
        ("/api/path?start=s1&end=s1", 422, "path"),
        ("/api/path?start=s1&end=nobody", 404, "id"),
    ):
        found, headers, body = ask(port, target)
        assert (found, headers["content-type"]) == (status, "application/json"), target
        [line] = json.loads(body).values()
        assert names in line and "\n" not in line and "sqlite" not in line.lower(), target


def test_odd_ids_come_back_as_they_are(tmp_path):
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        index.add([{"id": id, "path": id, "tags": [id, {"of": id}, None]} for id in ODD], unit(len(ODD)), "audio")
    with serving(tmp_path / "a.index") as port:
        for id in ODD:
            assert told(port, f"/api/row?id={spelt(id)}")["row"]["tags"][1] == {"of": id}
            hits = told(port, f"/api/similar?id={spelt(id)}&k=100")["hits"]
            assert {hit["id"] for hit in hits} == set(ODD) - {id}


def test_the_description_is_of_what_there_is_and_is_plain(port):
    about = told(port, "/openapi.json")
    assert about["openapi"].startswith("3.")
    given = {one["name"]: one for one in about["paths"]["/api/similar"]["get"]["parameters"]}
    assert given["k"]["schema"]["maximum"] == 1000 and given["id"]["required"]
    assert "post" in about["paths"]["/api/query"]
    status, headers, body = ask(port, "/docs")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert b"/api/similar" in body and b"<script" not in body and b"http://" not in body and b"https://" not in body
    for path, methods in about["paths"].items():
        for method in methods:
            assert ask(port, path.format(opaque="x"), method.upper())[0] not in (405, 500, 501), path


def test_words_are_found_in_full_text_until_the_model_is_there(songs):
    go = threading.Event()
    embedder = Embedder()

    def load(path, column):
        go.wait(10)
        return embedder

    with serving(songs, load=load) as port:
        until(lambda: told(port, "/api/about")["text"] == "loading")
        assert not told(port, "/api/about")["file"]
        assert ask(port, "/api/query", "POST", body=b"abc")[0] == 503
        found = told(port, "/api/search?q=polka&k=3")
        assert found["how"] == "text" and {hit["row"]["genre"] for hit in found["hits"]} == {"polka"}
        go.set()
        until(lambda: told(port, "/api/about")["text"] == "ready")
        assert told(port, "/api/about")["file"]
        for _ in range(3):
            found = told(port, "/api/search?q=polka&k=3&where=genre+%3D+%27waltz%27")
            assert found["how"] == "model" and {hit["row"]["genre"] for hit in found["hits"]} == {"waltz"}
        assert embedder.asked == ["polka"]
        found = told(port, "/api/search?q=unknown")
        assert found["how"] == "text" and "none of these words" in found["note"]


@pytest.mark.parametrize(
    "error", [UsageError("model", "it is gone", "x"), MismatchError("/home/me/m", "it is gone", "x"), OSError()]
)
def test_without_its_model_the_rest_works(songs, error):
    def load(path, column):
        raise error

    with serving(songs, load=load) as port:
        until(lambda: told(port, "/api/about")["text"] == "none")
        found = told(port, "/api/search?q=polka&k=3")
        assert found["how"] == "text" and len(found["hits"]) == 3
        assert "gone" in found["note"] or "could not be loaded" in found["note"]
        assert "/home" not in found["note"]
        assert ask(port, "/api/query", "POST", body=b"abc")[0] == 422


def test_a_sound_that_is_sent_is_asked_with_and_leaves_nothing_behind(songs, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(songs, load=lambda path, column: Embedder()) as port:
        until(lambda: told(port, "/api/about")["file"])
        for headers in ((), ('Content-Disposition: attachment; filename="../../x"',)):
            found = told(port, "/api/query?k=4", method="POST", headers=headers, body=b"RIFF" * 100_000)
            assert found["how"] == "model" and len(found["hits"]) == 4
        status, _, body = ask(port, "/api/query", "POST", body=b"BAD sound")
        assert status == 422 and json.loads(body)["error"] == "the file: it holds no sound; send another one"
        assert ask(port, "/api/query", "POST")[0] == 422
        chunked = b"5\r\nRIFF1\r\n3\r\nabc\r\n0\r\n\r\n"
        with Client(port) as one:
            head = f"POST /api/query HTTP/1.1\r\nHost: localhost:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
            one.send(head.encode() + chunked)
            assert one.read()[0] == 200
        assert [*tmp_path.glob("jointembed-*/*")] == []
    assert [*tmp_path.iterdir()] == []


def test_uploads_beyond_what_may_wait_are_shed(songs):
    go = threading.Event()

    class Slow(Embedder):
        def sound(self, path):
            go.wait(10)
            return super().sound(path)

    with serving(songs, load=lambda path, column: Slow()) as port:
        until(lambda: told(port, "/api/about")["file"])
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(ask(port, "/api/query", "POST", body=b"RIFF")))
            for _ in range(16)
        ]
        for one in threads:
            one.start()
        until(lambda: len(found) == 6)
        assert told(port, "/api/similar?id=s1")["hits"]
        go.set()
        for one in threads:
            one.join()
    assert sorted(status for status, _, _ in found) == [200] * 10 + [503] * 6
    assert all(headers["retry-after"] for status, headers, _ in found if status == 503)


@pytest.fixture
def music(tmp_path):
    """An index of a folder, a secret outside, and links to it."""
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
    paths = ["a.wav", "deep/b.mp3", "out.wav", "../secret.wav", str(tmp_path / "secret.wav"), "notes.txt", "pipe.wav"]
    paths += [
        ".hidden/c.wav",
        "gone.wav",
        "disguised.wav",
        "deep",
        "d.ogg",
        "a.wav\0.mp3",
        "/etc/passwd",
        str(tmp_path / "more" / "d.ogg"),
    ]
    rows = [{"id": path, "path": path} for path in paths]
    with Index.create(tmp_path / "m.index", DIM, "cosine", root=str(root)) as index:
        index.add(rows, unit(len(rows)), "audio")
    return tmp_path


def heard(port, id, **how):
    """What is answered for the sound of a row; its status alone if the row has none."""
    audio = told(port, f"/api/row?id={spelt(id)}")["audio"]
    return (0, {}, b"") if audio is None else ask(port, audio, **how)


def test_sounds_are_heard_only_from_inside_the_folder(music):
    with serving(music / "m.index") as port:
        status, headers, body = heard(port, "a.wav")
        assert (status, headers["content-type"], body) == (200, "audio/wav", (music / "music" / "a.wav").read_bytes())
        assert heard(port, "deep/b.mp3")[1]["content-type"] == "audio/mpeg"
        with Index.open(music / "m.index") as index:
            others = [id for id in index.ids() if id not in ("a.wav", "deep/b.mp3")]
        assert len(others) == 13
        for id in others:
            status, _, body = heard(port, id)
            assert status in (0, 404) and b"secret" not in body and b"root:" not in body, id
    with serving(music / "m.index", roots=[str(music / "more")]) as port:
        assert heard(port, "d.ogg")[2] == b"more"
        assert heard(port, str(music / "more" / "d.ogg"))[2] == b"more"
        assert heard(port, "../secret.wav")[0] == 404


def test_a_link_that_is_put_there_later_is_not_followed_out(music):
    with serving(music / "m.index") as port:
        name = told(port, "/api/row?id=deep%2Fb.mp3")["audio"]
        assert ask(port, name)[0] == 200
        (music / "music" / "deep" / "b.mp3").unlink()
        (music / "music" / "deep" / "b.mp3").symlink_to(music / "secret.wav")
        assert ask(port, name)[0] == 404
        (music / "music" / "deep" / "b.mp3").unlink()
        (music / "music" / "deep").rmdir()
        (music / "music" / "deep").symlink_to(music)
        (music / "b.mp3").write_bytes(b"secret")
        assert ask(port, name)[0] == 404


def test_a_folder_that_becomes_a_link_between_two_looks_leads_nowhere(music):
    top = os.fsencode(music / "music")
    os.close(audio._walked(top, [b"deep", b"b.mp3"]))
    (music / "music" / "aside").symlink_to(music / "more")
    assert audio._walked(top, [b"aside", b"d.ogg"]) is None and audio._walked(top, [b"out.wav"]) is None


def test_ranges(music):
    whole = (music / "music" / "a.wav").read_bytes()
    with serving(music / "m.index") as port:
        for asked, status, wanted in (
            ("bytes=0-9", 206, whole[:10]),
            ("bytes=4990-", 206, whole[4990:]),
            ("bytes=-7", 206, whole[-7:]),
            ("bytes=10-99999", 206, whole[10:]),
            ("bytes=-99999", 206, whole),
            ("bytes=5-1", 200, whole),
            ("bytes=0-1,3-4", 200, whole),
            ("bytes=" + ",".join(f"{n}-{n}" for n in range(1000)), 200, whole),
            ("bytes=-", 200, whole),
            ("lines=1-2", 200, whole),
            ("bytes=0x1-2", 200, whole),
            ("bytes=" + "9" * 200 + "-", 200, whole),
            ("bytes=5000-", 416, None),
            ("bytes=-0", 416, None),
        ):
            begun = time.monotonic()
            found, headers, body = heard(port, "a.wav", headers=[f"Range: {asked}"])
            assert found == status and (wanted is None or body == wanted), asked
            assert time.monotonic() - begun < 1
            if status == 206:
                start = (
                    whole.index(wanted) if len(wanted) == 5000 else 5000 - len(wanted) if wanted != whole[:10] else 0
                )
                assert headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/5000"
        status, headers, body = heard(port, "a.wav", method="HEAD")
        assert (status, headers["content-length"], body) == (200, "5000", b"")
        tag = headers["etag"]
        assert heard(port, "a.wav", headers=["Range: bytes=0-1", f"If-Range: {tag}"])[0] == 206
        assert heard(port, "a.wav", headers=["Range: bytes=0-1", 'If-Range: "old"'])[0] == 200


def test_large_answers_come_whole(songs):
    for size in (0, 1, 256 << 10, (256 << 10) + 1, 3_000_001):
        content = np.random.default_rng(size).bytes(size)
        page = type(PAGE)(**{**vars(PAGE), "points": lambda index, axes, column, content=content: content})
        with serving(songs, page=page) as port:
            assert ask(port, "/api/map")[2] == content
            assert ask(port, "/api/map", "HEAD")[1]["content-length"] == str(size)


def test_names_of_sounds_are_worth_nothing_elsewhere(music):
    with serving(music / "m.index") as port, serving(music / "m.index") as other:
        name = told(port, "/api/row?id=a.wav")["audio"]
        assert ask(port, name)[0] == 200 and ask(other, name)[0] == 404
        for changed in (name[:-1] + ("A" if name[-1] != "A" else "B"), name + "A", name[:-1], "/audio/" + "A" * 24):
            assert ask(port, changed)[0] == 404


def test_a_new_generation_and_another_file_are_taken_up(tmp_path):
    path = filled(tmp_path / "a.index", 20)
    with serving(path) as port:
        assert ask(port, "/api/row?id=new")[0] == 404
        with Index.open(path) as index:
            index.add([{"id": "new", "title": "fresh"}], unit(1, seed=9), "audio")
        assert told(port, "/api/row?id=new")["row"]["title"] == "fresh"
        assert told(port, "/api/search?q=fresh")["hits"][0]["id"] == "new"
        assert told(port, "/api/about")["count"] == 21
        filled(path, 5, seed=3)
        assert ask(port, "/api/row?id=new")[0] == 404
        assert told(port, "/api/about")["count"] == 5


def test_an_index_that_is_gone_or_broken_is_waited_for(tmp_path, capfd):
    path = filled(tmp_path / "a.index", 20)
    with serving(path) as port:
        assert told(port, "/api/similar?id=s1")["hits"]
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        for target in ("/api/similar?id=s1", "/api/about", "/api/search?q=waltz", "/api/map"):
            status, headers, body = ask(port, target)
            assert status == 503 and headers["retry-after"] and "not there" in json.loads(body)["error"], target
        path.write_bytes(b"no index at all" * 1000)
        status, _, body = ask(port, "/api/similar?id=s1")
        assert status == 503 and str(tmp_path) not in body.decode()
        path.unlink()
        filled(path, 20)
        assert told(port, "/api/similar?id=s1")["hits"]
        assert ask(port, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_an_index_that_breaks_while_it_is_read_is_said_so(tmp_path, capfd):
    path = filled(tmp_path / "a.index", 15_000)  # more than SQLite keeps in memory
    with serving(path) as port:
        assert told(port, "/api/similar?id=s1")["hits"]
        with open(path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        found = set()
        for target in (
            "/api/similar?id=s9&where=tempo+%3E+1",
            "/api/row?id=s9",
            "/api/similar?id=s9",
            "/api/cells?name=a",
        ):
            for _ in range(3):
                status, _, body = ask(port, target)
                found.add(status)
                assert str(tmp_path) not in body.decode()
        assert 503 in found and found <= {200, 503}
        filled(path, 20)
        assert told(port, "/api/similar?id=s1")["hits"]
    err = capfd.readouterr().err
    assert "broken" in err and "Traceback" not in err


def test_what_is_under_way_is_finished_when_the_server_stops(songs, monkeypatch):
    search = Index.search

    def slow(*words, **more):
        time.sleep(0.2)
        return search(*words, **more)

    monkeypatch.setattr(Index, "search", slow)
    found = []
    with serving(songs) as port:
        target = "/api/similar?id=s1&where=tempo+%3E+60"
        threads = [threading.Thread(target=lambda: found.append(ask(port, target)[0])) for _ in range(8)]
        for one in threads:
            one.start()
        until(lambda: found)
    for one in threads:
        one.join()
    assert found == [200] * 8


def test_commits_and_swaps_under_load_drop_no_request(tmp_path):
    path = filled(tmp_path / "a.index", 50)
    stop, found = threading.Event(), []

    def client(target):
        with Client(port) as one:
            while not stop.is_set():
                status, _, body = one.ask(target)
                found.append((status, None if status == 200 else body))

    with serving(path) as port:
        targets = ["/api/similar?id=s1", "/api/similar?id=s2&where=tempo+%3E+60", "/api/search?q=waltz", "/api/about"]
        threads = [threading.Thread(target=client, args=(target,)) for target in targets]
        for one in threads:
            one.start()
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
        assert told(port, "/api/about")["count"] == 59
        stop.set()
        for one in threads:
            one.join()
    assert len(found) > 50
    assert set(found) == {(200, None)}


def test_too_many_questions_are_refused_at_once_and_no_other_way(tmp_path, monkeypatch):
    path = filled(tmp_path / "a.index", 50)
    search = Index.search

    def slow(*words, **more):
        time.sleep(0.02)
        return search(*words, **more)

    monkeypatch.setattr(Index, "search", slow)
    found = []

    def client():
        with Client(port) as one:
            for _ in range(6):
                begun = time.monotonic()
                status, headers, _ = one.ask("/api/similar?id=s1&where=tempo+%3E+60")
                found.append((status, headers.get("retry-after"), time.monotonic() - begun))

    with serving(path) as port:
        threads = [threading.Thread(target=client) for _ in range(60)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        statuses = [status for status, _, _ in found]
        assert set(statuses) == {200, 503} and len(statuses) == 360
        assert all(wait == "1" for status, wait, _ in found if status == 503)
        assert told(port, "/api/similar?id=s1")["hits"]


def test_an_unexpected_failure_is_one_line_for_both_sides(songs, capfd):
    def points(index, axes, column):
        raise ZeroDivisionError("sqlite3.OperationalError\nin /home/me")

    page = type(PAGE)(**{**vars(PAGE), "points": points})
    with serving(songs, page=page) as port:
        status, headers, body = ask(port, "/api/map")
        assert status == 500 and headers["content-type"] == "application/json" and headers["x-content-type-options"]
        assert b"sqlite" not in body and b"home" not in body and b"error" in body
        assert told(port, "/api/similar?id=s1")["hits"]
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "ZeroDivisionError" in err and "Traceback" not in err


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_the_command_in_time_with_its_code(songs, name, code):
    script = "import sys; from web_server import PAGE; sys.modules['jointembed.web.export'] = PAGE; "
    script += "from jointembed.__main__ import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "serve", str(songs), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": f"{Path(__file__).parents[1] / 'support'}{os.pathsep}{Path(__file__).parents[2]}",
        },
    )
    line = process.stdout.readline()
    assert line.startswith("songs.index: 300 items at http://127.0.0.1:") and "Ctrl-C" in line
    port = int(line.split("127.0.0.1:")[1].split("/")[0])
    assert told(port, "/api/similar?id=s1")["hits"]
    with Client(port) as idle, Client(port) as slow:
        idle.ask("/healthz")
        slow.send(b"GET / HT")
        begun = time.monotonic()
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=10)
    assert process.returncode == code and time.monotonic() - begun < 5
    assert not out and "Traceback" not in err


def test_nothing_is_served_to_others_without_a_token(songs, capsys):
    for words, named in (
        (["--host", "0.0.0.0"], "token"),
        (["--host", "::"], "token"),
        (["--host", "192.0.2.1"], "token"),
        (["--host", "0.0.0.0", "--token", "short"], "--token"),
        (["--token", "sixteen signs & more"], "--token"),
        (["--host", "192.0.2.1", "--token", "a" * 16], "--port"),
        (["--port", "70000"], "--port"),
        (["--root", "/nowhere"], "/nowhere"),
    ):
        assert main(["serve", str(songs), *words]) == 2, words
        out, err = capsys.readouterr()
        assert err.count("\n") == 1 and named in err and not out, words
    assert main(["serve", str(songs) + ".not"]) == 2


def test_a_port_that_is_taken_is_said_so(songs, port):
    with pytest.raises(UsageError, match="choose another port"), ready(songs, port=port, page=PAGE):
        pass


def test_a_missing_extra_is_one_line(songs):
    script = (
        "import sys; sys.modules['fastapi'] = None; from jointembed.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", str(songs)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and 'pip install "jointembed[serve]"' in done.stderr


def test_a_server_starts_without_torch():
    script = "import sys; import jointembed.serve.app, jointembed.cli.serve; print('torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_threads_that_search_give_way_to_the_one_that_refuses(songs):
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with serving(songs) as port:
        told(port, "/api/similar?id=s1&k=2&where=tempo+%3E+62")
        found = {one.name: os.getpriority(os.PRIO_PROCESS, one.native_id) for one in threading.enumerate()}
    assert {found[name] for name in ("look-up", "search", "map", "file", "watch")} == {min(own + 5, 19)}
    assert found["MainThread"] == own
