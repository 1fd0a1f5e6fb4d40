"""The page about parts of one's own is a whole example that runs as it stands."""

import json
import re
import runpy
import shlex

import pytest

from jointembed.__main__ import main
from jointembed.cli.recipes import packaged_folder

# Lightning asks torch in a way that torch is about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]

PAGE = (packaged_folder() / "own/README.md").read_text("utf-8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files of the page and the table; commands run in this process."""
    monkeypatch.chdir(tmp_path)
    for text in re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / text.split()[1]).write_text(text)
    runpy.run_path("prepare.py")

    def run(words):
        assert main(words) == 0

    monkeypatch.setattr("jointembed.cli.processes.run_command", run)
    return tmp_path


def commands():
    lines = re.findall(r"^jointembed .*", re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0], re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


def test_all_parts_train_and_are_trusted(place, capsys):
    *_, own, _ = commands()
    own[own.index("3")] = "1"
    assert main([*own, "-c", "tiny"]) == 0
    assert main(["index", "own/seed-0", "rows.jsonl", "tunes.index", "--trust", "own_parts"]) == 0


def test_a_part_that_python_cannot_import_says_why(place, capsys):
    (place / "broken_parts.py").write_text("from jointembed import Nothing\n")
    recipe = (place / "built_in.yaml").read_text().replace("loss: softmax", "loss: broken_parts.Margin")
    (place / "broken.yaml").write_text(recipe)
    assert main(["fit", "-c", "broken.yaml"]) == 2
    error = capsys.readouterr().err
    assert "broken_parts.Margin cannot be imported: ImportError: cannot import name 'Nothing'" in error
    assert error.count("\n") == 1 and "Fix: correct broken_parts, or the path" in error


@pytest.mark.slow
def test_the_page_runs_as_it_stands(place, capsys):
    for words in commands():
        assert main(words) == 0
    assert main(["compare", "built_in", "own", "--metric", "recall@1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]["recall@1"]
    assert (place / "compare.png").stat().st_size and report["differences"][0]["seed_pairs"] == 9
    for model in report["models"].values():
        assert min(model["seeds"]) > 0.35  # chance is .25
