"""The table of the page: its order, its keys, its address, and many rows."""

import csv
from pathlib import Path

import numpy as np
import pytest
from web_page import LEFT, address, choose, draw, rows, search, selected, similar, status, until
from web_server import serving

from jointembed.index.index import Index
from jointembed.web import export as pages


def cells(page, name):
    heads = page.locator("#table thead th").evaluate_all("all => all.map((each) => each.dataset.name)")
    return page.locator(f"#table tbody tr > :nth-child({heads.index(name) + 1})").all_text_contents()


def first_titles(page, count=5):
    return [each for each in cells(page, "title") if each][:count]


@pytest.fixture
def open_table(server, file, open_page):
    """Opens the table of the served or the exported page, once all of its columns are there."""

    def show(where, query=""):
        page = open_page((server[0] if where == "server" else file) + query)
        if "view=table" not in query:
            page.click("#view-table")
        until(lambda: page.locator("#table thead th").count() >= 4)
        return page

    return show


@pytest.mark.parametrize("where", ["server", pytest.param("file", marks=pytest.mark.slow)])
def test_table_lists_all_items_and_is_sorted_by_click_and_address(where, open_table):
    page = open_table(where)
    songs = rows()
    assert page.locator("#count").text_content() == "80 items" and page.locator("#points").is_hidden()
    head = page.locator("#table th[data-name='tempo']")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and "sort=tempo" in address(page)
    assert cells(page, "tempo")[:3] == ["80", "81", "82"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert cells(page, "tempo")[:3] == ["159", "158", "157"]
    listed = first_titles(page)
    assert listed == [song["title"] for song in songs[:-6:-1]]
    again = open_table(where, address(page)[address(page).index("?") :])
    assert first_titles(again) == listed and "number" in again.locator("#table td").nth(1).get_attribute("class")
    head.get_by_role("button").click()  # the order of the list again
    assert head.get_attribute("aria-sort") == "none" and "sort=" not in address(page)
    page.click("#view-map")
    assert page.locator("#table").is_hidden() and "view=" not in address(page)


@pytest.mark.parametrize("where", ["server", pytest.param("file", marks=pytest.mark.slow)])
def test_table_shows_the_results_the_selection_and_what_passes_the_filters(where, path, open_table):
    page = open_table(where)
    page.locator("#filters summary").click()
    page.locator(".chip", has_text="polka").click()
    until(lambda: page.locator("#count").text_content() == "20 items")
    assert set(cells(page, "genre")) - {""} == {"polka"}
    page.get_by_role("button", name="Clear all filters").click()
    until(lambda: page.locator("#count").text_content() == "80 items")
    page.locator("#table tbody tr", has_text="Song 9").first.click()  # as a result of the list
    page.locator("#chosen h2", has_text="Song 9").wait_for()
    assert [each for each in cells(page, "title") if each] == similar(path, "song/9")
    scores = [float(each) for each in cells(page, ":score") if each]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True)
    page.click("#view-map")
    draw(page, *LEFT, key="Shift")
    until(lambda: "selected" in page.locator("#heading").text_content())
    page.click("#view-table")
    assert page.locator("#count").text_content() == f"{selected(page)} items"
    page.locator("#table th[data-name='tempo'] button").click()
    page.locator("#save summary").click()
    with page.expect_download() as download:
        page.click("#save-table")
    text = Path(download.value.path()).read_bytes().decode("utf-8", "replace")
    tempos = [row["tempo"] for row in csv.DictReader(text.splitlines(keepends=True))]
    assert len(tempos) == selected(page)
    assert tempos == sorted(tempos, key=lambda each: (each == "", float(each or 0)))


def test_table_is_used_by_keyboard(open_table):
    page = open_table("server")
    page.locator("#view-map").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th').dataset.name") == "title"
    page.locator("#table th[data-name='tempo'] button").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('th').dataset.name") == "tempo"
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("!!document.activeElement.closest('tbody')"):
            break
    row = "document.activeElement.closest('tr').getAttribute('aria-rowindex')"
    assert page.evaluate(row) == "2"
    assert page.locator("#table tbody button:not([tabindex='-1'])").count() == 1
    page.keyboard.press("End")
    assert page.evaluate(row) == "81" and page.locator("#table table").get_attribute("aria-rowcount") == "81"
    page.keyboard.press("ArrowUp")
    assert page.evaluate(row) == "80"
    title = page.evaluate("document.activeElement.textContent")
    box, view = page.evaluate("document.activeElement.getBoundingClientRect().bottom"), page.viewport_size["height"]
    assert box <= view
    page.evaluate("document.querySelector('.rows').scrollTop = 0")
    until(lambda: page.evaluate("document.activeElement.matches('.rows')"))  # the row is no longer in the page
    page.keyboard.press("ArrowDown")
    assert page.evaluate(row) == "81"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    until(lambda: page.locator("#chosen h2").text_content() == title)


@pytest.mark.slow
def test_table_shows_what_is_searched_while_it_is_typed(open_table):
    page = open_table("server")
    search(page, "Song 42")
    until(lambda: "result" in status(page))
    until(lambda: first_titles(page, 1) == ["Song 42"])
    assert not page.locator("#table th[data-name=':score']").count()  # words in columns have no score


def test_table_fits_a_phone(server, open_page):
    page = open_page(f"{server[0]}?view=table", viewport={"width": 390, "height": 800}, has_touch=True)
    until(lambda: page.locator("#table tbody tr").count() > 4)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    table, panel = page.locator("#table").bounding_box(), page.locator("#panel").bounding_box()
    assert table["y"] + table["height"] <= panel["y"] + 1  # the sheet covers no row that cannot be scrolled to
    choose(page, "Song 42")


@pytest.mark.slow
def test_table_of_many_rows_has_few_in_the_page(tmp_path, browser):
    count = 20_000
    songs = [{"id": f"{at:06}", "tempo": (at * 7919) % count} for at in range(count)]
    vectors = np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32)
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        index.add(songs, vectors, "x")
        pages.export(index, tmp_path / "a.html", 1)
    page = browser.new_page(viewport={"width": 960, "height": 560}, reduced_motion="reduce")
    page.goto((tmp_path / "a.html").as_uri() + "?view=table&sort=tempo")
    until(lambda: [each for each in cells(page, "tempo") if each][:2] == ["0", "1"])
    assert page.locator("#table tbody tr").count() < 60
    page.evaluate("document.querySelector('.rows').scrollTop = 1e9")
    until(lambda: [each for each in cells(page, "tempo") if each][-1] == "19,999")
    assert page.locator("#table tbody tr").count() < 60
    page.close()


@pytest.mark.slow
def test_table_follows_the_index_and_the_field(tmp_path, open_page):
    vectors = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    songs = [{"id": f"{at}", "title": f"Song {at}", "tempo": at + 0.5} for at in range(30)]
    with Index.create(tmp_path / "a.index", 3, "euclidean") as index:
        index.add(songs, vectors, "audio")
        index.add_field("tags", 3, "euclidean", "other", "f2")
        index.add(songs[20:], vectors[20:], "tags")
    with serving(tmp_path / "a.index") as port:
        page = open_page(f"http://127.0.0.1:{port}/?view=table&sort=tempo&order=descending")
        until(lambda: first_titles(page, 2) == ["Song 29", "Song 28"])
        page.select_option("#field", "tags")
        until(lambda: page.locator("#count").text_content() == "10 items")
        page.locator("#table th[data-name='tempo']").wait_for()
        until(lambda: cells(page, "tempo")[-1] == "20.500")
        assert first_titles(page, 2) == ["Song 29", "Song 28"]
        page.select_option("#field", "audio")
        until(lambda: page.locator("#count").text_content() == "30 items")
        with Index.open(tmp_path / "a.index") as index:
            index.remove(["29", "3"])
        page.locator("#table tbody button", has_text="Song 28").click()
        page.locator("#chosen h2", has_text="Song 28").wait_for()
        page.locator("#clear").click()
        until(lambda: page.locator("#count").text_content() == "28 items")
        until(lambda: first_titles(page, 2) == ["Song 28", "Song 27"])
        assert cells(page, "tempo")[0] == "28.50"
