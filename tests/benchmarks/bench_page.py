"""The page of large indexes in headless Chromium: `python tests/benchmarks/bench_page.py [FOLDER] [POINTS ...]`.

The indexes (1,000, 200,000 and 1,000,000 points by default) are made of clustered vectors in FOLDER and used again the
next time. The server has answered one page before, so its index is warm, and the browser has no cache; "cold" are the
seconds of that first page. "MB" are those of all answers to requests that began before the map was there, "first map"
the seconds from the navigation to the first map that the GPU has finished, which may be a sample of the points, and
"whole" those to the map of all points. Pan and zoom are the ms from one frame to the next, while the mouse drags and
the wheel turns without a pause. Chromium draws in software here, on the processors that also run the server.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import chromium  # noqa: E402
from web_server import ask, until  # noqa: E402

from jointembed.index.index import Index  # noqa: E402
from jointembed.serve import serve  # noqa: E402

DIM, CLUSTERS, GENRES, BATCH = 32, 60, 16, 50_000
SIZE = {"width": 1280, "height": 800}
SECONDS = 4.0  # of dragging, and of turning the wheel

# The marks of the page and its reads come from the page itself; its policy forbids only scripts of strings.
FIRST_MAP = """() => new Promise((resolve) => {
  const canvas = document.getElementById("points");
  const wait = () => {
    const [mark] = performance.getEntriesByName("map");
    if (!mark) return setTimeout(wait, 5);
    requestAnimationFrame(() => {
      const gl = canvas.getContext("webgl2");
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
      const end = performance.now();
      const [page] = performance.getEntriesByType("navigation");
      const answers = performance.getEntriesByType("resource").filter((each) => each.startTime < end);
      resolve([end / 1000, [page, ...answers].reduce((sum, each) => sum + each.transferSize, 0)]);
    });
  };
  wait();
})"""
COMPLETE = """async () => {
  const { parts } = await import("/state.js");
  while (!parts.chart.renderer.isComplete) await new Promise((resolve) => setTimeout(resolve, 20));
  return performance.now() / 1000;
}"""
RECORD = """() => {
  window.frames_ = [];
  let last = null;
  const record = (now) => {
    if (last !== null) window.frames_.push(now - last);
    last = now;
    if (window.frames_) requestAnimationFrame(record);
  };
  requestAnimationFrame(record);
}"""
STOP = "() => { const all = window.frames_; window.frames_ = null; return all; }"


def make(folder, count):
    """An index of songs in clusters, with a title, a category and two columns of numbers."""
    path = Path(folder) / f"songs-{count}.index"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, DIM)) * rng.uniform(0.3, 1.6, (CLUSTERS, 1))
    with Index.create(path, DIM, "cosine") as index:
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            cluster = rng.integers(CLUSTERS, size=size)
            vectors = (centres[cluster] + 0.4 * rng.standard_normal((size, DIM))).astype(np.float32)
            tempo = np.round(60 + 120 * rng.random(size), 1)
            rows = [
                {
                    "id": f"{at:07}",
                    "title": f"Song {at} of the {int(cluster[at - start])}th kind",
                    "genre": f"genre {int(cluster[at - start]) % GENRES}",
                    "tempo": float(tempo[at - start]),
                    "year": 1900 + at % 120,
                }
                for at in range(start, start + size)
            ]
            index.add(rows, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), "audio")
    return path


def frames(page, move):
    """The intervals in ms between the frames while `move` is repeated, without those of the first half second."""
    page.evaluate(RECORD)
    end, at = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        move(at)
        at += 1
    intervals = np.array(page.evaluate(STOP))
    return intervals[np.cumsum(intervals) > 500]


def measure(browser, address):
    """Seconds to the first map and to that of all points, bytes, and the frames while it is moved and zoomed."""
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(120_000)
    page.goto(address, wait_until="commit")
    seconds, size = page.evaluate(FIRST_MAP)
    complete = page.evaluate(COMPLETE)
    page.locator(".list li").first.wait_for()
    page.wait_for_timeout(1_500)
    box = page.locator("#points").bounding_box()
    middle = (box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    pan = frames(page, lambda at: page.mouse.move(middle[0] + 150 * np.sin(at / 9), middle[1] + 90 * np.cos(at / 13)))
    page.mouse.up()
    page.wait_for_timeout(1_500)
    zoom = frames(page, lambda at: page.mouse.wheel(0, -40 if at % 120 < 60 else 40))
    page.close()
    return seconds, complete, size, pan, zoom


def main():
    words = sys.argv[1:]
    counts = [int(word.replace(",", "")) for word in words if word.replace(",", "").isdigit()]
    folders = [word for word in words if not word.replace(",", "").isdigit()]
    heads = ("points", 9), ("MB", 8), ("first map", 12), ("whole", 9), ("pan p50", 10), ("p95", 8)
    print("".join(f"{head:>{width}}" for head, width in (*heads, ("zoom p50", 10), ("p95", 8), ("cold", 9))))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        browser = chromium.launch(driver)
        for count in counts or [1_000, 200_000, 1_000_000]:
            path = make(folders[0] if folders else temporary, count)
            command = [sys.executable, __file__, "serve", str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                address = server.stdout.readline().split(" at ")[1].split()[0]
                port = int(address.rsplit(":", 1)[1].strip("/"))
                until(lambda port=port: ask(port, "/healthz")[0] == 200)
                started = time.monotonic()
                page = browser.new_page(viewport=SIZE)
                page.set_default_timeout(300_000)
                page.goto(address, wait_until="commit")
                page.evaluate(FIRST_MAP)
                cold = time.monotonic() - started
                page.close()
                seconds, complete, size, pan, zoom = measure(browser, address)
                server.terminate()
            quantiles = "".join(
                f"{np.percentile(each, 50):>10.1f}{np.percentile(each, 95):>8.1f}" for each in (pan, zoom)
            )
            print(
                f"{count:>9,}{size / 1e6:>8.2f}{seconds:>10.2f} s{complete:>7.2f} s{quantiles}{cold:>7.1f} s",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], on_ready=lambda line: print(line, flush=True), port=0)
    else:
        main()
