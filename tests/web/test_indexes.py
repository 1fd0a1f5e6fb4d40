"""The page of each of several indexes offers the others."""

import pytest
from web_page import address
from web_server import filled, serving


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    with serving([filled(folder / "songs.index", 30), filled(folder / "films & more.index", 12, seed=1)]) as port:
        yield f"http://127.0.0.1:{port}/"


def test_choice_of_an_index_leads_to_its_page(open_page, start):
    page = open_page(start)
    assert address(page) == f"{start}indexes/songs/" and page.locator("#name").inner_text() == "songs"
    assert page.locator("#index option").all_inner_texts() == ["songs", "films & more"]
    page.select_option("#index", "films & more")
    page.wait_for_url(f"{start}indexes/films%20%26%20more/")
    page.locator(".list li").first.wait_for()
    assert page.locator("#name").inner_text() == "films & more" and "12" in page.locator("#facts").inner_text()
    page.go_back()
    page.wait_for_url(f"{start}indexes/songs/")
    page.locator(".list li").first.wait_for()
    assert page.locator("#index").input_value() == "songs"


def test_page_of_the_only_index_offers_no_choice(open_page, server):
    assert open_page(server[0]).locator("#indexes").is_hidden()
