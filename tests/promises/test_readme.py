"""What the README tells a newcomer to do, done."""

import re
import shlex
import warnings
from pathlib import Path

import pytest

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


def test_every_command_that_it_names_exists():
    for block in blocks("bash"):
        for line in block.splitlines():
            for command in re.findall(r"jointembed (\w+)", line.split("#")[0]):
                assert command in commands(), line
            shlex.split(line, comments=True)


def test_it_says_how_to_set_up_and_how_to_test():
    assert "pip install -e . && jointembed demo" in README
    assert 'pip install -e ".[dev]" && pytest' in README


@pytest.mark.parametrize("name", re.findall(r"^  ([a-z/]+\.py) ", README, re.MULTILINE))
def test_every_file_of_its_tree_exists(name):
    assert list((ROOT / "jointembed").rglob(name))


def test_every_link_leads_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link
