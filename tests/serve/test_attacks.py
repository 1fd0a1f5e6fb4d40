"""What must not get through: every request here goes to a server of our own on this machine, and is bounded."""

import itertools
import json
import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from web_server import DIM, Client, Embedder, ask, filled, serving, told, unit, until

from jointembed.index.index import Index
from jointembed.serve.limits import CONNECTIONS, SAFE
from jointembed.serve.protocol import Bounded

TOKEN = "a-token-of-16-signs"
ROUTES = ["/", "/page.css", "/page.js", "/icon.svg", "/healthz", "/openapi.json", "/docs", "/audio/x"]
ROUTES += ["/api/about", "/api/map"]
ROUTES += ["/api/cells?name=genre", "/api/row?id=s1", "/api/similar?id=s1", "/api/path?start=s1&end=s2"]
ROUTES += ["/api/search?q=waltz"]

UPS = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "%252e%252e%252f", "....//", "..;/", "%c0%ae%c0%ae/"]
ENDS = ["etc/passwd", "secret.wav", "etc/passwd%00.wav", "etc//passwd"]
WHOLE = [
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "C:\\Windows\\win.ini",
    "\\\\host\\share",
    "%2fetc%2fpasswd",
]
WHOLE += ["/proc/self/environ", "%00", "~/.ssh/id_rsa", "a.wav%00", "./a.wav", "a.wav/.", "http://127.0.0.1/a.wav"]
TRAVERSALS = [up * deep + end for up, deep, end in itertools.product(UPS, (1, 3, 8), ENDS)] + WHOLE

SCRIPTS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "'><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "</script><script>alert(1)</script>", "<!--<script>",
    "]]><script>", "<iframe src=javascript:alert(1)>", "<body onload=alert(1)>", "<a href='javascript:alert(1)'>x</a>",
    "<math><mi xlink:href=javascript:alert(1)>", "{{7*7}}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "\u2028alert(1)",
    "\u2029alert(1)", "<scr\0ipt>alert(1)</scr\0ipt>", "+ADw-script+AD4-", "\x1b]0;title\x07", "\r\nSet-Cookie: a=b",
    "%0d%0aSet-Cookie:%20a=b", "<base href=//evil.example>", "<meta http-equiv=refresh content=0>", "<form action=x>",
    "<input autofocus onfocus=alert(1)>", "<details open ontoggle=alert(1)>", "<video><source onerror=alert(1)>",
]  # fmt: skip
SCRIPTS += [one.replace("<", "&lt;") + " " for one in SCRIPTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "music").mkdir()
    (folder / "music" / "1.wav").write_bytes(b"heard" * 100)
    (folder / "secret.wav").write_bytes(b"root: a secret")
    filled(folder / "songs.index", 60, root=str(folder / "music"))
    return folder


@pytest.fixture(scope="module")
def port(folder):
    with serving(folder / "songs.index", load=lambda path, column: Embedder()) as port:
        until(lambda: told(port, "/api/about")["file"])
        yield port


def sent(port, data, read=True, seconds=15.0):
    """What bytes of a request are answered with: a status, headers and a body."""
    with Client(port, seconds) as one:
        one.send(data)
        return one.read()


def request(port, *lines, line="GET /healthz HTTP/1.1", body=b""):
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1") + body


def test_no_way_leads_out_of_the_folder(folder, port):
    assert len(TRAVERSALS) >= 120 and len(set(TRAVERSALS)) == len(TRAVERSALS)
    routes = ["/audio/{}", "/{}", "/page.js/{}", "/api/row?id={}", "/api/similar?id={}", "/api/cells?name={}"]
    routes += [
        "/api/map?axes={}",
        "/api/search?q=s1&where={}",
        "/api/path?start=s1&end={}",
        "/api/similar?id=s1&column={}",
        "/api/about?column={}",
        "/api/map?column={}",
        "/api/search?q=song&column={}",
    ]
    with Client(port) as one:
        for way, route in itertools.product(TRAVERSALS, routes):
            target = route.format(way).replace(" ", "%20").replace("\\", "%5C")
            status, headers, body = one.ask(target)
            if status == 0 or headers.get("connection") == "close":
                one.close()
                one.__init__(port)
            assert status in (400, 404, 422) or (status == 200 and route.startswith(("/api/map?axes", "/api/cells"))), (
                target
            )
            assert b"root:" not in body and b"secret" not in body.replace(way.encode(), b""), target
            assert str(folder).encode() not in body, target


HOSTS = [
    ("127.0.0.1:{port}", None, 200), ("localhost:{port}", None, 200), ("[::1]:{port}", None, 200),
    ("LOCALHOST:{port}", None, 200), ("evil.example", None, 403), ("evil.example:{port}", None, 403),
    ("", None, 403), ("localhost", None, 403), ("localhost:1", None, 403), ("localhost.evil.example:{port}", None, 403),
    ("127.0.0.1.nip.io:{port}", None, 403), ("127.0.0.1:{port}@evil.example", None, 403), ("0.0.0.0:{port}", None, 403),
    ("[::1]", None, 403), ("127.1:{port}", None, 403), ("2130706433:{port}", None, 403),
    (" localhost:{port}", None, 200), ("localhost:{port}", "http://localhost:{port}", 200),
    ("127.0.0.1:{port}", "http://127.0.0.1:{port}", 200),
    ("localhost:{port}", "http://127.0.0.1:{port}", 403), ("localhost:{port}", "https://localhost:{port}", 403),
    ("localhost:{port}", "http://localhost:1", 403), ("localhost:{port}", "null", 403),
    ("localhost:{port}", "http://evil.example", 403), ("localhost:{port}", "http://localhost:{port}.evil.example", 403),
    ("evil.example:{port}", "http://evil.example:{port}", 403), ("localhost:{port}", "", 403),
]  # fmt: skip


@pytest.mark.parametrize("host, origin, wanted", HOSTS)
def test_only_pages_of_this_server_may_ask(port, host, origin, wanted):
    lines = [f"Host: {host.format(port=port)}"]
    if origin is not None:
        lines.append(f"Origin: {origin.format(port=port)}")
    post = request(port, *lines, "Content-Length: 4", line="POST /api/query HTTP/1.1", body=b"RIFF")
    for data in (post, request(port, *lines, line="GET /api/about HTTP/1.1")):
        status, headers, _ = sent(port, data)
        assert status == wanted
        assert not [name for name in headers if name.startswith("access-control")]


def test_requests_that_pages_of_others_make_are_refused(port):
    own = f"Host: localhost:{port}"
    preflight = [own, "Origin: http://evil.example", "Access-Control-Request-Method: POST"]
    assert sent(port, request(port, *preflight, line="OPTIONS /api/query HTTP/1.1"))[0] == 403
    form = [own, "Content-Type: application/x-www-form-urlencoded", "Content-Length: 1", "Origin: http://evil.example"]
    assert sent(port, request(port, *form, line="POST /api/query HTTP/1.1", body=b"a"))[0] == 403
    socket = [own, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: YQ==", "Sec-WebSocket-Version: 13"]
    status, headers, _ = sent(port, request(port, *socket, "Origin: http://evil.example"))
    assert status == 403
    assert sent(port, request(port, *socket, line="GET /ws HTTP/1.1"))[0] == 404
    shown = [own, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: audio"]
    assert sent(port, request(port, *shown))[0] == 403
    framed = [own, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"]
    assert sent(port, request(port, *framed))[0] == 403
    followed = [own, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]
    assert sent(port, request(port, *followed))[0] == 200
    assert sent(port, request(port, own, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"))[0] == 200


@pytest.mark.parametrize(
    "query, named",
    [
        *[
            (f"k={k}", "k")
            for k in ("-1", "0", "1001", "1000000000", "1e3", "NaN", "9" * 40, "+1", "1.0", "%D9%A1", "0x1")
        ],
        ("k=1&k=2", "k"),
        *[(f"diverse={one}", "diverse") for one in ("2", "-0.1", "nan", "inf", "1e-1", "")][:5],
        ("distinct=yes", "distinct"),
        ("column=audio&column=audio", "column"),
        ("where=" + "(" * 50, "where"),
        ("&".join(["id=s1"] * 60), "id"),
        ("page=7", "page"),
    ],
)
def test_what_a_parameter_may_not_be_is_said_of_it(port, query, named):
    status, _, body = ask(port, "/api/similar?id=s1&" + query)
    assert status == 422 and json.loads(body)["error"].startswith(named)


def test_an_empty_parameter_counts_as_absent(port):
    assert told(port, "/api/similar?id=s1&k=&where=&per=&diverse=") == told(port, "/api/similar?id=s1")


def test_requests_whose_end_is_unclear_are_refused_and_the_connection_closed(port):
    own = f"Host: localhost:{port}"
    both = ["Content-Length: 4", "Transfer-Encoding: chunked"]
    post = "POST /api/query HTTP/1.1"
    for data in (
        request(port, own, *both, line=post, body=b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        request(port, own, "Content-Length: -1", line=post),
        request(port, own, "Content-Length: 4, 5", line=post, body=b"RIFFF"),
        request(port, own, "Content-Length: 4", "Content-Length: 5", line=post, body=b"RIFFF"),
        request(port, own, "Content-Length: abc", line=post),
        request(port, own, "Content-Length: +4", line=post, body=b"RIFF"),
        request(port, own, "Transfer-Encoding: gzip", line=post, body=b"RIFF"),
        request(port, own, "Transfer-Encoding: chunked", line=post, body=b"F" * 30 + b"\r\nRIFF\r\n0\r\n\r\n"),
        request(port, own, "Transfer-Encoding: chunked", line=post, body=b"-4\r\nRIFF\r\n0\r\n\r\n"),
        request(port, own, "Transfer-Encoding: chunked", line=post, body=b"4\r\nRIFFxx0\r\n\r\n"),
        request(port, own, own),
        request(port),
        request(port, own, "Bad Name: a"),
        request(port, own, " folded"),
        request(port, own, "X: a\0b"),
        request(port, own).replace(b"\r\n", b"\n"),
        request(port, own, "X: a\nContent-Length: 5"),
        request(port, own, "Content-Length: 4", body=b"RIFF"),
        request(port, own, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n",
    ):
        with Client(port) as one:
            one.send(data)
            status, headers, body = one.read()
            assert status in (400, 403), data[:200]
            assert one.file.read() == b"", data[:200]
            assert "error" in json.loads(body) and headers["x-content-type-options"] == "nosniff"
    assert ask(port, "/healthz")[0] == 200


def test_what_is_too_large_is_refused_without_being_read(port):
    own = f"Host: localhost:{port}"
    fields = b"&".join(b"a%d=" % n for n in range(10_000))
    form = [own, "Content-Type: application/x-www-form-urlencoded", "Content-Length: 99000000"]
    for data, status in (
        (request(port, own, "X: " + "a" * 20_480), 431),
        (request(port, own, *(f"X{n}: a" for n in range(10_000))), 431),
        (request(port, own, *(f"X{n}: a" for n in range(1_800))), 431),
        (request(port, own, line=f"GET /{'a' * 100_000} HTTP/1.1"), 414),
        (request(port, own, line=f"GET /{'a' * 4_097} HTTP/1.1"), 414),
        (request(port, own, line=f"GET /api/about?{fields.decode()} HTTP/1.1"), 414),
        (request(port, own, "Content-Length: 10000000000", line="POST /api/query HTTP/1.1"), 413),
        (request(port, own, "Content-Length: " + "9" * 19, line="POST /api/query HTTP/1.1"), 413),
        (request(port, own, f"Content-Length: {(50 << 20) + 1}", line="POST /api/query HTTP/1.1"), 413),
        (request(port, *form, line="POST /api/query HTTP/1.1", body=b"a=1&" * 1000), 413),
        (request(port, own, line=f"GET /api/search?q={'a' * 1001} HTTP/1.1"), 422),
    ):
        begun = time.monotonic()
        assert sent(port, data)[0] == status, data[:80]
        assert time.monotonic() - begun < 1
    assert ask(port, "/api/search?q=" + "a" * 1000)[0] == 200


def test_a_body_without_a_length_is_counted(port):
    own = f"Host: localhost:{port}"
    with Client(port) as one:
        one.send(request(port, own, "Transfer-Encoding: chunked", line="POST /api/query HTTP/1.1"))
        block = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        for _ in range(53):
            one.send(block)
        assert one.read()[0] in (413, 0)
    assert told(port, "/api/similar?id=s1")["hits"]


def test_a_large_body_that_is_not_wanted_still_gets_its_answer(port):
    with Client(port) as one:
        for target, status in (
            ("/api/about", 405),
            ("/nothing", 404),
            ("/api/query?k=0", 422),
            ("/api/query?k=2", 422),
        ):
            assert one.ask(target, "POST", body=b"BAD" + bytes(8_000_000))[0] == status
        assert one.ask("/healthz")[0] == 200


def test_methods_that_are_not_meant_are_refused(port):
    for method, route in itertools.product(["PUT", "DELETE", "TRACE", "PATCH", "CONNECT", "FOO", "OPTIONS"], ROUTES):
        assert ask(port, route, method)[0] == 405, (method, route)
    for route in ROUTES:
        assert ask(port, route, "POST", body=b"x")[0] == 405, route
        status, headers, body = ask(port, route, "HEAD")
        assert status == ask(port, route)[0] and body == b"" and headers["content-length"] != "0", route
    assert ask(port, "/api/query")[0] == 405
    assert ask(port, "http://evil.example/healthz")[0] == 404
    assert ask(port, "*", "OPTIONS")[0] == 405


def test_requests_that_do_not_wait_for_their_answer_get_one_and_no_more(port):
    one = request(port, f"Host: localhost:{port}")
    with Client(port) as client:
        client.send(one * 100)
        assert client.read()[0] == 200
        assert client.file.read() == b""


def test_every_answer_carries_what_keeps_a_page_safe(port):
    wanted = {name.decode(): value.decode() for name, value in SAFE}
    assert "script-src" not in wanted["content-security-policy"] and "unsafe" not in wanted["content-security-policy"]
    own = [
        (route, "GET", {})
        for route in (*ROUTES, "/nothing", "/api/row", "/api/similar?id=nobody", "/audio/" + "a" * 24)
    ]
    for target, method, how in (
        *own,
        ("/api/query", "POST", {"body": b"BAD"}),
        ("/", "PUT", {}),
        ("/", "GET", {"host": "x"}),
    ):
        status, headers, body = ask(port, target, method, **how)
        assert {name: headers.get(name) for name in wanted} == wanted, target
        assert "server" not in headers and "cache-control" in headers or status >= 400, target
        if status >= 400:
            assert headers["content-type"] == "application/json" and list(json.loads(body)) == ["error"], target


def test_markup_in_tags_paths_and_queries_is_only_ever_text_in_json(tmp_path):
    assert len(set(SCRIPTS)) == 60
    rows = [{"id": text, "path": text, "tags": [text], text.replace('"', ""): text} for text in SCRIPTS]
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        index.add(rows, unit(len(rows)), "audio")
    from urllib.parse import quote

    with serving(tmp_path / "a.index") as port:
        for text in SCRIPTS:
            for target in (
                "row?id={}",
                "similar?id={}",
                "search?q={}",
                "similar?id=s&where={}",
                "cells?name={}",
                "{}?a=b",
            ):
                status, headers, body = ask(port, "/api/" + target.format(quote(text, safe="")))
                assert status in (200, 404, 422), target
                assert headers["content-type"] == "application/json" and headers["x-content-type-options"] == "nosniff"
                assert "set-cookie" not in headers
                json.loads(body)
            assert told(port, f"/api/row?id={quote(text, safe='')}")["row"]["tags"] == [text]


def test_with_a_token_nothing_is_answered_without_it(folder):
    with serving(folder / "songs.index", token=TOKEN) as port:
        for target in (*ROUTES, "/nothing", "/?token=wrong", f"/api/about?token={TOKEN}", f"/docs?token={TOKEN}"):
            status, headers, _ = ask(port, target)
            assert status == 401 and headers["www-authenticate"] == "Bearer", target
        for wrong in ("Bearer ", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
            assert ask(port, "/api/about", headers=[f"Authorization: {wrong}"])[0] == 401
        assert ask(port, "/api/about", headers=[f"Authorization: Bearer {TOKEN}"])[0] == 200
        status, headers, _ = ask(port, f"/?token={TOKEN}")
        assert status == 303 and headers["location"] == "/"
        cookie, *flags = headers["set-cookie"].split("; ")
        assert TOKEN not in cookie and {"HttpOnly", "SameSite=Strict"} <= set(flags)
        assert ask(port, "/", headers=[f"Cookie: a=b; {cookie}"])[0] == 200
        assert ask(port, "/", headers=[f"Cookie: {cookie}x"])[0] == 401
        assert ask(port, "/", headers=[f"Cookie: {cookie}"], host="evil.example")[0] == 403
    with serving(folder / "songs.index", token=TOKEN) as port:
        assert ask(port, "/", headers=[f"Cookie: {cookie}"])[0] == 401


def test_what_comes_or_is_taken_too_slowly_is_closed(folder, monkeypatch):
    monkeypatch.setattr(Bounded, "receive", 0.6)
    monkeypatch.setattr(Bounded, "stall", 0.6)
    (folder / "music" / "2.wav").write_bytes(bytes(30_000_000))
    with serving(folder / "songs.index", load=lambda path, column: Embedder()) as port:
        until(lambda: told(port, "/api/about")["file"])
        own = f"Host: localhost:{port}"
        begun = time.monotonic()
        silent, headers, body, chunks, reader = (Client(port, 10) for _ in range(5))
        headers.send(b"GET / HTTP/1.1\r\n" + own.encode())
        body.send(request(port, own, "Content-Length: 100", line="POST /api/query HTTP/1.1", body=b"RIFF"))
        chunks.send(
            request(port, own, "Transfer-Encoding: chunked", line="POST /api/query HTTP/1.1", body=b"4\r\nRIFF\r\n")
        )
        sound = told(port, "/api/row?id=s2")["audio"]
        reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.send(request(port, own, line=f"GET {sound} HTTP/1.1"))
        done = threading.Event()

        def drip():
            while not done.wait(0.05):
                headers.send(b"a")
                body.send(b"a")
                chunks.send(b"1\r\na\r\n")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        assert silent.read()[0] == 0
        assert [one.read()[0] for one in (headers, body, chunks)] in ([408] * 3, [408, 408, 0], [408, 0, 0], [0] * 3)
        assert time.monotonic() - begun < 3
        done.set()
        thread.join()
        until(
            lambda: not [one for one in Path("/proc/self/fd").iterdir() if os.path.realpath(one).endswith("2.wav")], 5
        )
        for one in (silent, headers, body, chunks, reader):
            one.close()
        with Client(port) as half:
            half.send(request(port, own))
            half.socket.shutdown(socket.SHUT_WR)
            assert half.read()[0] == 200
        assert ask(port, sound)[1]["content-length"] == "30000000"


def still(client):
    """Whether the other side has not closed a connection on which nothing came."""
    try:
        return client.socket.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_idle_connections_make_room_for_new_ones(port):
    idle = [Client(port) for _ in range(200)]
    try:
        begun = time.monotonic()
        for _ in range(20):
            assert ask(port, "/api/similar?id=s1")[0] == 200
        assert time.monotonic() - begun < 5
        for one in idle:
            one.socket.setblocking(False)
        assert sum(not still(one) for one in idle) >= 200 - CONNECTIONS
        with Client(port) as kept:
            assert kept.ask("/healthz")[0] == 200
            more = [Client(port) for _ in range(60)]
            assert kept.ask("/healthz")[0] == 200
            for one in more:
                one.close()
    finally:
        for one in idle:
            one.close()


def test_clients_that_leave_before_their_answer_cost_nothing(port):
    for _ in range(50):
        with Client(port) as one:
            one.send(request(port, f"Host: localhost:{port}", line="GET /api/similar?id=s1 HTTP/1.1"))
    with Client(port) as one:
        one.send(
            request(port, f"Host: localhost:{port}", "Content-Length: 100", line="POST /api/query HTTP/1.1", body=b"a")
        )
    until(lambda: ask(port, "/api/similar?id=s1")[0] == 200, 1)  # what they asked for may be in the queue for a moment


def test_no_answer_names_a_place_of_this_machine(folder, port):
    said = b"".join(
        ask(port, route)[2] for route in (*ROUTES, "/api/similar?id=nobody", "/api/search?q=x&where=y", "/x")
    )
    assert str(folder).encode() not in said and not re.search(rb"(/tmp|/home|/root|/usr|site-packages)", said)


@pytest.mark.slow
def test_200_slow_connections_leave_the_others_as_they_were(folder):
    def p95(port, seconds):
        times = []

        def client():
            with Client(port) as one:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    begun = time.perf_counter()
                    status, _, _ = one.ask("/api/similar?id=s1")
                    assert status == 200
                    times.append(time.perf_counter() - begun)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return sorted(times)[int(0.95 * len(times))]

    with serving(folder / "songs.index") as port:
        idle = p95(port, 4)
        slow = [Client(port) for _ in range(200)]
        for one in slow:
            one.send(b"GET / HTTP/1.1\r\nX: ")
        begun, stop = time.monotonic(), threading.Event()

        def drip():
            while not stop.wait(1):
                for one in slow:
                    one.send(b"a")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        busy = p95(port, 12)
        assert busy <= 2 * idle + 0.002
        for one in slow:
            one.socket.settimeout(max(0.1, begun + 13 - time.monotonic()))
            one.read()  # it ends: closed, with a status or without
            one.close()
        stop.set()
        thread.join()
