"""The page's server in as few lines as it takes: what `find.page` and an Index answer, over the standard library."""

import functools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from jointembed.errors import Failure
from jointembed.find import page
from jointembed.find.index import Index

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, path, sounds, asked, *arguments):
        self.index_path, self.sounds, self.asked = path, sounds, asked
        super().__init__(*arguments)

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        asked = urlsplit(self.path)
        self.asked.append(self.path)
        # An id may be a file name that is no UTF-8.
        given = parse_qs(asked.query, errors="surrogateescape", keep_blank_values=True)
        try:
            with Index.open(self.index_path) as index:
                self.route(index, asked.path, given)
        except (Failure, KeyError) as error:
            self.send(json.dumps({"error": str(error)}).encode(), "application/json", 400)

    def route(self, index, path, given):
        def one(name, default=None):
            return given.get(name, [default])[0]

        if path in ("/", "/page.css", "/page.js", "/icon.svg"):
            self.send(*page.asset(path[1:] or "page.html"))
        elif path.startswith("/audio/"):
            self.sound(unquote(path.removeprefix("/audio/"), errors="surrogateescape"))
        elif path == "/api/map":
            self.send(page.points(index, one("axes")), "application/octet-stream")
        else:
            self.send(json.dumps(self.told(index, path, given, one)).encode(), "application/json")

    def told(self, index, path, given, one):
        k, where = int(one("k", 10)), one("where")

        def listed(hits):
            places = {id: place for place, id in enumerate(index.ids())}
            return [{"rank": n, "id": hit.id, "place": places[hit.id], "score": hit.score, "row": hit.row,
                     "audio": self.audio(hit.id), "alike": hit.alike} for n, hit in enumerate(hits, 1)]  # fmt: skip

        if path == "/api/about":
            return page.about(index) | {"text": "none", "file": True}
        if path == "/api/cells":
            return page.cells(index, one("name"))
        if path == "/api/row":
            return {"id": one("id"), "row": index.row(one("id")), "audio": self.audio(one("id"))}
        if path == "/api/similar":
            options = {"per": one("per"), "diverse": float(one("diverse", 0)), "distinct": one("distinct") == "1"}
            return {"hits": listed(index.similar(given["id"], k, where=where, minus=given.get("minus", []), **options))}
        if path == "/api/search":
            return {"hits": listed(index.text(one("q"), k, where)), "how": "text"}
        if path == "/api/path":
            return {"hits": listed(index.way(one("start"), one("end"), int(one("n")), where=where))}
        if path == "/api/query":
            content = self.rfile.read(int(self.headers["Content-Length"]))
            return {"hits": listed(index.search(index.vectors()[1][len(content) % len(index)], k, where=where))}
        raise KeyError(path)

    def audio(self, id):
        return f"/audio/{quote(id, safe='', errors='surrogateescape')}" if id in self.sounds else None

    def sound(self, id):
        content = self.sounds[id]
        span = self.headers.get("Range")
        if span is None:
            return self.send(content, "audio/wav", more={"Accept-Ranges": "bytes"})
        first, _, last = span.removeprefix("bytes=").partition("-")
        first, last = int(first), int(last or len(content) - 1)
        about = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self.send(content[first : last + 1], "audio/wav", 206, about)

    def send(self, content, kind, status=200, more=None):
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY}
        for name, value in {**headers, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def served(path, sounds):
    """A running server of an index, and the paths that it is asked for; stop it with `shutdown`."""
    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, path, sounds, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, asked
