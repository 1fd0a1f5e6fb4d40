"""The page at all sizes and in all colours: nothing covers its controls, and axe finds no violation in any state."""

import itertools
import re

import pytest
from web_page import choose, until

BOXES = "all => all.filter((each) => each.offsetWidth).map((each) => each.getBoundingClientRect().toJSON())"


@pytest.fixture(scope="session")
def axe(npm_packages):
    """The source of axe (https://github.com/dequelabs/axe-core)."""
    return (npm_packages / "axe-core" / "axe.min.js").read_text("utf-8")


def violations(page, axe):
    page.evaluate(axe)
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in result["violations"]]


@pytest.mark.parametrize(
    "look",
    [
        {"viewport": {"width": 1100, "height": 700}},
        pytest.param(
            {"viewport": {"width": 390, "height": 800}, "has_touch": True, "color_scheme": "dark"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"viewport": {"width": 1100, "height": 700}, "forced_colors": "active"}, marks=pytest.mark.slow),
    ],
    ids=["light", "dark phone", "forced colours"],
)
def test_axe_finds_no_violation_in_any_state(look, server, axe, open_page):
    page = open_page(server[0], bypass_csp=True, **look)
    page.locator("#filters summary").click()
    page.locator(".chip").first.wait_for()
    assert violations(page, axe) == []
    page.locator("#filters summary").click()
    page.get_by_role("button", name="Contours of density").click()
    choose(page, "Song 9")
    row = page.locator(".list li:has([data-play])").first
    row.hover()
    row.locator("[data-play]").click()
    row.get_by_role("button", name=re.compile("^More for")).click()
    assert violations(page, axe) == []
    page.get_by_role("menuitem", name="Add to queue").click()
    page.locator("#player").get_by_role("button", name=re.compile("^Queue")).click()
    assert violations(page, axe) == []
    page.click("#view-table")
    until(lambda: page.locator("#table tbody tr").count() > 4)
    page.locator("#table th button").first.click()
    assert violations(page, axe) == []


SIZES = [(1280, 800), (1024, 768), (930, 600), (768, 1024), (844, 390), (667, 375), (390, 844)]


@pytest.mark.parametrize("width, height", SIZES)
def test_legend_covers_no_menu(width, height, file, open_page):
    page = open_page(f"{file}?map=&axis=tempo&axis=year", viewport={"width": width, "height": height}, has_touch=True)
    until(lambda: page.locator("#axes .field").first.is_visible())
    page.locator("#legend").evaluate("legend => { legend.open = true; }")
    marks = page.locator("#legend, .bar > .field, .axes > .field, .zoom, #panel").evaluate_all(BOXES)
    assert len(marks) == 9
    for a, b in itertools.combinations(marks, 2):
        beside = a["right"] <= b["left"] + 1 or b["right"] <= a["left"] + 1
        assert beside or a["bottom"] <= b["top"] + 1 or b["bottom"] <= a["top"] + 1, (a, b)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
