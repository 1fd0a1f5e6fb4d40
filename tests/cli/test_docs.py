"""The pages that are made of the docstrings and of the guides."""

import re
from pathlib import Path

import pytest

import jointembed
from jointembed.__main__ import main


def test_an_existing_folder_is_not_written_into(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["docs", str(tmp_path)]) == 2
    assert "it exists already" in capsys.readouterr().err


def test_without_its_extra_the_command_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pdoc", None)
    assert main(["docs", str(tmp_path / "out")]) == 2
    assert 'pip install "jointembed[docs]"' in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_public_name_has_an_entry_and_no_page_needs_the_network(tmp_path, browser, capsys):
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    assert main(["docs", str(tmp_path / "out")]) == 0
    assert "and the reference of" in capsys.readouterr().out
    root = Path(__file__).parents[2] / "recipes"
    for source in [root / "README.md", *root.glob("*/README.md")]:
        guide = tmp_path / "out" / "recipes" / source.relative_to(root).with_suffix(".html")
        text = guide.read_text("utf-8")
        assert source.read_text("utf-8").partition("\n")[0].removeprefix("# ").split("'")[0] in text
        links = [link for link in re.findall(r'(?:href|src)="([^"#]+)', text) if ":" not in link]
        assert links and [link for link in links if not (guide.parent / link).exists()] == []
    for name in jointembed.__all__:
        module = getattr(jointembed, name).__module__
        page = tmp_path / "out" / f"{module.replace('.', '/')}.html"
        assert f'id="{name}"' in page.read_text("utf-8"), name
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "out" / "index.html").as_uri())
    page.get_by_role("link", name="jointembed.space.space").first.click()
    page.get_by_role("heading", name="jointembed.space.space").or_(page.locator("#Space")).first.wait_for()
    assert all(url.startswith(("file:", "data:")) for url in requests)
    page.goto((tmp_path / "out" / "index.html").as_uri())
    page.get_by_role("link", name="Guide", exact=True).click()
    page.get_by_role("link", name="own", exact=True).first.click()
    page.get_by_role("heading", name="Parts of your own").wait_for()
    page.close()
