"""Mistakes on a command line: each is reported in one line with the name, what is wrong, and the fix."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jointembed import Index, files
from jointembed.__main__ import main
from jointembed.cli import help, parser
from jointembed.cli.errors import report
from jointembed.index.backends import connection

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


@pytest.mark.parametrize(
    "text", ["#1", "null", "~", "&a", "*a", "+[Remix]", "[Live]", "{a: b}", "true", "007", "1e3", "a: b"]
)
def test_words_of_a_command_are_text(text):
    words = ["s.index", text, "--exclude", text, "--unlike", text, "--field", text]
    values = parser.parse("similar", parser.load("similar"), words)
    assert values == {"index": "s.index", "item": [text], "exclude": [text], "unlike": [text], "field": text}


MISTAKES = {
    "similar s.index": ("ITEM is missing", "jointembed similar INDEX ITEM..."),
    "similar": ("INDEX and ITEM are missing", "jointembed similar INDEX ITEM..."),
    "similar s.index -b": ("-b: ", "no such option", "jointembed similar INDEX -- -b"),
    "similar s.index a 1": ("the index has no such id",),
    "path s.index a 1 c": ("c: unexpected argument", "jointembed path INDEX START END", "quotes"),
    "similar s.index c --jsn": ("--jsn: ", "no such option", "did you mean --json?"),
    "similar s.index c --wher=1": ("--wher: ", "did you mean --where?"),
    "similar s.index c --k": ("-k: its value is missing",),
    "similar s.index c --unlike -b": ("--unlike: its value is missing", "--unlike=VALUE"),
    "similar s.index c --max-windows": ("--max-windows: ", "no such option"),
    "similar s.index c -k x": ("-k: must be a whole number, got 'x'",),
    "similar s.index c --diversity x": ("--diversity: must be a number, got 'x'",),
    "similar s.index c --json=maybe": ("--json: it takes no value", "write --json alone"),
    "similar s.index -- c --json": ("--json: the index has no such id",),
    "similar s.index ''": ("ITEM: must not be empty",),
    "similar s.index yellow_compas": ("did you mean Yellow Compass (",),
    "similar '' c": ("INDEX: must not be empty",),
    "search s.index -b": ("-b: ", "jointembed search INDEX -- -b"),
    "search s.index x --mode txt": ("--mode: 'txt' is not one of auto, vector, text, hybrid", "did you mean text?"),
    "search s.index x --mode zzz": ("--mode: 'zzz' is not one of auto, vector, text, hybrid", "use one of auto"),
    "search s.index x --mode text --field nope": ("nope: ", "audio"),
    "search s.index x --mode text --column words": ("--column: cannot be combined with --mode text",),
    "search s.index x --mode text --trust me": ("--trust: cannot be combined with --mode text",),
    "search s.index x --mode text -k 99999999999999999999": ("99999999999999999999",),
    "similar s.index c --where genre='Waltz'": ("where: no item meets the condition genre='Waltz'", "by like"),
    "search s.index x --mode text --dedupe": ("--dedupe: cannot be combined with --mode text",),
    "search s.index x --mode hybrid --one-per genre": ("--one-per: cannot be combined with --mode hybrid",),
    "search s.index x --mode hybrid --diversity 1": ("--diversity: cannot be combined with --mode hybrid",),
    "search s.index x --mode vector": ("this field has no model", "--mode text"),
    "sweep r.yaml --mode mx": ("--mode: 'mx' is not one of max, min", "did you mean max?"),
    "path s.index c": ("END is missing", "jointembed path INDEX START END"),
    "path s.index c c": ("path: ", "two different items"),
    "path s.index c d -n 1": ("n: ", "between 2 and 1000"),
    "path s.index c d -n 1000000000": ("n: ", "between 2 and 1000"),
    "path s.index c d -k 3": ("-k: ", "use one of -n, "),
    "neighbors s.index --out n.parquet": ("--out: this argument is given by position", "neighbors INDEX OUT"),
    "neighbors s.index n.csv": ("n.csv: a table is written as .parquet", "write n.parquet"),
    "neighbors s.index n.parquet -k 0": ("k: must be at least 1, got 0",),
    "neighbors s.index n.parquet --trust me": ("--trust: it applies only to a table of queries", "--queries"),
    "cluster s.index --dry-run --output-column mood": ("--output-column: it cannot be combined with --dry-run",),
    "cluster s.index --plot .": (".: a picture is written as .png", "name.png"),
    "page s.index": ("OUT is missing",),
    "page s.index . ": (".: a page is written as .html or .htm",),
    "page s.index x.html --map temp,tempo": ("temp", "did you mean tempo?"),
    "page e.index x.html": ("e.index: this index is empty", "jointembed index MODEL SOURCE e.index"),
    "projector s.index ''": ("FOLDER: must not be empty",),
    "projector s.index d --root nowhere": ("nowhere: this folder does not exist",),
    "projector s.index d --image-column titel": ("titel: no row has this column", "did you mean title?"),
    "projector s.index s.index/d": ("cannot be written",),
    "similar . c": (".: this is a folder, not an index", "such as e.index"),
    "adopt . m.ckpt": (".: the model is incomplete: it has neither config.json nor modules.json", "torchvision/NAME"),
    "serve s.index --port web": ("--port: must be a whole number, got 'web'",),
    "cluster gone.index": ("gone.index: this index is empty",),
    "page gone.index x.html": ("gone.index: this index is empty",),
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_reported_in_one_line_with_its_fix(line, ask, tmp_path):
    make(tmp_path / "e.index", [])
    with Index.open(make(tmp_path / "gone.index", SONGS)) as index:
        index.remove(index.ids())
    before = sorted(os.listdir())
    words = ["" if word == "''" else word.replace("_", " ") for word in line.split()]
    code, out, err = ask(*words)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1 and err.startswith("jointembed: error[E-USAGE]: ") and ". Fix: " in err
    assert "typing" not in err and "<class" not in err and "Parser key" not in err
    assert all(part in err for part in MISTAKES[line]), err
    assert [name for name in sorted(os.listdir()) if name not in before and ".index-" not in name] == []


@pytest.mark.parametrize(
    "line",
    [
        "similar s.index _",
        "similar _ c",
        "search _ x",
        "path s.index _ c",
        "index _ s.index o.index",
        "index m.ckpt _ o",
    ]
    + ["init _", "serve _", "verify _", "cache _", "adopt _ m.ckpt", "recipes _", "demo _", "cluster _"]
    + ["page s.index _.html", "projector s.index _", "similar s.index c --m3u _.m3u8"],
)
def test_a_name_that_no_file_can_have_is_a_mistake(line, ask, tmp_path):
    (tmp_path / "m.ckpt").write_text("")
    code, _, err = ask(*line.replace("_", "\u4e2d" * 86).split())
    assert (code, err.count("\n")) == (2, 1) and "E-USAGE" in err, err


@pytest.mark.parametrize(
    "line",
    [
        "init none.jsonl --out taken.yaml",
        "sweep none.yaml --set model.lr=0.1:1 --out taken.yaml",
        "adopt ./none taken.ckpt",
    ]
    + ["adopt torchvision/resnet18 taken.ckpt --from none.pth", "export none taken", "projector none.index taken.ckpt"],
)
def test_what_is_missing_is_reported_before_what_would_be_overwritten(line, ask, tmp_path):
    for name in ("taken.yaml", "taken.ckpt", "taken/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    code, _, err = ask(*line.split())
    assert code == 2 and "none" in err.split("Fix:")[0] and "taken" not in err, err


def test_a_file_in_the_place_of_the_folder_of_the_demo_is_refused(ask):
    code, _, err = ask("demo", "s.index")
    assert code == 2 and "s.index: this is a file, not a folder" in err, err


def test_one_letter_options_take_every_form(ask):
    for words in (["-n", "3"], ["-n3"], ["-n=3"], ["--n", "3"], ["--n=3"]):
        code, out, err = ask("path", "s.index", *words, "a 1", "c", "--json")
        assert code == 0 and out.count('"rank"') == 3, err
    assert ask("similar", "s.index", "--json", "-k2", "--", "-b")[1].count('"rank"') == 2
    assert ask("similar", "s.index", "a 1", "--unlike=-b", "--json")[1].count('"rank"') == 2


def test_a_file_that_is_not_an_index_is_never_suggested_for_deletion(ask, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": "1"}\n' * 100)
    code, _, err = ask("similar", "rows.jsonl", "1")
    assert code == 5 and "this is not an index" in err and "delete" not in err and "give the file of an index" in err


def test_folder_options_are_refused_for_a_table(ask, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": "1"}\n')
    (tmp_path / "m.ckpt").write_text("")
    for flag in ("--retry", "--follow-symlinks", "--profile"):
        code, _, err = ask("index", "m.ckpt", "rows.jsonl", "x.index", flag)
        assert code == 2 and err.startswith(f"jointembed: error[E-USAGE]: {flag}: {flag} applies only to a folder")


def test_a_refused_file_is_named_with_the_fix(capsys):
    assert report(PermissionError(13, "Permission denied", "secret.index")) == 2
    assert capsys.readouterr().err == (
        "jointembed: error[E-USAGE]: secret.index: it may not be opened or written (permission denied). "
        "Fix: correct its permissions, or those of its folder\n"
    )


def test_a_failure_has_its_exit_code_where_standard_error_is_closed(ask, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["similar", "s.index", "nothing"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not delete a working directory")
def test_a_working_directory_that_was_deleted_is_named(ask, tmp_path):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = ask("similar", "s.index", "c")
    assert code == 2 and "working directory: it does not exist any more" in err, err


def test_an_unexpected_failure_is_one_line_that_asks_for_a_report(capsys):
    assert report(ConnectionResetError(104, "reset")) == 1
    err = capsys.readouterr().err
    assert err.startswith("jointembed: error[E-INTERNAL]: ConnectionResetError") and "--debug" in err


def test_cluster_refuses_a_read_only_index_before_it_clusters(ask, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, _, err = ask("cluster", "s.index", "--k", 2)
    assert code == 2 and "s.index: the index is read-only" in err and "--dry-run" in err


def process(*words, **how):
    # A runner in the background ignores SIGINT, and its children would, too.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from jointembed.__main__ import main\n"
        "sys.exit(main())"
    )
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stderr=subprocess.PIPE, text=True, **how)


def test_a_closed_pipe_is_no_error_and_a_full_disk_is(ask):
    with process("similar", "s.index", "c", stdout=subprocess.PIPE) as child:
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == 0
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full, process("similar", "s.index", "c", stdout=full) as child:
            stderr = child.stderr.read()
        assert child.returncode == 6 and stderr.count("\n") == 1 and "error[E-SPACE]: the output: no space" in stderr


def test_a_stopped_command_exits_with_130_and_leaves_no_partial_file(tmp_path):
    rng = np.random.default_rng(0)
    with Index.create(tmp_path / "big.index", 16, "euclidean") as index:
        vectors = rng.standard_normal((60_000, 16)).astype(np.float32)
        index.add([{"id": str(at)} for at in range(60_000)], vectors, "audio")
    with process("page", "big.index", "big.html", "-k", 500, cwd=tmp_path, env=_here()) as child:
        while not list(tmp_path.glob("big.index-*.f32")):  # the matrix: it is at work
            time.sleep(0.01)
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        stderr = child.stderr.read()
    assert child.returncode == 130 and stderr == "jointembed: stopped\n"
    assert not list(tmp_path.glob("*.html*")) and not list(tmp_path.glob(".big.html*"))


def test_a_command_that_is_stopped_while_sqlite_calls_back_is_stopped_and_reports_no_error(ask, monkeypatch):
    calls = []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return authorize(*args)

    authorize = connection.authorize
    monkeypatch.setattr(connection, "authorize", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
    try:
        assert ask("similar", "s.index", "c") == (130, "", "jointembed: stopped\n")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert ask("similar", "s.index", "c")[0] == 0
    finally:
        signal.signal(signal.SIGINT, before)


def _here():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize("name", sorted(set(help.commands()) - {"fit", "validate", "test", "predict"}))
def test_help_lists_every_parameter_without_types_of_python(name, capsys):
    assert main([name, "--help"]) == 0
    page = capsys.readouterr().out
    for parameter in parser.read_parameters(parser.load(name)):
        assert f"  {parameter.label if parameter.positional else parameter.flag}" in page, page
    assert not any(sign in page for sign in ("type:", "Optional", "Args:", "None"))


def test_a_failure_is_reported_where_the_files_of_python_may_not_be_looked_at(monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)  # as below a folder of another user
    try:
        files.sha256(os.devnull + "/a")
    except OSError as error:
        assert report(error) == 2
    assert "a file is in the place of a folder" in capsys.readouterr().err
