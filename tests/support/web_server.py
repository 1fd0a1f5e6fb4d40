"""A server for tests, with a model that takes no time, and a client that sends any bytes."""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import numpy as np

from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.serve import open_server

DIM = 8


def unit(count, dim=DIM, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(path, count=40, dim=DIM, seed=0, **about):
    """A new index of songs."""
    rows = [
        {
            "id": f"s{at}",
            "title": f"Song {at}",
            "genre": ["waltz", "polka"][at % 2],
            "tempo": 60 + at,
            "path": f"{at}.wav",
        }
        for at in range(count)
    ]
    with Index.create(path, dim, "cosine", "model", "f1", **about) as index:
        index.add(rows, unit(count, dim, seed), "audio")
    return path


class Embedder:
    """Embeds words and sounds by their bytes; a file that begins with BAD is not a sound."""

    words = sounds = True

    def __init__(self, dim=DIM):
        self.dim, self.texts = dim, []

    def text(self, words):
        self.texts.append(words)
        if words == "unknown":
            raise UsageError("q", "the model knows none of these words", "use others")
        return unit(1, self.dim, seed=sum(words.encode()))[0]

    def sound(self, path):
        content = Path(path).read_bytes()
        if content.startswith(b"BAD"):
            raise UsageError("the file", "it holds no sound", "send another one")
        return unit(1, self.dim, seed=sum(content[:20]))[0]


@contextlib.contextmanager
def serving(path, on_start=lambda server: None, **options):
    """A server in a thread, and its port."""
    with open_server(path, port=0, **options) as server:
        on_start(server)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            until(lambda: ask(server.port, "/healthz")[0] in (200, 401))
            yield server.port
        finally:
            server.stop()
            thread.join(20)
            assert not thread.is_alive()


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if true():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


class Client:
    """One connection."""

    def __init__(self, port, seconds=15.0):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have been refused already
            self.socket.sendall(data)

    def ask(self, target, method="GET", headers=(), body=b"", host=None):
        host = f"127.0.0.1:{self.port}" if host is None else host
        lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.read(method)

    def read(self, method="GET"):
        """Status, headers by small name, body; (0, {}, b"") if the connection was closed."""
        try:
            line = self.file.readline()
            if not line:
                return 0, {}, b""
            status = int(line.split()[1])
            headers = {}
            while (line := self.file.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            if status == 100:
                return self.read(method)
            length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
            return status, headers, self.file.read(length)
        except (ConnectionResetError, BrokenPipeError):
            return 0, {}, b""


def ask(port, target, method="GET", headers=(), body=b"", host=None):
    """One request on a connection of its own."""
    with Client(port) as client:
        return client.ask(target, method, headers, body, host)


def get_json(port, target, **options):
    """The JSON of a successful answer."""
    status, headers, body = ask(port, target, **options)
    assert status == 200, (target, status, body)
    assert headers["content-type"] == "application/json"
    return json.loads(body)
