"""The runner of the benchmarks lists them all, and its table and plot hold what they record."""

import json
import re
import subprocess
import sys
from pathlib import Path

import figures
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def run(*words):
    return subprocess.run([sys.executable, "-m", "tests.benchmarks", *words], cwd=ROOT, capture_output=True, text=True)


def test_it_lists_all_benchmarks_and_refuses_others():
    listed = run("--list").stdout
    for path in (ROOT / "tests/benchmarks").glob("bench_*.py"):
        assert re.search(rf"^{path.stem.removeprefix('bench_')} ", listed, re.MULTILINE), path
    unknown = run("serach")
    assert unknown.returncode == 2 and "no benchmark is called serach" in unknown.stderr


def test_the_readme_names_the_benchmark_of_its_speed():
    speed = README[README.index("## Speed and trust") :].partition("| promise |")[0]
    assert "`python -m tests.benchmarks`" in speed
    for script, options in re.findall(r"`python (tests/benchmarks/\w+\.py)` \(([^)]*)\)", speed):
        text = (ROOT / script).read_text("utf-8")
        assert all(option in text for option in re.findall(r"`(--\w+)", options))


def test_ratios_are_those_of_the_same_round(tmp_path, monkeypatch):
    monkeypatch.setenv(figures.FILE, str(tmp_path / "f.jsonl"))
    figures.record("search", [1.0, 2.0, 1.0], {"numpy": [4.0, 4.0, 3.0], "torch": [1.0, 1.0, 1.0]}, "ms")
    figures.record("alone", [1.0], {})
    read = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert figures.rows(read) == [
        ["search", "1 ms", "numpy", "4 ms", "3", "2 - 4"],
        ["search", "1 ms", "torch", "1 ms", "1", "0.5 - 1"],
        ["alone", "1 s", "", "", "", ""],
    ]
    figures.draw(tmp_path / "f.png", read, "a machine")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_run_prints_the_peers_the_machine_and_the_versions(tmp_path):
    pytest.importorskip("faiss")
    result = run("search --rows 3000 --rounds 2", "--png", str(tmp_path / "b.png"))
    assert result.returncode == 0, result.stderr
    assert re.search(r"one query, 3,000 x 128 .* ms  numpy .* ms ", result.stdout)
    assert "cores" in result.stdout and "numpy" in result.stdout and (tmp_path / "b.png").stat().st_size
