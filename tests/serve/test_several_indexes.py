"""Several indexes in one server: each has its page and API at an address of its own."""

import contextlib
import json
import threading
from pathlib import Path

import pytest
import torch
from web_server import DIM, Embedder, ask, filled, get_json, serving, unit, until

from jointembed import BagOfWords, Client, EmbeddingBag, Space
from jointembed.errors import UsageError, UserError
from jointembed.index.index import Index
from jointembed.indexing.query_encoder import QueryEncoders
from jointembed.serve import open_server
from jointembed.serve.served_index import choose_names

TOKEN = "a-token-of-16-characters"


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """An index of 30 songs and one of 20, of other vectors."""
    folder = tmp_path_factory.mktemp("several")
    return [filled(folder / "songs.index", 30), filled(folder / "über uns.index", 20, seed=1)]


@pytest.fixture(scope="module")
def port(paths):
    with serving(paths) as port:
        yield port


SECOND = "/indexes/%C3%BCber%20uns"


def test_each_index_answers_at_its_own_address(paths, port):
    for path, prefix in zip(paths, ("/indexes/songs", SECOND), strict=True):
        with Index.open(path) as index:
            expected = [(hit.id, hit.score) for hit in index.similar("s1", 5)]
            hits = get_json(port, f"{prefix}/api/similar?id=s1&k=5")["hits"]
            assert [(hit["id"], hit["score"]) for hit in hits] == expected
            info = get_json(port, f"{prefix}/api/info")
            assert (info["count"], info["version"]) == (len(index), index.version)
            assert (info["name"], info["indexes"]) == (path.stem, ["songs", "über uns"])
        assert get_json(port, f"{prefix}/api/search?q=waltz&k=3")["hits"]
        assert ask(port, f"{prefix}/api/layout")[1]["index-version"] == info["version"]


def test_page_of_each_index_and_the_list_of_all_are_served(port):
    status, headers, _ = ask(port, "/")
    assert (status, headers["location"]) == (303, "/indexes/songs/")
    status, headers, _ = ask(port, SECOND)
    assert (status, headers["location"]) == (307, f"{SECOND}/")
    for prefix in ("/indexes/songs", SECOND):
        assert b"main.js" in ask(port, f"{prefix}/")[2]
        assert ask(port, f"{prefix}/main.js")[1]["content-type"] == "text/javascript; charset=utf-8"
    assert get_json(port, "/indexes")["indexes"] == [
        {"name": "songs", "address": "indexes/songs/", "rows": 30},
        {"name": "über uns", "address": SECOND[1:] + "/", "rows": 20},
    ]
    for target in ("/indexes/nothing/api/info", "/indexes/nothing", "/indexes/", "/api/info", "/main.js"):
        status, _, body = ask(port, target)
        assert status == 404 and list(json.loads(body)) == ["error"], target


def test_calls_at_once_are_answered_by_their_own_index(paths, port):
    """Calls with the same parameters wait for one thread, which answers those of an index together."""
    expected = {}
    for path, prefix in zip(paths, ("/indexes/songs", SECOND), strict=True):
        with Index.open(path) as index:
            expected[prefix] = [hit.score for hit in index.similar("s3", 4)]
    answers = []
    threads = [
        threading.Thread(
            target=lambda prefix=prefix: answers.append((prefix, get_json(port, f"{prefix}/api/similar?id=s3&k=4")))
        )
        for prefix in list(expected) * 12
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 24
    assert all([hit["score"] for hit in answer["hits"]] == expected[prefix] for prefix, answer in answers)


def test_client_asks_the_index_whose_address_it_has(paths, port):
    for path, address in zip(paths, ("indexes/songs", f"{SECOND[1:]}/"), strict=True):
        client = Client(f"http://127.0.0.1:{port}/{address}")
        with Index.open(path) as index:
            assert [hit["id"] for hit in client.similar("s2", 3)["hits"]] == [hit.id for hit in index.similar("s2", 3)]
        with pytest.raises(UsageError, match="docs"):
            client.row("nobody")
    with pytest.raises(UsageError, match="each index of this server has its own address, see /indexes"):
        Client(f"http://127.0.0.1:{port}").info()


def test_openapi_describes_all_indexes_and_each(port):
    api = get_json(port, "/openapi.json")
    route = api["paths"]["/indexes/{index}/api/similar"]["get"]
    assert route["parameters"][0]["schema"]["enum"] == ["songs", "über uns"]
    assert {each["name"] for each in route["parameters"]} >= {"index", "id", "k", "where"}
    schema = route["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["$ref"].removeprefix("#/components/schemas/") in api["components"]["schemas"]
    for path, methods in api["paths"].items():
        for method in methods:
            assert ask(port, path.replace("{index}", "songs"), method.upper())[0] in (200, 422), path
    own = get_json(port, "/indexes/songs/openapi.json")
    assert own["servers"] == [{"url": "/indexes/songs"}] and "/api/similar" in own["paths"]
    assert b"/indexes/{index}/api/similar" in ask(port, "/docs")[2]
    assert b"/api/similar" in ask(port, f"{SECOND}/docs")[2]


def test_metrics_have_a_label_for_each_index(tmp_path):
    paths = [filled(tmp_path / "a.index", 5), filled(tmp_path / "b.index", 6)]
    with serving(paths) as port:
        get_json(port, "/indexes/b/api/info")
        assert ask(port, "/")[1]["location"] == "/indexes/a/"
        paths[0].rename(tmp_path / "away")
        assert ask(port, "/")[1]["location"] == "/indexes/b/"  # whose page offers the others
        lines = ask(port, "/metrics")[2].decode().splitlines()
        listed = get_json(port, "/indexes")["indexes"]
        assert get_json(port, "/indexes/b/api/info")["count"] == 6 and ask(port, "/healthz")[0] == 200
        assert ask(port, "/indexes/a/api/info")[0] == 503
    assert 'jointembed_index_up{index="a"} 0' in lines and 'jointembed_index_up{index="b"} 1' in lines
    assert 'jointembed_index_rows{index="b"} 6' in lines
    assert 'jointembed_requests_total{route="/indexes/b/api/info",status="200"} 1' in lines
    assert listed[0]["rows"] is None and "does not exist" in listed[0]["error"] and listed[1]["rows"] == 6


@pytest.mark.parametrize("sent", ["", "/music"])
def test_token_and_root_path_cover_all_indexes(paths, sent):
    """A proxy may or may not remove the prefix from the addresses."""
    with serving(paths, token=TOKEN, root_path="/music") as port:
        for target in ("/indexes", "/indexes/songs/", "/indexes/songs/api/info", "/metrics"):
            assert ask(port, sent + target, host="music.example")[0] == 401, target
        status, headers, _ = ask(port, f"{sent}/?token={TOKEN}", host="music.example")
        assert (status, headers["location"]) == (303, "/music/") and "Path=/music/;" in headers["set-cookie"]
        own = [f"Cookie: {headers['set-cookie'].split(';')[0]}"]
        assert ask(port, f"{sent}/", headers=own)[1]["location"] == "/music/indexes/songs/"
        for target in ("/indexes/songs/api/similar?id=s1", f"{SECOND}/main.js", "/indexes"):
            assert ask(port, sent + target, headers=own)[0] == 200, target
        assert ask(port, f"{sent}/indexes/songs", headers=own)[1]["location"] == "/music/indexes/songs/"


def test_bounds_hold_for_all_indexes_together(paths):
    class Slow(Embedder):
        go = threading.Event()

        def text(self, words):
            self.go.wait(20)
            return super().text(words)

    with serving(paths, load=lambda path, field: Slow()) as port:
        for prefix in ("/indexes/songs", SECOND):
            until(lambda prefix=prefix: get_json(port, f"{prefix}/api/info")["text"] == "ready")
        answers = []
        threads = [
            threading.Thread(
                target=lambda at=at: answers.append(
                    ask(port, f"{('/indexes/songs', SECOND)[at % 2]}/api/search?q=w{at}")
                )
            )
            for at in range(40)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) == 7)  # one is embedded, 32 wait
        Slow.go.set()
        for thread in threads:
            thread.join()
    assert sorted(status for status, _, _ in answers) == [200] * 33 + [503] * 7


def test_model_that_indexes_share_is_loaded_once(tmp_path):
    torch.manual_seed(0)
    words = BagOfWords()
    words.fit(["slow waltz", "fast reel"])
    space = Space(DIM, {"caption": EmbeddingBag(words)})
    space.build()
    paths = []
    for name in ("a", "b"):  # each with a copy of the model
        space.save(tmp_path / f"{name}.ckpt")
        paths.append(tmp_path / f"{name}.index")
        about = (str(tmp_path / f"{name}.ckpt"), space.fingerprint)
        with Index.create(paths[-1], DIM, "cosine", *about) as index:
            index.add([{"id": f"{name}{at}"} for at in range(9)], unit(9), "caption")
    with contextlib.closing(QueryEncoders()) as encoders:
        first, second = (encoders.load(path, "caption") for path in paths)
        assert first.encoder.space is second.encoder.space
        with serving(paths, load=encoders.load) as port:
            for name in ("a", "b"):
                until(lambda name=name: get_json(port, f"/indexes/{name}/api/info")["text"] == "ready", 30)
                answer = get_json(port, f"/indexes/{name}/api/search?q=slow")
                assert answer["method"] == "model" and answer["hits"][0]["id"].startswith(name)


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    names = ["x/a/songs", "x/b/songs", "y/b/songs", "films"]
    paths = [filled(tmp_path / f"{name}.index", 4 + at) for at, name in enumerate(names)]
    with open_server(paths, port=0) as server:
        lines = server.summary.splitlines()
    assert [line.partition("/indexes/")[2] for line in lines[:4]] == ["a-songs/", "x-b-songs/", "y-b-songs/", "films/"]
    assert lines[1].startswith("songs.index: 5 items at http://127.0.0.1:") and lines[4].startswith("4 indexes at ")
    with pytest.raises(UsageError, match="given twice"):
        choose_names([paths[0], tmp_path / "x" / "b" / ".." / "a" / "songs.index"])
    with pytest.raises(UsageError, match="rename"):
        choose_names([Path("/a/c.index"), Path("/b/c.index"), Path("/a-c.index")])


def test_music_players_get_a_single_index_only(paths):
    problem = pytest.raises(UsageError, match="--opensubsonic.*a single index, and 2 are given")
    with problem, open_server(paths, port=0, opensubsonic="ann:password"):
        pass


def test_missing_index_among_several_is_named(paths, tmp_path):
    with pytest.raises(UserError, match="gone.index"), open_server([*paths, tmp_path / "gone.index"], port=0):
        pass
