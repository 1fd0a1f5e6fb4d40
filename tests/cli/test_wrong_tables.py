"""Tables, files and sizes that cannot work: each ends in one line with its fix, and nothing is lost."""

import errno
import json
import os

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from jointembed import BagOfWords, EmbeddingBag, Index, files
from jointembed.__main__ import main
from jointembed.cli.errors import report
from jointembed.data import table_file
from jointembed.space.space import Space

ROWS = [{"id": f"a{n}", "words": f"w{n % 3} x"} for n in range(6)]


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """The code and the complaint of a command in a folder with a model of words, m.ckpt."""
    monkeypatch.chdir(tmp_path)
    space = Space(4, {"words": EmbeddingBag(BagOfWords())})
    space.reader("words").fit([row["words"] for row in ROWS])
    space.build()
    space.save("m.ckpt")

    def run(line):
        capsys.readouterr()
        code = main(line.split())
        return code, capsys.readouterr().err

    return run


def deep(levels):
    return '{"id": "b", "words": "x", "note": ' + "[" * levels + "]" * levels + "}"


TABLES = {
    "null id": ('{"id": null, "words": "x"}', 2, "row 7: its id must be text or a number, got None"),
    "no id": ('{"words": "x"}', 2, "row 7: its id must be text or a number"),
    "empty id": ('{"id": "", "words": "x"}', 2, "row 7: its id must be text or a number"),
    "list as id": ('{"id": ["b"], "words": "x"}', 2, "row 7: its id must be text or a number, got ['b']"),
    "object as id": ('{"id": {"n": 1}, "words": "x"}', 2, "row 7: its id must be text or a number"),
    "id twice": ('{"id": "a1", "words": "x"}', 2, "row 7: its id 'a1' is that of row 2"),
    "reserved column": ('{"id": "b", "words": "x", "_file": 1}', 2, "_file: an index has a column of this name"),
    "key twice": ('{"id": "b", "words": "x", "words": "y"}', 5, "line 7: the key 'words' is there twice"),
    "key twice in a cell": ('{"id": "b", "words": "x", "n": [{"p": 1, "p": 2}]}', 5, "line 7: the key 'p' is there"),
    "nested cell": (deep(70), 5, "line 7: a cell is nested more than 64 levels deep"),
    "deeply nested cell": (deep(50_000), 5, "line 7: a cell is nested more than 64 levels deep"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_indexed_names_the_row(name, ask, tmp_path):
    line, code, problem = TABLES[name]
    (tmp_path / "t.jsonl").write_text("\n".join([*map(json.dumps, ROWS), line]))
    assert ask("index m.ckpt t.jsonl o.index --column words")[0] == code
    error = ask("index m.ckpt t.jsonl o.index --column words")[1]
    assert problem in error and error.count("\n") == 1 and "Fix: " in error, error
    assert not (tmp_path / "o.index").exists()
    if "_file" not in line:  # of an index alone
        assert ask("embed m.ckpt t.jsonl o.parquet --column words") == (code, error)


def test_nesting_below_the_limit_is_read(ask, tmp_path):
    (tmp_path / "t.jsonl").write_text("\n".join([*map(json.dumps, ROWS), deep(60)]))
    assert ask("index m.ckpt t.jsonl o.index --column words")[0] == 0


def test_infinities_that_an_index_cannot_hold_are_counted(ask, tmp_path):
    cells = [float("inf"), -float("inf"), float("nan"), 1.0, 2.0, None]
    lines = [json.dumps({**row, "tempo": cell}) for row, cell in zip(ROWS, cells, strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    code, error = ask("index m.ckpt t.jsonl o.index --column words")
    assert code == 0 and "warning: tempo: 2 cells are infinite" in error and "Fix: " in error
    with Index.open(tmp_path / "o.index") as index:
        assert index.count("tempo is null") == 4 and index.count("tempo > 0") == 2


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_rows_says_how_it_becomes_a_table(indent, ask, tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(ROWS, indent=indent))
    code, error = ask("index m.ckpt t.jsonl o.index")
    assert code == 5 and "t.jsonl: it is one JSON array" in error and "one row a line" in error, error


@pytest.mark.parametrize(
    "line", ["embed m.ckpt t.parquet ./t.parquet", "neighbors s.index t.parquet --queries t.parquet"]
)
def test_a_table_that_is_read_is_not_overwritten(line, ask, tmp_path):
    parquet.write_table(pa.table({"id": ["a", "b"], "words": ["x", "y"]}), tmp_path / "t.parquet")
    before = (tmp_path / "t.parquet").read_bytes()
    assert ask("index m.ckpt t.parquet s.index")[0] == 0
    code, error = ask(line)
    assert code == 2 and "t.parquet: this is the file that is read. Fix: write another file" in error, error
    assert (tmp_path / "t.parquet").read_bytes() == before


def test_a_folder_is_not_a_recipe_to_print(ask):
    code, error = ask("recipes ..")
    assert code == 2 and "..: this is a folder, not a recipe" in error


def test_what_is_not_a_file_is_not_suggested_as_an_index(ask, tmp_path):
    (tmp_path / "s.index").symlink_to("s.index")
    code, error = ask("similar s.index a")
    assert code == 2 and "index not found" in error and "did you mean" not in error


def test_too_little_memory_is_one_line_with_what_to_lower(capsys):
    torch_error = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 32000000000000 bytes. Error code 12 (Cannot allocate memory)"
    )
    for error in (
        torch_error,
        MemoryError("Unable to allocate 29.1 TiB for an array with shape (2, 3)"),
        MemoryError(),
    ):
        assert report(error) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "memory: there is too little for 32000000000000 bytes at once. Fix: lower model.dim" in lines[0]
    assert "for 29.1 TiB at once" in lines[1] and "there is too little. Fix" in lines[2]


def test_what_is_given_in_the_place_of_something_else_is_named(ask, tmp_path):
    (tmp_path / "song.wav").write_bytes(b"")
    code, error = ask("index m.ckpt song.wav o.index")
    assert code == 2 and "song.wav: this is a sound file" in error and f"give its folder, {tmp_path}" in error, error
    code, error = ask("compare m.ckpt m.ckpt")
    assert code == 2 and "m.ckpt: it is not a card" in error, error
    rows = [{**row, "genre": "ab"[n % 2], "split": "training"} for n, row in enumerate(ROWS)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, error = ask("init t.jsonl")
    assert code == 2 and "no row has `train` in its column split, which has training" in error, error


@pytest.mark.parametrize("command", ["index m.ckpt t.jsonl o.index", "embed m.ckpt t.jsonl o.parquet"])
def test_a_cell_of_another_type_is_named_by_its_table_column_and_id(command, ask, tmp_path):
    rows = [*ROWS, {"id": "b", "words": ["x", 5]}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, error = ask(f"{command} --column words")
    assert code == 2 and "t.jsonl, column words, id b: the cell must be text, got int. Fix: " in error, error


def test_a_table_of_another_encoding_or_without_permission_is_told_so(ask, tmp_path, monkeypatch):
    (tmp_path / "t.jsonl").write_bytes('{"id": "b", "words": "Müller"}'.encode("cp1252"))
    code, error = ask("embed m.ckpt t.jsonl o.parquet --column words")
    assert code == 5 and "t.jsonl: its text is not UTF-8. Fix: save it as UTF-8" in error, error

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(table_file, "content_digest", refuse)  # root may read everything
    code, error = ask("embed m.ckpt t.jsonl o.parquet --column words")
    assert code == 2 and "t.jsonl: it may not be opened or written (permission denied)" in error, error


def test_a_column_of_the_model_that_the_table_lacks_is_named(ask, tmp_path):
    space = Space(4, {name: EmbeddingBag(BagOfWords()) for name in ("words", "lyrics")})
    for name in ("words", "lyrics"):
        space.reader(name).fit(["x"])
    space.build()
    space.save("both.ckpt")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    code, error = ask("evaluate both.ckpt t.jsonl --query lyrics --target words --split all")
    assert code == 2 and "lyrics: the table has no such column. Fix: use one of id, words" in error, error


def test_vectors_are_written_into_no_folder_of_the_system(ask, tmp_path):
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    if os.path.isdir("/proc/self"):
        code, error = ask("embed m.ckpt t.jsonl /proc/o.parquet --column words")
        assert code == 2 and "/proc/o.parquet: it cannot be written" in error, error
    code, error = ask("embed m.ckpt t.jsonl s3://bucket/o.parquet --column words")
    assert code == 2 and "bucket/o.parquet: this is an address" in error, error
    code, error = ask("index m.ckpt t.jsonl s3://bucket/o.index --column words")
    assert code == 2 and "s3://bucket/o.index: this is an address" in error, error
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize("weights", [None, 5, {"space.x": 5}])
def test_a_checkpoint_without_weights_is_damaged(weights, ask, tmp_path):
    content = torch.load("m.ckpt", weights_only=True)
    torch.save({**content, "state_dict": weights}, "broken.ckpt")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    code, error = ask("embed broken.ckpt t.jsonl o.parquet")
    assert code == 5 and "broken.ckpt: it holds no weights. Fix: " in error, error


def test_an_export_to_a_full_disk_names_the_folder_and_leaves_nothing(ask, tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    before = sorted(tmp_path.iterdir())
    code, error = ask("export m.ckpt out")
    assert code == 6 and " out: no space is left on the disk" in error, error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("end", ["-journal", "-wal"])
def test_a_pipe_in_the_place_of_a_log_does_not_block_an_index(end, ask, tmp_path):
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    assert ask("index m.ckpt t.jsonl s.index")[0] == 0
    (tmp_path / f"s.index{end}").unlink(missing_ok=True)
    os.mkfifo(tmp_path / f"s.index{end}")
    code, error = ask("similar s.index a1")
    assert code == 2 and f"s.index{end}: this is a named pipe, not a file" in error, error
