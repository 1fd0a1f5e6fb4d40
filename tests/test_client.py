"""The client of the server: it asks a real one, or one of a few lines that answers what it is given."""

import contextlib
import http.server
import subprocess
import sys
import threading
import time

import pytest
from web_server import DIM, filled, serving, unit

from jointembed import Client
from jointembed.errors import UsageError, UserError
from jointembed.index.index import Index

TOKEN = "a-token-of-16-characters"


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("songs") / "songs.index", 60)


@pytest.fixture(scope="module")
def client(songs):
    with serving(songs, token=TOKEN) as port:
        yield Client(f"http://127.0.0.1:{port}/", TOKEN)


@contextlib.contextmanager
def scripted(*answers):
    """The address of a server that gives each answer (status, headers, body) once, and the requests it has had."""
    waiting, requests = list(answers), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, dict(self.headers)))
            status, headers, body = waiting.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


def test_answers_are_those_of_the_index(songs, client):
    with Index.open(songs) as index:
        expected = index.similar(["s1", "s2"], 5, where="genre = 'waltz'", unlike=["s3"], deduplicate=True)
        answer = client.similar(["s1", "s2"], 5, where="genre = 'waltz'", unlike=["s3"], deduplicate=True)
        assert ids(answer) == [hit.id for hit in expected]
        assert ids(client.similar("s1")) == [hit.id for hit in index.similar("s1")]
        assert ids(client.path("s1", "s9", 4)) == [hit.id for hit in index.path_between("s1", "s9", 4)]
        assert ids(client.search("song 7", k=3)) == [hit.id for hit in index.search_text("song 7", 3)]
        assert client.info()["version"] == index.version
        assert client.row("s5")["row"]["title"] == "Song 5"
    assert ids(client.similar("s1", 4)) == ids(client.similar("s1", 2)) + ids(client.similar("s1", 2, offset=2))


def test_ids_of_any_characters_are_asked_for_unchanged(tmp_path):
    names = ["a&b=c+d%20", "caf\udce9.mp3", "é\n#?/.."]
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        index.add([{"id": name} for name in names], unit(len(names)), "audio")
    with serving(tmp_path / "a.index") as port:
        client = Client(f"http://127.0.0.1:{port}")
        for name in names:
            assert client.row(name)["id"] == name
            assert set(ids(client.similar(name))) == set(names) - {name}


@pytest.mark.parametrize(
    "ask, named",
    [
        (lambda client: client.row("nobody"), "the index has no item with this id"),
        (lambda client: client.similar("s1", k=0), "k: input should be greater than or equal to 1"),
        (lambda client: client.similar("s1", where="genr = 1"), "did you mean genre"),
        (lambda client: client.search("song", nothing=1), "nothing: unknown parameter"),
        (lambda client: Client(client.url).info(), "give the token of the server"),
        (lambda client: Client(client.url, "wrong").info(), "give the token of the server"),
        (lambda client: Client(client.url + "/songs", TOKEN).info(), "not found"),
    ],
)
def test_refusal_of_the_server_is_a_usage_error(client, ask, named):
    with pytest.raises(UsageError) as error:
        ask(client)
    assert named in str(error.value) and client.url in str(error.value) and TOKEN not in str(error.value)


BUSY = (503, {"Retry-After": "1"}, b'{"error": "the server is busy"}')


def test_busy_server_is_asked_again_after_the_time_it_names(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    later = (503, {"Retry-After": "900"}, b"{}"), (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"{}")
    with scripted(BUSY, *later, (200, {}, b'{"count": 3}')) as (url, requests):
        assert Client(url, "token").info() == {"count": 3}
    assert waits == [1, 30, 1]
    assert [headers["Authorization"] for _, headers in requests] == ["Bearer token"] * 4


def test_server_that_stays_busy_or_fails_is_an_error(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with scripted(*[BUSY] * 6) as (url, requests), pytest.raises(UserError, match="the server is busy"):
        Client(url).info()
    assert len(requests) == 6
    for status in (500, 503):
        with scripted((status, {}, b"<html>")) as (url, requests), pytest.raises(UserError, match=f"status {status}"):
            Client(url).info()
        assert len(requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"\xff"])
def test_answer_that_is_not_json_is_one_line(body):
    with scripted((200, {}, body)) as (url, _), pytest.raises(UsageError, match="not JSON"):
        Client(url).info()


def test_redirects_are_not_followed():
    with scripted((200, {}, b"{}")) as (elsewhere, received), scripted((302, {"Location": elsewhere}, b"")) as (url, _):
        with pytest.raises(UsageError, match="status 302"):
            Client(url, TOKEN).info()
        assert not received


def test_proxy_of_the_environment_is_not_asked_for_this_machine(client, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Client(client.url, TOKEN).info()["count"] == 60


def test_text_that_is_not_unicode_is_one_line(client):
    with pytest.raises(UsageError, match="not valid Unicode"):
        client.search("\ud800")


def test_missing_server_is_one_line():
    with pytest.raises(UsageError, match="no server answers"):
        Client("http://127.0.0.1:9").info()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8765",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://h:x",
        "http://a b",
        f"http://h/?token={TOKEN}",
    ],
)
def test_impossible_address_is_refused(url):
    with pytest.raises(UsageError) as error:
        Client(url)
    assert "http://127.0.0.1:8765" in str(error.value) and TOKEN not in str(error.value)


def test_token_with_a_line_break_is_refused():
    with pytest.raises(UsageError, match="token"):
        Client("http://127.0.0.1:8765", "a\r\nX: b")


def test_client_loads_the_standard_library_alone():
    code = "import sys; before = set(sys.modules); from jointembed import Client; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert packages <= set(sys.stdlib_module_names) | {"jointembed"}
