"""Lines of equal density on the map: a switch, with its state in the address."""

from web_page import address, until

INK = """() => {
    const canvas = document.getElementById("marks");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.filter((value, at) => at % 4 === 3 && value > 0).length;
}"""


def test_contours_are_switched_by_keyboard_and_kept_in_the_address(server, open_page):
    page = open_page(server[0])
    before = page.evaluate(INK)
    switch = page.get_by_role("button", name="Contours of density")
    switch.focus()
    page.keyboard.press("Enter")
    assert switch.get_attribute("aria-pressed") == "true"
    until(lambda: page.evaluate(INK) > before + 1000)
    assert "contours=true" in address(page)
    again = open_page(address(page))
    until(lambda: again.evaluate(INK) > before + 1000)
    page.select_option("#map", "pca3")
    until(switch.is_hidden)
    page.select_option("#map", "pca2")
    until(switch.is_visible)
    switch.click()
    until(lambda: "contours" not in address(page) and page.evaluate(INK) < before + 1000)


def test_contours_follow_the_filters(server, open_page):
    page = open_page(f"{server[0]}?contours=true")
    lines = "async () => (await import('/state.js')).parts.overlay.contours().map(({ lines }) => lines.length)"
    whole = page.evaluate(lines)
    page.locator("#filters summary").click()
    page.locator(".chip", has_text="polka").click()
    until(lambda: page.evaluate(lines) != whole)
    assert all(page.evaluate(lines))
