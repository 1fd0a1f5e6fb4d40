"""Covers in the results and in the player: they take no room of their own."""

import io

import mutagen
import mutagen.id3
import pytest
from PIL import Image
from web_page import choose, search, until


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

    def is_covered():
        while waiting:
            waiting.pop().continue_()
        return "covered" in hit(page, "Song 13").get_attribute("class")

    until(is_covered)
    until(lambda: not hit(page, "Song 14").locator("img").count())  # neither a picture nor a broken one
    assert page.locator(".hit .title").evaluate_all(places) == before
    assert page.locator(".hit.covered").count() == 1
    assert hit(page, "Song 13").locator("img").get_attribute("loading") == "lazy"


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


def test_exported_page_asks_for_no_covers(file, open_page):
    page = open_page(file)
    choose(page, "Song 13")
    assert not page.locator("img").count()
