"""Commands that only read work on an index in a folder that cannot be written, as a share is often mounted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from web_server import filled

from jointembed.index.index import Index

SCRIPT = """
import os, subprocess, sys
folder, out = sys.argv[1:]
subprocess.run(["mount", "--bind", folder, folder], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
os.chdir(folder)
from jointembed.__main__ import main
from web_server import ask, get_json, serving

for words in (
    ["similar", "s.index", "s1"], ["path", "s.index", "s1", "s2"], ["search", "s.index", "waltz", "--mode", "text"],
    ["verify", "s.index"], ["skips", "s.index"], ["cluster", "s.index", "--dry-run"],
    ["neighbors", "s.index", out + "/n.parquet"], ["page", "s.index", out + "/p.html"],
    ["cluster", "s.index"], ["prune", "s.index"],
):
    print("code", words[0], main(words), flush=True)
with serving("s.index", precompute=True) as port:
    print("hits", len(get_json(port, "/api/similar?id=s1")["hits"]), len(ask(port, "/api/layout")[2]))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "share").mkdir()
    filled(tmp_path / "share" / "s.index", 40)
    return tmp_path / "share"


def run_script(folder, out):
    """What the script prints, in a name space of mounts of its own."""
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", SCRIPT, str(folder), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(support), *sys.path])},
    )
    return done.stdout.splitlines(), done.stderr


def can_mount(folder):
    try:
        done = subprocess.run(["unshare", "-m", "mount", "--bind", folder, folder], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


@pytest.mark.slow
def test_read_only_mount_serves_all_that_reads(folder, tmp_path):
    if not can_mount(folder):
        pytest.skip("nothing may be mounted here")
    lines, errors = run_script(folder, tmp_path)
    codes = [line.split()[1:] for line in lines if line.startswith("code ")]
    assert [code for _, code in codes] == ["0"] * 8 + ["2"] * 2, errors
    assert "Traceback" not in errors and "cluster" in codes[-2] and "prune" in codes[-1]
    assert "the index is read-only" in errors and "an index cannot be written here (Read-only file system)" in errors
    assert "hits 10 480" in lines
    assert os.listdir(folder) == ["s.index"]


def test_log_beside_an_index_that_cannot_be_written_is_named(folder, tmp_path):
    """What a writer that was killed leaves: SQLite reads it only where it may write beside it."""
    if not can_mount(folder):
        pytest.skip("nothing may be mounted here")
    code = (
        "import os, sys, numpy as np\nfrom jointembed.index.index import Index\nindex = Index.open(sys.argv[1])\n"
        "index.add([{'id': 'new'}], index.vectors()[1][:1].copy(), 'audio')\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "s.index")], check=True)
    (folder / "s.index-shm").unlink()
    _, errors = run_script(folder, tmp_path)
    assert "its last changes are in a log, which is read only in a folder that may be written" in errors
    with Index.open(folder / "s.index") as index:
        assert len(index) == 41
