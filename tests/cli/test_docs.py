"""The API reference that is made of the docstrings."""

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
    assert "index.html: the reference of" in capsys.readouterr().out
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
    page.close()
