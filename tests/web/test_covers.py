"""Covers in the results and in the player: they take no room of their own."""

import io
import re

import mutagen
import mutagen.id3
import pytest
from PIL import Image
from web_page import choose, search, until
from web_server import ask

from jointembed.index.index import Index
from jointembed.web import export as pages


@pytest.fixture
def with_cover(server, path):
    """Song 13 with a picture in its file, Song 14 with a text that claims to be a picture."""
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), (0, 200, 0)).save(picture, "JPEG")
    for at, content in ((13, picture.getvalue()), (14, b"<svg/>")):
        sound = mutagen.File(path.parent / f"{at}.wav")
        if sound.tags is None:
            sound.add_tags()
        sound.tags.setall("APIC", [mutagen.id3.APIC(mime="image/jpeg", type=3, data=content)])
        sound.save()
    return server[0]


def hit(page, title):
    return page.locator(".hit", has=page.get_by_text(title, exact=True))


def test_cover_is_shown_in_the_results_and_nothing_shifts(with_cover, open_page):
    waiting = []
    page = open_page(with_cover)
    page.route("**/api/cover?*", lambda route: waiting.append(route))
    search(page, "Song 1")
    hit(page, "Song 13").wait_for()
    hit(page, "Song 14").wait_for()
    places = "all => all.map((each) => { const box = each.getBoundingClientRect(); return [box.x, box.y, box.width]; })"
    before = page.locator(".hit .title").evaluate_all(places)
    assert not page.locator(".covered").count()

    def is_covered(title):
        while waiting:
            waiting.pop().continue_()
        return "covered" in hit(page, title).get_attribute("class")

    until(lambda: is_covered("Song 13"))
    hit(page, "Song 14").scroll_into_view_if_needed()
    until(lambda: not is_covered("Song 14") and not hit(page, "Song 14").locator("img").count())  # nor a broken one
    page.locator("#body").evaluate("body => body.scrollTop = 0")
    assert page.locator(".hit .title").evaluate_all(places) == before
    assert page.locator(".hit.covered").count() == 1


def test_player_shows_the_cover_of_the_song(with_cover, open_page):
    page = open_page(with_cover)
    choose(page, "Song 13")
    page.locator("#chosen [data-play]").click()
    page.locator("#player .covered .main").wait_for()
    title = page.locator(".now").bounding_box()
    choose(page, "Song 14")
    page.locator("#chosen [data-play]").click()
    page.locator("#player .disc:not(.covered) .main").wait_for()
    assert page.locator(".now").bounding_box()["x"] == title["x"]


def requests_for_covers(port):
    """The number of requests for covers that a server has answered."""
    _, _, body = ask(port, "/metrics")
    return sum(map(int, re.findall(r'requests_total\{route="/api/cover",[^}]*\} (\d+)', body.decode())))


def test_covers_are_asked_for_once_a_version(with_cover, open_page):
    port = int(with_cover.rsplit(":", 1)[1].strip("/"))
    page = open_page(with_cover)
    search(page, "Song 1")
    until(lambda: page.locator(".hit.covered").count() == 1)
    page.locator("#clear").click()
    page.wait_for_timeout(400)
    before = requests_for_covers(port)
    search(page, "Song 13")
    until(lambda: page.locator(".hit.covered").count() == 1)
    assert requests_for_covers(port) == before


def test_no_covers_are_asked_for_of_results_that_are_scrolled_past(with_cover, open_page):
    waiting = []
    page = open_page(with_cover)
    page.route("**/api/cover?*", lambda route: waiting.append(route))
    search(page, "Song")
    for count in range(20, 71, 10):
        page.click("#more")
        until(lambda count=count: page.locator(".list li").count() == count)
    with_sound = page.locator(".list img").count()
    page.wait_for_timeout(400)
    waiting.clear()
    page.locator("#body").evaluate("body => { body.scrollTop = 1e9; }")
    page.wait_for_timeout(400)
    assert len(waiting) < with_sound / 2
    in_view = "all => all.filter((each) => each.src && each.getBoundingClientRect().top < innerHeight).length"
    assert page.locator(".list img").evaluate_all(in_view) < 20


def test_exported_page_has_small_covers_and_outlines_in_the_file(with_cover, path, open_page):
    with Index.open(path) as index:
        pages.export(index, path.parent / "sounds.html", root=path.parent, has_waveforms=True)
    page = open_page((path.parent / "sounds.html").as_uri())
    search(page, "Song 1")
    until(lambda: "covered" in hit(page, "Song 13").get_attribute("class"))
    assert page.locator(".hit.covered").count() == 1
    assert page.locator(".hit img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [32, 32]
    choose(page, "Song 13")
    page.locator("#chosen [data-play]").click()
    page.locator("#player .covered .main").wait_for()
    page.locator(".seek.outlined").wait_for()
    outline = page.evaluate("""async () => {
        const blocks = document.querySelectorAll('script[data-name="outlines"]').length;
        return [blocks, document.querySelector(".seek canvas").width > 0];
    }""")
    assert outline == [0, True]  # each block is read once
