"""The filters of the page: each shows how its column is distributed in the present list, and chooses by hand."""

import pytest
from web_page import LEFT, address, choose, draw, rows, selected, until


def chip(page, text):
    return page.locator(".chip", has_text=text).locator("small").text_content()


def total(page):
    return page.locator(".total").text_content()


@pytest.fixture
def open_filters(server, file, open_page):
    """Opens the filters of the served or the exported page."""

    def show(where, query="", **more):
        page = open_page((server[0] if where == "server" else file) + query, **more)
        page.locator("#filters summary").click()
        page.locator(".chip").first.wait_for()
        return page

    return show


@pytest.mark.parametrize("where", ["server", pytest.param("file", marks=pytest.mark.slow)])
def test_facets_count_what_passes_the_filters_of_the_other_columns(where, open_filters):
    page = open_filters(where)
    assert total(page) == "80 items" and chip(page, "polka") == "20"
    page.get_by_label("Highest tempo").fill("99")
    page.get_by_label("Highest tempo").press("Enter")
    tempos = [(song["genre"], song["tempo"]) for song in rows() if "tempo" in song]
    expected = {genre: sum(each == genre and tempo <= 99 for each, tempo in tempos) for genre, _ in tempos}
    assert chip(page, "polka") == f"{expected['polka']} of 20"
    assert total(page) == f"{sum(expected.values())} of 80 items"
    page.locator(".chip", has_text="polka").click()
    assert chip(page, "waltz") == f"{expected['waltz']} of 20"  # what choosing it too would add
    until(lambda: "polka" in address(page) and "tempo" in address(page))
    again = open_filters(where, address(page)[address(page).index("?") :])
    assert total(again) == total(page) == f"{expected['polka']} of 80 items"


def test_range_is_drawn_on_a_histogram_and_a_click_removes_it(open_filters):
    page = open_filters("server")
    histogram = page.locator("fieldset", has_text="tempo").locator(".bars")
    histogram.scroll_into_view_if_needed()
    box = histogram.bounding_box()
    place = (box["x"] + 0.26 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.49 * box["width"], place[1], steps=4)
    page.mouse.up()
    low, high = (int(page.get_by_label(f"{end} tempo").input_value()) for end in ("Lowest", "Highest"))
    assert 98 <= low <= 101 and 117 <= high <= 119
    until(lambda: f"{low}" in address(page) and f"{high}" in address(page))
    assert total(page) == f"{high - low + 1} of 80 items"
    assert " of " in histogram.get_attribute("title")
    page.mouse.click(*place)
    until(lambda: "where" not in address(page))
    assert total(page) == "80 items"


@pytest.mark.slow
def test_facets_show_the_results_and_the_selection(open_filters):
    page = open_filters("server")
    choose(page, "Song 42")
    until(lambda: total(page) == "10 of 80 items")
    genres = ["waltz", "polka", "reel", "hip & hop's"]
    assert sum(int(chip(page, genre).split()[0]) for genre in genres) == 10
    page.locator("#clear").click()
    until(lambda: total(page) == "80 items")
    draw(page, *LEFT, key="Shift")
    until(lambda: "selected" in page.locator("#heading").text_content())
    members = selected(page)
    until(lambda: total(page) == f"{members} of 80 items")
    counts = {genre: int(chip(page, genre).split()[0]) for genre in genres}
    genre = max(counts, key=counts.get)
    page.locator(".chip", has_text=genre).click()
    until(lambda: selected(page) == counts[genre])
    page.locator(".chip", has_text=genre).click()
    until(lambda: selected(page) == members)


@pytest.mark.slow
def test_facets_keep_their_marks_in_forced_colours(open_filters):
    page = open_filters("server", forced_colors="active")
    colour = "getComputedStyle(document.querySelector('{}')){}"
    background = page.evaluate(colour.format(".bars b", ".backgroundColor"))
    assert background != page.evaluate(colour.format("#panel", ".backgroundColor"))
    swatches = page.locator(".key .swatch").evaluate_all("all => all.map((each) => getComputedStyle(each).color)")
    assert len(set(swatches)) == len(swatches) >= 4
