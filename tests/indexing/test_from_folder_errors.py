"""What goes wrong with the index of a folder is one line with its fix; and odd names do no harm to a terminal."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from jointembed import ConvNet, Index, LogMel, Space
from jointembed.__main__ import main
from jointembed.cli.progress import FolderProgress

RATE = 8000
ODD = os.fsdecode(b"caf\xe9 \x1b[31m.wav")  # Latin-1, and a command to the terminal


def save(path, seed):
    torch.manual_seed(seed)
    reader = LogMel(sample_rate=RATE, seconds=1.0, n_mels=16, n_fft=256, hop_length=80)
    reader.fit([np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)])
    space = Space(8, {"audio": ConvNet(reader, [8, 16], 16)})
    space.build()
    path.parent.mkdir(exist_ok=True)
    space.save(path)


def noise(path, seed):
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 2 * RATE).astype(np.float32), RATE)


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number, name in enumerate(["plain.wav", "other.flac", ODD]):
        with open(folder / name, "wb") as file:
            data = np.random.default_rng(number).normal(0, 0.1, 2 * RATE).astype(np.float32)
            soundfile.write(file, data, RATE, format="FLAC" if "flac" in name else "WAV")
    (folder / os.fsdecode(b"b\xe9\x1b[2J.mp3")).write_bytes(b"no sound")
    return folder


@pytest.fixture
def home(tmp_path, music, capsys):
    """A model, a folder and its index."""
    model, index = tmp_path / "run" / "best.ckpt", tmp_path / "songs.index"
    save(model, 0)
    assert run("index", model.parent, music, index) == 0
    capsys.readouterr()
    return model, music, index


def run(*words):
    return main([str(word) for word in words])


def refused(capsys, code, *words):
    """The one line that a command is refused with."""
    assert run(*words) == code
    printed = capsys.readouterr()
    line = printed.err.strip()
    assert not printed.out and "\n" not in line and "Fix:" in line and "Traceback" not in line
    return line


def test_names_of_any_bytes_are_written_out(home, capsys):
    _, music, index = home
    assert run("similar", index, "plain.wav") == 0
    assert "caf\\xe9 \\x1b[31m.wav" in capsys.readouterr().out
    assert run("similar", index, "plain.wav", "--json") == 0
    hits = json.loads(capsys.readouterr().out.encode("utf-8"))  # strict: no lone surrogate reaches the pipe
    assert {hit["id"] for hit in hits} == {"other.flac", "caf\\xe9 \x1b[31m.wav"}
    assert run("similar", index, ODD, "-k1") == 0  # as the shell gives it
    assert run("skips", index) == 0
    printed = capsys.readouterr().out
    assert "no-audio: b\\xe9\\x1b[2J.mp3" in printed and "\x1b" not in printed
    (music / ODD).unlink()
    noise(music / "new.wav", 9)
    assert run("index", home[0], music, index) == 0 and run("prune", index) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_skips_are_readable_in_a_narrow_terminal(home, monkeypatch, capsys):
    for name, value in {"COLUMNS": "80", "TTY_COMPATIBLE": "1", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert run("skips", home[2]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines) and any(line.startswith("  Fix: replace") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_progress_bar_does_not_wrap(width, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    progress = FolderProgress()
    with contextlib.closing(progress):
        progress.start(123_456)
        for number in range(40):
            progress.decoded(200.0, number % 2 == 0)
        progress.committed(100_000)
    lines = [strip_colors(line) for line in terminal.getvalue().replace("\r", "\n").split("\n") if "Indexing" in line]
    assert lines and "…" not in "".join(lines) and all(len(line) <= width for line in lines)
    assert "100,000/123,456" in lines[-1] and "20 skipped" in lines[-1]
    assert ("x real time" in lines[-1]) == (width == 120)


def strip_colors(line):
    """A line without its colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)


def test_missing_folders_and_wrong_files_are_refused(home, tmp_path, capsys):
    model, music, index = home
    (tmp_path / "empty").mkdir()
    new = tmp_path / "new.index"
    assert "no sound files" in refused(capsys, 2, "index", model, tmp_path / "empty", new) and not new.exists()
    assert "this table or folder does not exist" in refused(capsys, 2, "index", model, tmp_path / "gone", new)
    assert "a folder, not an index" in refused(capsys, 2, "index", model, music, tmp_path)
    (tmp_path / "file").write_text("")
    assert "cannot be written here" in refused(capsys, 2, "index", model, music, tmp_path / "file" / "new.index")
    assert "a folder, not an index" in refused(capsys, 2, "similar", music, "plain.wav")
    assert "must be a whole number, got 'x'" in refused(capsys, 2, "index", model, music, new, "--max-windows", "x")
    assert "did you mean --max-windows?" in refused(capsys, 2, "index", model, music, new, "--max-windos", "2")
    assert "it holds no sound files" in refused(capsys, 2, "index", model, tmp_path / "empty", index)
    assert run("search", index, "slow waltz") == 0
    assert "the model has no text column" in (note := capsys.readouterr().err) and "no item contains the words" in note
    assert run("index", model, music, new, "--max-windows=2") == 0


def test_missing_moved_or_changed_model_is_reported(home, tmp_path, capsys):
    model, music, index = home
    moved = tmp_path / "elsewhere" / "best.ckpt"
    moved.parent.mkdir()
    model.rename(moved)
    noise(tmp_path / "file.wav", 9)  # the bytes of an indexed file would need no model either
    assert run("similar", index, "plain.wav", "-k1") == 0  # needs no model
    capsys.readouterr()
    line = refused(capsys, 2, "similar", index, tmp_path / "file.wav")
    assert "is missing" in line and f"jointembed index MODEL SOURCE {index}" in line
    assert run("index", moved.parent, music, index) == 0  # it says where the model lies now
    with Index.open(index) as opened:
        assert opened.field_info().model == str(moved.parent)
    assert run("similar", index, tmp_path / "file.wav", "-k1") == 0
    capsys.readouterr()
    time.sleep(0.01)
    save(moved, 1)  # trained again in the same folder
    for words in (("index", moved, music, index), ("similar", index, tmp_path / "file.wav")):
        assert f"Fix: delete it, then run: jointembed index MODEL SOURCE {index}" in refused(capsys, 4, *words)
    index.unlink()
    assert run("index", moved, music, index) == 0  # the fix mends it


@pytest.mark.parametrize(("signum", "code", "says"), [(signal.SIGINT, 130, "stopped"), (signal.SIGTERM, -15, "")])
def test_interrupted_run_prints_one_line_and_is_resumed(signum, code, says, home, tmp_path, capsys):
    model, music, _ = home
    index = tmp_path / "stopped.index"
    waiting = (  # the first commit waits for the signal
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from jointembed.__main__ import main\n"
        "from jointembed.indexing.index_encoder import IndexEncoder\n"
        "IndexEncoder.embed_stream = lambda *args: [print('embedding', flush=True), time.sleep(60)]\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", waiting, "index", str(model), str(music), str(index)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "embedding"
        assert "another process" in refused(capsys, 2, "index", model, music, index)
        process.send_signal(signum)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in err and says in err and len(err.splitlines()) <= 1
    assert run("index", model, music, index) == 0
    assert "3 indexed + 0 unchanged + 1 skipped" in capsys.readouterr().out


def test_the_rows_of_a_table_do_not_enter_the_index_of_a_folder(home, tmp_path, capsys):
    model, music, index = home
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "a", "audio": str(music / "plain.wav")}))
    line = refused(capsys, 2, "index", model, tmp_path / "rows.jsonl", index)
    assert f"{index}: this index was made from a folder" in line
