"""What a running server does when its indexes, models and secrets change, and when it gets signals."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from web_server import DIM, Client, Embedder, ask, filled, get_json, serving, unit, until

from jointembed import BagOfWords, EmbeddingBag, Space
from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.indexing.query_encoder import QueryEncoders

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}
OLD, NEW = "the-old-token-of-this-server", "the-new-token-of-this-server"


def add_rows(path, name, count=50):
    """Commit rows in another process, as `jointembed index` does."""
    code = (
        "import sys; from web_server import Index, unit; path, name, count = sys.argv[1:]\n"
        "with Index.open(path) as index:\n"
        "    index.add([{'id': f'{name}{n}'} for n in range(int(count))], unit(int(count)), 'audio')"
    )
    subprocess.run([sys.executable, "-c", code, path, name, str(count)], check=True, env=ENVIRONMENT)


def count(port):
    return get_json(port, "/api/info")["count"]


@contextlib.contextmanager
def started(*words, **options):
    """The command in a process of its own, with its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jointembed", "serve", *map(str, words), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"env": ENVIRONMENT, **options},
    )
    try:
        line = process.stdout.readline()
        yield process, int(line.split("http://127.0.0.1:")[1].split("/")[0])
    finally:
        process.kill()
        process.communicate()


def test_file_that_is_moved_over_a_served_index_takes_its_place(tmp_path):
    """Logs of the old file must not be replayed into the new one."""
    path = filled(tmp_path / "a.index", 20)
    with serving(path) as port:
        assert count(port) == 20
        add_rows(path, "new")
        assert count(port) == 70
        os.replace(filled(tmp_path / "other" / "a.index", 5, seed=3), path)
        assert count(port) == 5
        assert {hit["id"] for hit in get_json(port, "/api/similar?id=s1")["hits"]} == {"s0", "s2", "s3", "s4"}
        add_rows(path, "more")
        assert count(port) == 55
    with Index.open(path) as index:
        assert len(index) == 55 and index.ids()[:6] == ["s0", "s1", "s2", "s3", "s4", "more0"]


def test_file_that_is_copied_over_a_served_index_takes_its_place(tmp_path):
    """SQLite does not notice that: its pages in memory stay those of the old file."""
    path = filled(tmp_path / "a.index", 20)
    copy = filled(tmp_path / "other" / "a.index", 5, seed=3)
    with serving(path) as port:
        for rows in (5, 55, 105):  # another index, and two versions of it
            shutil.copyfile(copy, path)
            until(lambda: ask(port, "/api/info")[0] == 200)  # until those that still read the old content have finished
            assert count(port) == rows
            with Index.open(copy) as index:
                expected = [hit.id for hit in index.similar("s1", 200)]
            assert [hit["id"] for hit in get_json(port, "/api/similar?id=s1&k=200")["hits"]] == expected
            add_rows(copy, f"at{rows}-")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the open files of a process are listed on Linux only")
def test_deleted_index_takes_no_space_on_the_disk(tmp_path):
    path = filled(tmp_path / "a.index", 20)

    def open_files():
        targets = map(read_link, os.listdir("/proc/self/fd"))
        return [target for target in targets if target.removesuffix(" (deleted)") == str(path)]

    def read_link(fd):
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/self/fd/{fd}")
        return ""

    with serving(path) as port:
        assert count(port) == 20 and open_files()
        path.unlink()
        assert ask(port, "/api/info")[0] == 503
        until(lambda: not open_files())


def test_reload_opens_the_index_again_and_drops_no_request(tmp_path):
    class Slow(Embedder):
        go = threading.Event()

        def text(self, words):
            self.texts.append(words)
            self.go.wait(20)
            return super().text(words)

    path, servers, answers, embedder = filled(tmp_path / "a.index", 20), [], [], Slow()
    with serving(path, servers.append, load=lambda path, field: embedder, token=OLD) as port:
        bearer = [f"Authorization: Bearer {OLD}"]
        until(lambda: get_json(port, "/api/info", headers=bearer)["text"] == "ready")
        targets = ["/api/search?q=one", "/api/search?q=two"]
        threads = [
            threading.Thread(target=lambda target=target: answers.append(ask(port, target, headers=bearer)[0]))
            for target in targets
        ]
        for thread in threads:
            thread.start()
        queued = b'jointembed_queue_length{queue="embed-text"} 1'
        until(lambda: embedder.texts and queued in ask(port, "/metrics", headers=bearer)[2])
        for _ in range(3):
            servers[0].reload(NEW, None)
            assert ask(port, "/api/info", headers=bearer)[0] == 401
            assert get_json(port, "/api/info", headers=[f"Authorization: Bearer {NEW}"])["text"] == "ready"
        with pytest.raises(UsageError, match="token"):
            servers[0].reload("short", None)
        assert get_json(port, "/api/similar?id=s1", headers=[f"Authorization: Bearer {NEW}"])["hits"]
        embedder.go.set()
        for thread in threads:
            thread.join()
    assert answers == [200, 200]


def test_new_token_makes_the_cookies_of_the_old_one_void(tmp_path):
    path, servers = filled(tmp_path / "a.index"), []
    with serving(path, servers.append, token=OLD) as port:
        cookie = [f"Cookie: {ask(port, f'/?token={OLD}')[1]['set-cookie'].split(';')[0]}"]
        assert ask(port, "/api/info", headers=cookie)[0] == 200
        servers[0].reload(OLD, None)
        assert ask(port, "/api/info", headers=cookie)[0] == 200
        servers[0].reload(NEW, None)
        assert ask(port, "/api/info", headers=cookie)[0] == 401


def test_music_players_present_the_new_password_after_a_reload(tmp_path):
    path, servers = filled(tmp_path / "a.index"), []
    with serving(path, servers.append, opensubsonic="ann:the old one") as port:

        def status(password):
            return get_json(port, f"/rest/ping?f=json&u=ann&p={password}")["subsonic-response"]["status"]

        assert (status("the+old+one"), status("the+new+one")) == ("ok", "failed")
        servers[0].reload(None, "ann:the new one")
        assert (status("the+old+one"), status("the+new+one")) == ("failed", "ok")
        with pytest.raises(UsageError, match="password"):
            servers[0].reload(None, "ann:short")
        assert status("the+new+one") == "ok"


@pytest.fixture
def model(tmp_path):
    """A model of words, its file, and an index of its vectors."""
    torch.manual_seed(0)
    words = BagOfWords()
    words.fit(["slow waltz", "fast reel"])
    space = Space(DIM, {"caption": EmbeddingBag(words)})
    space.build()
    space.save(tmp_path / "m.ckpt")
    with Index.create(tmp_path / "a.index", DIM, "cosine", str(tmp_path / "m.ckpt"), space.fingerprint) as index:
        index.add([{"id": f"s{at}"} for at in range(9)], unit(9), "caption")
    return tmp_path / "m.ckpt"


def test_model_that_appears_is_loaded_and_one_that_disappears_stays(model, capfd):
    away = model.rename(model.with_suffix(".away"))
    encoders = QueryEncoders()
    with contextlib.closing(encoders), serving(model.with_name("a.index"), load=encoders.load) as port:
        until(lambda: "is missing" in get_json(port, "/api/info").get("why", ""))
        away.rename(model)
        until(lambda: get_json(port, "/api/info")["text"] == "ready", 30)
        before = get_json(port, "/api/search?q=slow")
        model.write_bytes(b"no model any more")
        assert before["method"] == "model" and get_json(port, "/api/search?q=slow") == before
    line = capfd.readouterr().err
    assert line.count("\n") == 1 and line.startswith("jointembed: error[E-USAGE]: model: the model of this field is")


def test_reload_retries_a_model_that_failed_for_another_reason(model):
    failures, encoders, servers = [OSError("no memory")], QueryEncoders(), []

    def load(path, field):
        if failures:
            raise failures.pop()
        return encoders.load(path, field)

    with contextlib.closing(encoders), serving(model.with_name("a.index"), servers.append, load=load) as port:
        until(lambda: "could not be loaded" in get_json(port, "/api/info").get("why", ""))
        servers[0].reload(None, None)
        until(lambda: get_json(port, "/api/info")["text"] == "ready", 30)


@pytest.fixture
def begin():
    """Begins a request whose body is not whole yet, and returns a function that sends the rest and its answer."""
    with contextlib.ExitStack() as stack:

        def send_half(port, token=None):
            client, body = stack.enter_context(Client(port)), json.dumps({"ids": ["nobody"]}).encode()
            head = [f"POST /api/playlist HTTP/1.1\r\nHost: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
            head += [f"Authorization: Bearer {token}"] if token else []
            client.send("\r\n".join([*head, "", ""]).encode() + body[:5])

            def finish():
                client.send(body[5:])
                status, _, answer = client.read()
                return status, json.loads(answer or "{}").get("error")

            return finish

        yield send_half


ANSWER = (404, "id: the index has no item with this id")


def test_hangup_reads_the_indexes_and_the_token_again(tmp_path, begin):
    path, successor = filled(tmp_path / "a.index", 20), filled(tmp_path / "other" / "a.index", 5, seed=3)
    (tmp_path / "token").write_text(OLD)
    with started(path, "--token-file", tmp_path / "token", start_new_session=True) as (process, port):
        finish = begin(port, OLD)
        assert get_json(port, "/api/info", headers=[f"Authorization: Bearer {OLD}"])["count"] == 20
        (tmp_path / "token").write_text(NEW + "\n")
        os.replace(successor, path)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "the indexes and the token have been read again\n"
        assert ask(port, "/api/info", headers=[f"Authorization: Bearer {OLD}"])[0] == 401
        assert get_json(port, "/api/info", headers=[f"Authorization: Bearer {NEW}"])["count"] == 5
        assert finish() == ANSWER
        (tmp_path / "token").unlink()
        process.send_signal(signal.SIGHUP)
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("jointembed: error[E-USAGE]: --token-file: cannot read") for line in lines)
        assert get_json(port, "/api/info", headers=[f"Authorization: Bearer {NEW}"])["count"] == 5
        process.terminate()
        assert process.wait(30) == 143


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal_that_ends_the_server_finishes_requests_under_way(tmp_path, begin, name, code):
    with started(filled(tmp_path / "a.index")) as (process, port):
        finish = begin(port)
        assert count(port) == 40
        process.send_signal(getattr(signal, name))
        until(lambda: refuses(port))
        assert finish() == ANSWER
        assert process.wait(30) == code


def refuses(port):
    try:
        with Client(port) as client:
            return client.ask("/healthz")[0] == 0
    except OSError:
        return True


@pytest.mark.parametrize("is_ignored", [False, True], ids=["plain", "nohup"])
def test_server_ends_with_its_terminal_unless_it_ignores_that(tmp_path, is_ignored):
    path = filled(tmp_path / "a.index")
    code = "import fcntl, os, signal, sys, termios; os.setsid(); fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)\n"
    # Under nohup this process ignores the signal, and its children inherit that.
    code += f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if is_ignored else 'SIG_DFL'})\n"
    code += "from jointembed.__main__ import main; sys.exit(main(sys.argv[2:]))"
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(end), "serve", str(path), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "PYTHONFAULTHANDLER": "1"},
        pass_fds=[end],
    )
    try:
        port = int(process.stdout.readline().split("http://127.0.0.1:")[1].split("/")[0])
        os.kill(process.pid, signal.SIGHUP)
        assert process.stdout.readline() == "the indexes and the token have been read again\n"
        os.close(end)
        os.close(terminal)
        if is_ignored:
            assert process.stdout.readline() == "the indexes and the token have been read again\n"
            assert count(port) == 40
        else:
            assert wait_or_dump(process) == 128 + signal.SIGHUP
    finally:
        process.kill()
        process.communicate()


def wait_or_dump(process, seconds=30):
    """The exit code of a process; one that does not end prints what its threads do."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait(seconds)
        raise
