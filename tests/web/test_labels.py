"""Names on the map: of categories on all of it, of items where it is enlarged, and none over another."""

import itertools

import pytest
from web_page import GENRES, choose, coloured, titles, until

RECORD = """() => {
    window.labels = [];
    const draw = CanvasRenderingContext2D.prototype.fillText;
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        if (this.canvas.id === "marks") window.labels = [];
        return clear.apply(this, box);
    };
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        if (this.canvas.id === "marks") window.labels.push({ text, x, y, width: this.measureText(text).width });
        return draw.call(this, text, x, y);
    };
}"""


def zoom(page, place):
    """Enlarge the map around a place."""
    page.mouse.move(*place)
    for _ in range(4):
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(30)


def labels(page):
    return page.evaluate("labels")


def overlaps(marks):
    return [
        (a["text"], b["text"])
        for a, b in itertools.combinations(marks, 2)
        if abs(a["x"] - b["x"]) < (a["width"] + b["width"]) / 2 and abs(a["y"] - b["y"]) < 14
    ]


@pytest.mark.parametrize("where", ["server", pytest.param("file", marks=pytest.mark.slow)])
def test_map_names_categories_and_when_enlarged_more_and_more_items(where, server, file, open_page):
    page = open_page(server[0] if where == "server" else file)
    page.evaluate(RECORD)
    page.locator("#points").focus()
    page.keyboard.press("0")
    until(lambda: {each["text"] for each in labels(page)} == set(GENRES))
    places = coloured(page, "#cc6677")
    zoom(page, places[len(places) // 2])
    until(lambda: any(each["text"].startswith("Song") for each in labels(page)))
    names = {each["text"] for each in labels(page)}
    assert overlaps(labels(page)) == []
    page.keyboard.press("0")
    until(lambda: {each["text"] for each in labels(page)} == set(GENRES))
    assert not names <= set(GENRES)
    page.select_option("#colour", "tempo")
    until(lambda: labels(page) == [])  # numbers have no names, and there are no clusters


@pytest.mark.slow
def test_results_have_names_where_the_map_is_enlarged(server, open_page):
    page = open_page(server[0])
    page.evaluate(RECORD)
    choose(page, "Song 42")
    until(lambda: [each["text"] for each in labels(page)] == ["Song 42"])
    query = page.evaluate("""async () => {
        const { parts } = await import("/state.js");
        return parts.chart.position(parts.overlay.results.from[0]);
    }""")
    box = page.locator("#points").bounding_box()
    zoom(page, (box["x"] + query[0], box["y"] + query[1]))
    until(lambda: len(labels(page)) > 1)
    assert {each["text"] for each in labels(page)} <= {"Song 42", *titles(page)}
