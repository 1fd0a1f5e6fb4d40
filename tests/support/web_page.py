"""The songs of the page that browser tests open, and what such tests do with a page."""

import io
import re
import time
import wave

import numpy as np
from web_server import Embedder

from jointembed.index.index import Index

HOSTILE = [
    "<script>window.__xss = 1</script>", "<img src=x onerror='window.__xss = 1'>", "</script><svg onload=alert(1)>",
    "javascript:alert(1)", "\"><b onmouseover=alert(1)>", "{{7*7}} ${alert(1)}", "🎈 Für “Elise”", "\u202egnirts",
]  # fmt: skip
GENRES = ["waltz", "polka", "reel", "hip & hop's"]
SIZE = {"width": 960, "height": 560}


class Listener(Embedder):
    """Embeds sounds but no texts, which are searched in the columns."""

    words = False


def tone(seconds):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        steps = np.arange(int(8000 * seconds))
        file.writeframes((3000 * np.sin(steps / 4)).astype("<i2").tobytes())
    return content.getvalue()


def rows():
    songs = []
    for at in range(80):
        title = HOSTILE[at // 4] if at % 4 == 0 and at // 4 < len(HOSTILE) else f"Song {at}"
        songs.append(
            {"id": f"song/{at}", "title": title, "genre": GENRES[at % 4], "tempo": 80 + at, "year": 1900 + at % 7}
            | ({"path": f"{at}.wav"} if at < 40 else {})
        )
    songs[5]["id"] = "caf\udce9 #5?.wav"
    songs[7].pop("tempo")
    return songs


def until(true, seconds=20.0):
    """Wait for a condition; the policy of the page forbids the functions of playwright."""
    end = time.monotonic() + seconds
    while not (result := true()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)
    return result


def titles(page):
    return page.locator(".list .title").all_text_contents()


def status(page):
    return page.locator("#status").text_content()


def points(page):
    """The pixels of the map, (H, W, 3)."""
    from PIL import Image

    page.wait_for_timeout(60)
    return np.asarray(Image.open(io.BytesIO(page.locator("#points").screenshot())).convert("RGB")).astype(int)


def coloured(page, hexes):
    """The positions on the screen where the map has a colour."""
    colour = [int(hexes[at : at + 2], 16) for at in (1, 3, 5)]
    down, right = np.nonzero((abs(points(page) - colour) < 24).all(2))
    box = page.locator("#points").bounding_box()
    beside = box["width"] - 226  # the legend, which has the colours too
    return [(box["x"] + int(x), box["y"] + int(y)) for x, y in zip(right, down, strict=True) if x < beside]


def similar(path, id, k=10, **more):
    with Index.open(path) as index:
        return [re.sub(r"[\u202a-\u202e]", " ", hit.row["title"]).strip() for hit in index.similar(id, k, **more)]


def address(page):
    """The present one; `page.url` is that of the latest event."""
    return page.evaluate("location.href")


def search(page, words):
    page.fill("#query", words)
    page.press("#query", "Enter")


def choose(page, title):
    """Search for a title and show its similar items."""
    search(page, title)
    page.locator(".hit").filter(has=page.get_by_text(title, exact=True)).click()
    page.locator("#chosen").get_by_role("heading", name=title, exact=True).wait_for()


def draw(page, *corners, key=None):
    """Draw a region on the map, whose corners are shares of its width and height."""
    box = page.locator("#points").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    if key:
        page.keyboard.down(key)
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in [*places[1:], places[0]]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    if key:
        page.keyboard.up(key)


ALL = [(0.002, 0.12), (0.78, 0.12), (0.78, 0.995), (0.002, 0.995)]
LEFT = [(0.002, 0.12), (0.4, 0.12), (0.4, 0.995), (0.002, 0.995)]


def selected(page):
    return int(page.locator("#heading").text_content().split()[0].replace(",", ""))
