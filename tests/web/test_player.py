"""The player of the page: its queue, the outline of the sound, and what a reload keeps."""

import io
import re
import wave

import pytest
from web_page import choose, status, titles, until

PLAYABLE = ".list li:has([data-play])"


def queue(page):
    return page.locator("#queue .song").all_text_contents()


def press_in_menu(page, place, entry):
    row = page.locator(PLAYABLE).nth(place)
    row.hover()
    row.get_by_role("button", name=re.compile("^More for")).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()
    return row.locator(".title").text_content()


def play(page, place=0):
    page.locator(PLAYABLE).nth(place).hover()
    page.locator(PLAYABLE).nth(place).locator("[data-play]").click()


def hold(page):
    """Let the sounds of a page not end by themselves."""
    page.evaluate("document.querySelector('audio').loop = true")


@pytest.mark.parametrize("where", ["server", pytest.param("file", marks=pytest.mark.slow)])
def test_songs_are_queued_reordered_played_and_kept_by_a_reload(where, server, file, path, open_page):
    if where == "file":  # sounds beside the exported page
        for at in range(40):
            (path.parent / "song" / str(at)).write_bytes((path.parent / f"{at}.wav").read_bytes())
    page = open_page(server[0] if where == "server" else file)
    hold(page)
    choose(page, "Song 9")
    play(page)
    first, second = press_in_menu(page, 1, "Add to queue"), press_in_menu(page, 2, "Add to queue")
    third = press_in_menu(page, 3, "Play next")
    assert status(page) == f"{third} plays next"
    button = page.get_by_role("button", name="Queue, 3 songs")
    button.click()
    assert queue(page) == [third, first, second]
    page.get_by_role("button", name=f"Move {second} up").click()
    assert queue(page) == [third, second, first]
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Move {second} up"
    assert status(page) == f"{second}: place 2 of 3"
    page.locator("#queue li").nth(2).drag_to(page.locator("#queue li").nth(0))
    assert queue(page) == [first, third, second]
    page.get_by_role("button", name=f"Remove {third} from the queue").click()
    assert queue(page) == [first, second]
    page.get_by_role("button", name="Next song").click()
    assert page.locator(".now").text_content() == first and queue(page) == [second]
    page.reload()
    page.locator(".list li").first.wait_for()
    assert page.locator(".now").text_content() == first and queue(page) == [second]
    assert page.evaluate("document.querySelector('audio').paused")
    hold(page)
    page.get_by_role("button", name="Queue, 1 song").click()
    page.locator("#queue .song").click()  # plays it now
    assert page.locator(".now").text_content() == second and queue(page) == []


@pytest.mark.slow
def test_songs_like_the_last_ones_follow_when_the_queue_is_empty(server, open_page):
    page = open_page(server[0])
    hold(page)
    choose(page, "Song 9")
    for place in (0, 1):
        play(page, place)
    names = titles(page)
    page.get_by_role("button", name="Queue", exact=True).click()
    page.get_by_role("button", name="More like the last 5").click()
    until(lambda: len(queue(page)) == 5)
    last = [each for each in server[1] if each.startswith("/api/similar")][-1]
    assert last.count("id=") == 2 and "k=50" in last
    assert names[0] not in queue(page) and names[1] not in queue(page)
    order = queue(page)
    for name in order:
        page.get_by_role("button", name="Next song").click()
        until(lambda name=name: page.locator(".now").text_content() == name)
    page.get_by_role("button", name="Next song").click()
    until(lambda: len(queue(page)) == 4)
    assert page.locator(".now").text_content() not in [*order, *names[:2]]


def test_outline_of_the_sound_is_drawn_and_seeks_by_keys(server, open_page):
    page = open_page(server[0])
    hold(page)
    choose(page, "Song 9")
    play(page)
    page.locator(".seek.outlined").wait_for()
    has_ink = """() => {
        const canvas = document.querySelector('.seek canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.some((value) => value > 0);
    }"""
    assert page.evaluate(has_ink)
    page.evaluate("document.querySelector('audio').pause()")
    box = page.locator(".seek").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    until(lambda: 0.25 < page.evaluate("document.querySelector('audio').currentTime") < 0.35)
    page.get_by_label("Position").press("ArrowLeft")
    until(lambda: page.evaluate("document.querySelector('audio').currentTime") == 0)


@pytest.mark.slow
def test_long_sound_is_not_decoded(server, path, open_page):
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(4000)
        sound.writeframes(b"\x80" * 4000 * 601)
    (path.parent / "30.wav").write_bytes(content.getvalue())
    page = open_page(server[0])
    requests = []
    page.on("request", lambda request: request.resource_type == "fetch" and requests.append(request.url))
    choose(page, "Song 30")
    page.locator("#chosen [data-play]").click()
    until(lambda: "10:01" in page.locator(".time").text_content())
    page.wait_for_timeout(500)
    assert not page.locator(".seek.outlined").count() and not [url for url in requests if "/audio" in url]
    page.get_by_label("Position").press("PageUp")
    until(lambda: page.evaluate("document.querySelector('audio').currentTime") >= 30)


def test_menu_of_a_result_is_used_by_keyboard(server, open_page):
    page = open_page(server[0])
    choose(page, "Song 42")
    page.locator(".hit").first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-haspopup')") == "menu"
    page.keyboard.press("Enter")
    items = page.get_by_role("menuitem")
    assert items.first.evaluate("item => document.activeElement === item")
    page.keyboard.press("Escape")
    assert not page.locator("#menu").is_visible()
    assert page.locator("#chosen h2").text_content() == "Song 42"  # Escape closed the menu alone
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    assert items.nth(-2).evaluate("item => document.activeElement === item")
    page.keyboard.press("Enter")
    page.locator(".token").nth(1).wait_for()
