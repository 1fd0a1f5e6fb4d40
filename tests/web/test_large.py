"""The page of a large index: it loads the rows only of what it shows, and draws a sample while the map moves."""

import numpy as np
import pytest
from web_page import ALL, address, coloured, draw, points, search, selected, similar, titles, until
from web_server import serving

from jointembed.index.index import Index

COUNT = 120_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Songs in three groups that lie apart, one a genre; the last genre is small."""
    rng = np.random.default_rng(0)
    group = np.where(np.arange(COUNT) % 1000 == 0, 2, np.arange(COUNT) % 2)
    centres = np.array([[-4, 0, 0, 0], [4, 0, 0, 0], [0, 9, 0, 0]])
    vectors = (centres[group] + rng.standard_normal((COUNT, 4)) * [0.5, 0.5, 0.1, 0.1]).astype(np.float32)
    genres = ["waltz", "polka", "reel"]
    songs = [
        {"id": f"s{at}", "title": f"Song {at}", "genre": genres[group[at]], "tempo": 60 + at % 1000 / 10}
        for at in range(COUNT)
    ]
    path = tmp_path_factory.mktemp("large") / "large.index"
    with Index.create(path, 4, "euclidean") as index:
        index.add(songs, vectors, "audio")
    with serving(path) as port:
        yield path, f"http://127.0.0.1:{port}/"


def test_items_of_a_large_map_are_found_by_pointer_words_and_keys(large, server, open_page):
    path, url = large
    page = open_page(url)
    requests = [each for each in server[1] if each.startswith(f"{url}api/")]
    assert not any("name=title" in each or "name=id" in each for each in requests)
    assert any("/api/layout" in each and "bits=16" in each for each in requests)
    spots = coloured(page, "#44aa99")  # of the small genre
    page.mouse.move(*spots[len(spots) // 2])
    page.locator("#tip", has_text="reel").wait_for()
    title = page.locator("#tip b").text_content()
    page.mouse.click(*spots[len(spots) // 2])
    page.locator("#chosen h2", has_text=title).wait_for()
    assert titles(page) == similar(path, title.replace("Song ", "s"))
    assert page.evaluate("async () => (await import('/state.js')).parts.overlay.results.hits.length") == 10
    page.go_back()
    until(lambda: page.locator("#heading").text_content() == "Start anywhere")
    search(page, "Song 4711")
    until(lambda: titles(page)[:1] == ["Song 4711"])
    page.keyboard.press("Escape")
    page.locator("#points").focus()
    page.keyboard.press("Enter")
    page.locator("#chosen h2").wait_for()


def test_region_and_filters_of_a_large_map_reach_the_table(large, open_page):
    _, url = large
    page = open_page(url)
    draw(page, *ALL, key="Shift")
    until(lambda: "selected" in page.locator("#heading").text_content())
    assert selected(page) == COUNT
    page.locator("#filters summary").click()
    page.locator(".chip", has_text="reel").click()
    until(lambda: selected(page) == COUNT // 1000)
    assert "region" in address(page) and "reel" in address(page)
    page.click("#view-table")
    until(lambda: page.locator("#count").text_content() == f"{COUNT // 1000} items")
    page.locator("#table tbody button", has_text="Song 3000").click()
    page.locator("#chosen h2", has_text="Song 3000").wait_for()
    page.get_by_role("button", name="Clear all filters").click()
    until(lambda: len(titles(page)) == 10)


def test_map_of_many_points_is_complete_and_exact_once_it_rests(large, server, open_page):
    page = open_page(large[1])
    is_complete = "async () => (await import('/state.js')).parts.chart.renderer.isComplete"
    until(lambda: page.evaluate(is_complete))
    before = points(page)
    box = page.locator("#points").bounding_box()
    place = (box["x"] + box["width"] / 2, box["y"] + 0.3 * box["height"])
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(place[0] + 40, place[1], steps=8)
    page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.wait_for_timeout(300)
    until(lambda: page.evaluate(is_complete))
    assert (points(page) == before).mean() > 0.999  # all points are back where they were
    exact = f"{large[1]}api/layout?axes=pca2"
    assert exact not in server[1]
    page.focus("#points")
    for _ in range(12):
        page.keyboard.press("+")
    until(lambda: page.evaluate(is_complete) and exact in server[1])
