"""A served page and an exported one, of the same songs."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ci import skip_outside_ci
from web_page import SIZE, Listener, rows, tone, until
from web_server import get_json, serving

from jointembed.index.index import Index
from jointembed.web import export as pages


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """80 songs in four clusters, one a genre."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 12)) * 2
    vectors = centres[np.arange(80) % 4] + rng.standard_normal((80, 12)) * 0.5
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    path = tmp_path_factory.mktemp("page") / "songs.index"
    with Index.create(path, 12, "cosine") as index:
        index.add(rows(), vectors, "audio")
        index.set_vocabulary(["turning", "hopping", "running", "<b>bold</b>"], vectors[:4], "audio")
    return path


@pytest.fixture(scope="module")
def server(path):
    """The address of a server, and the paths that pages requested."""
    for at in range(40):
        (path.parent / f"{at}.wav").write_bytes(tone(0.4))
    urls = []
    with serving(path, roots=[str(path.parent)], load=lambda *_: Listener(12)) as port:
        until(lambda: get_json(port, "/api/info")["file"])
        yield f"http://127.0.0.1:{port}/", urls


@pytest.fixture(scope="module")
def file(path):
    """The exported page, with the sound of the first song beside it."""
    (path.parent / "song").mkdir()
    (path.parent / "song" / "1").write_bytes(tone(0.4))
    with Index.open(path) as index:
        pages.export(index, path.parent / "songs.html", k=12, root=path.parent)
    return (path.parent / "songs.html").as_uri()


@pytest.fixture
def open_page(browser, server):
    """Opens a page, and checks at the end that it had no errors."""
    contexts, wrong = [], []

    def errors(text, expected):
        if expected is None or expected not in text:
            wrong.append(text)

    def show(address, expected=None, **more):
        context = browser.new_context(**{"viewport": SIZE, "reduced_motion": "reduce", **more})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: server[1].append(request.url.removeprefix(server[0][:-1])))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda message: message.type == "error" and errors(message.text, expected))
        page.goto(address)
        until(lambda: page.evaluate("performance.getEntriesByName('map').length"))
        page.locator(".list li").first.wait_for()
        return page

    yield show
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def npm_packages(tmp_path_factory):
    """The packages of `package.json` at their pinned versions, installed by npm."""
    if not shutil.which("npm"):
        skip_outside_ci("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(Path(__file__).parent / "package.json", folder)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        skip_outside_ci(f"npm cannot install the packages: {done.stderr[-300:]}")
    return folder / "node_modules"
