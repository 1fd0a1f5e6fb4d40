"""What a newcomer gets wrong on a command line: one line each, with the name, what is wrong, and what to write."""

import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jointembed import Index, errors
from jointembed import __main__ as program
from jointembed.__main__ import main

SONGS = [
    {"id": "a 1", "title": "Yellow Compass", "genre": "reel", "tempo": 90, "artist": "A"},
    {"id": "-b", "title": "Lonely Window", "genre": "waltz", "tempo": 110, "artist": "B"},
    {"id": "c", "title": "Silver Corridor", "genre": "waltz", "tempo": 130, "artist": "A"},
    {"id": "d", "title": "Golden Bridge", "genre": "blues", "tempo": 70, "artist": "B"},
]


def make(path, rows):
    with Index.create(path, 4, "cosine") as index:
        if rows:
            index.add(rows, np.eye(4, dtype=np.float32)[: len(rows)], "audio")
    return path


@pytest.fixture
def ask(tmp_path, capsys, monkeypatch):
    """The code, the output and the complaint of a command in a folder with an index of songs, s.index."""
    make(tmp_path / "s.index", SONGS)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


SLIPS = {
    "similar s.index": ("ITEM is missing", "jointembed similar INDEX ITEM"),
    "similar": ("INDEX and ITEM are missing", "jointembed similar INDEX ITEM"),
    "similar s.index -b": ("-b: ", "jointembed similar INDEX ITEM -b;", "jointembed similar INDEX -- -b"),
    "similar s.index +b": ("+b: ", "jointembed similar INDEX ITEM +b;", "jointembed similar INDEX -- +b"),
    "similar s.index a 1": ("1: ", "takes no more words", "quotes"),
    "similar s.index c --jsn": ("--jsn: ", "no such flag", "did you mean --json?"),
    "similar s.index c --wher=1": ("--wher: ", "did you mean --where?"),
    "similar s.index c --k": ("--k: ", "its value is missing"),
    "similar s.index c --max-windows": ("--max-windows: ", "no such flag"),
    "similar s.index c -k x": ("--k: x is no whole number",),
    "similar s.index c --diverse x": ("--diverse: x is no number",),
    "similar s.index c --json=maybe": ("--json: maybe is neither true nor false", "write --json alone"),
    "similar s.index -- c --json": ("--json: ", "behind --", "before --"),
    "similar s.index ''": ("ITEM: it is empty",),
    "similar s.index yellow_compas": ("did you mean Yellow Compass?",),
    "similar '' c": ("INDEX: it is empty",),
    "search s.index -b": ("-b: ", "jointembed search INDEX -- -b"),
    "search s.index x --by txt": ("--by: txt is not among vectors, text, both", "did you mean text?"),
    "search s.index x --by zzz": ("--by: zzz is not among vectors, text, both", "use one of these"),
    "search s.index x --by text --among nope": ("nope: this column has no vectors", "audio"),
    "search s.index x --by text --column words": ("--column: this means nothing with --by text",),
    "search s.index x --by text --trust me": ("--trust: this means nothing with --by text",),
    "search s.index x --by text -k 99999999999999999999": ("k: 99999999999999999999 results cannot be had",),
    "similar s.index c --where genre='Waltz'": ("where: no item meets the condition genre='Waltz'", "by like"),
    "search s.index x --by text --distinct": ("--distinct: this means nothing with --by text",),
    "search s.index x --by both --per genre": ("--per: this means nothing with --by both",),
    "search s.index x --by both --diverse 1": ("--diverse: this means nothing with --by both",),
    "search s.index x": ("this index names no model", "--by text"),
    "sweep r.yaml --mode mx": ("--mode: mx is not among max, min", "did you mean max?"),
    "path s.index c": ("END is missing", "jointembed path INDEX START END"),
    "path s.index c c": ("path: it ends where it starts, at c",),
    "path s.index c d -n 1": ("n: a way of 1 items", "2 to 1000"),
    "path s.index c d -n 1000000000": ("n: a way of 1000000000 items", "2 to 1000"),
    "path s.index c d -k 3": ("-k: ", "use one of --n, "),
    "neighbors s.index --out n.parquet": ("--out: this is given by its place", "jointembed neighbors INDEX OUT"),
    "neighbors s.index n.csv": ("n.csv: a table is written as .parquet", "write n.parquet"),
    "neighbors s.index n.parquet -k 0": ("k: 0 results",),
    "neighbors s.index n.parquet --trust me": ("trust: this is of the rows of a table", "--queries"),
    "cluster s.index --look --name mood": ("--name: --look writes nothing",),
    "cluster s.index --plot .": (".: a picture is written as .png", "name.png"),
    "page s.index": ("OUT is missing",),
    "page s.index . ": (".: a page is written as .html or .htm",),
    "page s.index x.html --map temp,tempo": ("temp is no map", "tempo"),
    "page e.index x.html": ("e.index: this index is empty", "jointembed index MODEL SOURCE e.index"),
    "projector s.index ''": ("FOLDER: it is empty",),
    "projector s.index d --root nowhere": ("nowhere: there is no such folder",),
    "projector s.index d --picture titel": ("titel: no row has this column", "did you mean title?"),
    "projector s.index s.index/d": ("cannot be written here",),
    "serve s.index 80": ("80: jointembed serve takes no more words",),
    "serve s.index --port web": ("--port: web is no whole number",),
    "cluster gone.index": ("gone.index: this index is empty",),
    "page gone.index x.html": ("gone.index: this index is empty",),
}  # fmt: skip


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_one_line_that_says_what_to_write(line, ask, tmp_path):
    make(tmp_path / "e.index", [])
    with Index.open(make(tmp_path / "gone.index", SONGS)) as index:
        index.remove(index.ids())
    before = sorted(os.listdir())
    words = ["" if word == "''" else word.replace("_", " ") for word in line.split()]
    code, out, err = ask(*words)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1 and err.startswith("jointembed: error[E-USAGE]: ") and ". Fix: " in err
    assert "typing" not in err and "<class" not in err and "Parser key" not in err
    assert all(part in err for part in SLIPS[line]), err
    assert [name for name in sorted(os.listdir()) if name not in before and ".index-" not in name] == []


def test_one_letter_flags_and_odd_ids_are_understood(ask):
    for words in (["-n", "3"], ["-n3"], ["-n=3"], ["--n", "3"], ["--n=3"]):
        code, out, err = ask("path", "s.index", *words, "a 1", "c", "--json")
        assert code == 0 and out.count('"rank"') == 3, err
    assert ask("similar", "s.index", "--json", "-k2", "--", "-b")[1].count('"rank"') == 2
    assert ask("similar", "s.index", "a 1", "--minus", "-b", "--json")[1].count('"rank"') == 2


def test_nobody_is_told_to_delete_a_file_that_was_given_for_an_index(ask, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": "1"}\n' * 100)
    code, _, err = ask("similar", "rows.jsonl", "1")
    assert code == 5 and "this is not an index" in err and "delete" not in err and "give the file of an index" in err


def test_flags_of_a_folder_are_refused_of_a_table(ask, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": "1"}\n')
    (tmp_path / "m.ckpt").write_text("")
    for flag in ("--retry", "--follow", "--strict", "--profile"):
        code, _, err = ask("index", "m.ckpt", "rows.jsonl", "x.index", flag)
        assert code == 2 and err.startswith(f"jointembed: error[E-USAGE]: {flag}: this is of a folder of sounds")


def test_what_may_not_be_opened_or_written_is_named(ask, monkeypatch, tmp_path):
    def refused(*_):
        raise PermissionError(13, "Permission denied", "secret.index")

    monkeypatch.setattr(program, "run", refused)
    code, _, err = ask("similar", "secret.index", "a")
    assert code == 2 and err == (
        "jointembed: error[E-USAGE]: secret.index: it may not be opened or written (permission denied). "
        "Fix: correct its permissions, or those of its folder\n"
    )
    assert errors.system(ConnectionResetError(104, "reset")) is None
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("jointembed.analyze.cluster.clusters", lambda *_: 1 / 0)
    code, _, err = ask("cluster", "s.index", "--k", 2)
    assert code == 2 and "s.index: this index may not be written" in err and "--look" in err


def process(*words, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "jointembed", *map(str, words)], stderr=subprocess.PIPE, text=True, **how
    )


def test_output_that_nobody_reads_is_no_fault_and_a_full_disk_is_one(ask):
    with process("similar", "s.index", "c", stdout=subprocess.PIPE) as one:
        one.stdout.close()
        assert one.stderr.read() == ""
    assert one.returncode == 0
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full, process("similar", "s.index", "c", stdout=full) as one:
            said = one.stderr.read()
        assert one.returncode == 6 and said.count("\n") == 1 and "error[E-SPACE]: the output: no space" in said


def test_a_command_that_is_stopped_says_so_and_leaves_no_half_file(tmp_path):
    rng = np.random.default_rng(0)
    with Index.create(tmp_path / "big.index", 16, "euclidean") as index:
        vectors = rng.standard_normal((20_000, 16)).astype(np.float32)
        index.add([{"id": str(at)} for at in range(20_000)], vectors, "audio")
    with process("page", "big.index", "big.html", "-k", 500, cwd=tmp_path, env=_here()) as one:
        while not list(tmp_path.glob("big.index-*")):  # the matrix: it is at work
            time.sleep(0.01)
            assert one.poll() is None
        one.send_signal(signal.SIGINT)
        said = one.stderr.read()
    assert one.returncode == 130 and said == "jointembed: stopped\n"
    assert not list(tmp_path.glob("*.html*")) and not list(tmp_path.glob(".big.html*"))


def _here():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize("name", [name for name in program.COMMANDS if name not in program.LIGHTNING])
def test_help_names_every_flag_as_it_is_written_and_no_types_of_python(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    page = capsys.readouterr().out
    known = inspect.signature(getattr(importlib.import_module(f"jointembed.cli.{name}"), name)).parameters
    places = all(one.default is not one.empty for one in known.values())  # then the first may be bare, too
    for flag, one in known.items():
        wanted = flag if one.default is one.empty and not places else "--" + flag.replace("_", "-")
        assert f"  {wanted}" in page, page
    assert ended.value.code == 0 and not any(sign in page for sign in ("type:", "Optional", "Args:", "{true"))
    assert not re.search(r"--[\w-]+\+", page)
