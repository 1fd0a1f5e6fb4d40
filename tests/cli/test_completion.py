"""Completion of the command line in a shell, by the signatures of the commands."""

import shutil
import subprocess
import sys

import pytest

from jointembed.__main__ import main
from jointembed.cli.completion import build_parser
from jointembed.cli.help import commands

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, whose options are read


@pytest.fixture(scope="module")
def parser():
    return build_parser({"bash": "_shtab_compgen_files"})


def test_every_command_is_completed_with_its_options(parser):
    subparsers = parser._subparsers._group_actions[0].choices
    assert set(subparsers) == set(commands())
    flags = {name: set(command._option_string_actions) for name, command in subparsers.items()}
    assert {"-k", "--field", "--json"} <= flags["similar"] and {"--proba", "-k"} <= flags["predict"]
    assert {"-c", "--resume", "--trainer.max_epochs", "--model.lr", "--data.table"} <= flags["fit"]
    (shell,) = [action for action in subparsers["completion"]._actions if action.choices]
    assert list(shell.choices) == ["bash", "zsh", "fish"]


def test_completion_is_an_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "jointembed[completion]"' in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_its_completion(shell, tmp_path, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    assert "jointembed" in script.read_text()
    if shell != "bash" or shutil.which("bash") is None:
        return
    ask = """source %s
    for words in "jointembed simi" "jointembed similar x --fie" "jointembed completion z"; do
        COMP_WORDS=($words)
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMPREPLY=()
        _shtab_jointembed
        echo "${COMPREPLY[@]}"
    done"""
    done = subprocess.run(["bash", "-c", ask % script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["similar", "--field", "zsh"]
