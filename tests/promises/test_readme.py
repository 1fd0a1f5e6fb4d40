"""What the README tells a newcomer to do, done."""

import re
import shlex
import warnings
from pathlib import Path

import pytest

from jointembed.__main__ import main
from jointembed.cli.help import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning warns of its own dependencies
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "waltz" in capsys.readouterr().out and (tmp_path / "words.index").exists()


def commands_of(path):
    """Each command line of a Markdown file's bash blocks, as words."""
    for block in re.findall(r"```bash\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            for part in line.split(" && "):
                if words := shlex.split(part, comments=True):
                    yield words


PAGES = [ROOT / "README.md", *sorted((ROOT / "recipes").rglob("README.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_exists(path, capsys):
    for words in commands_of(path):
        if words[0] == "python":
            assert (ROOT / words[1]).is_file() or f"# {words[1]}\n" in path.read_text("utf-8"), words
        if words[0] != "jointembed":
            continue
        assert words[1] in commands(), words
        if words[1] not in ("fit", "predict"):  # their options are Lightning's
            assert main([words[1], "--help"]) == 0
            usage = capsys.readouterr().out
            for option in [word.split("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)]:
                assert re.search(rf"(^|[\s,]){re.escape(option)}\b", usage), (words, option)


def test_it_says_how_to_set_up_and_how_to_test():
    assert "pip install -e . && jointembed demo" in README
    assert 'pip install -e ".[dev]" && pytest' in README


def test_its_tree_names_every_room_of_the_package():
    tree = README[README.index("## Where things are") :]
    rooms = {path.parent.name for path in (ROOT / "jointembed").glob("*/__init__.py")}
    listed = {name.strip("/") for name in re.findall(r"\b[a-z_]+/", tree)} & rooms
    assert listed == rooms


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", path.read_text("utf-8")):
        place = "".join(link).partition("#")[0]
        assert place.startswith("https:") or (path.parent / place).exists(), place
