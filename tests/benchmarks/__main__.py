"""Runs benchmarks, one after another, and prints and draws their figures beside those of the peers.

    python -m tests.benchmarks                        # the speed figures of README
    python -m tests.benchmarks --list                 # the benchmarks
    python -m tests.benchmarks bag search --quick     # some of them, in a short form
    python -m tests.benchmarks "music m.ckpt FOLDER"  # with the options of its own

Each benchmark prints its own table too. Ratios are times of a peer over ours in the same round: the median of the
rounds, and their range as spread.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from jointembed.cli.console import print_table
from jointembed.evaluation.card import machine, versions

from . import figures

FOLDER = Path(__file__).parent
README = ["search", "search --rows 1000000 --approximate", "search --rows 1000000 --batches"]
QUICK = {
    "search": ["search --rows 20000 --rounds 2"],
    "catalogue": ["catalogue --quick"],
    "adopt": ["adopt 1"],
    "grad_cache": ["grad_cache --rounds 1"],
}
PEERS = {"faiss-cpu": "faiss", "librosa": "librosa", "sentence-transformers": "sentence_transformers"}


def scripts():
    """The files of the benchmarks by their names, with the first sentence of each."""
    by_name = {}
    for path in sorted(FOLDER.glob("bench_*.py")):
        sentence = path.read_text("utf-8").split('"""')[1].split("\n\n")[0]
        by_name[path.stem.removeprefix("bench_")] = path, " ".join(sentence.split())
    return by_name


def main():
    """Run what the command line names; exits with 1 if a benchmark failed."""
    parser = argparse.ArgumentParser("tests.benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("benchmarks", nargs="*", help="names, each with options of its own in quotation marks")
    parser.add_argument("--list", action="store_true", help="print the benchmarks")
    parser.add_argument("--quick", action="store_true", help="a short form of those that have one")
    parser.add_argument("--png", default="benchmarks.png", help="the plot")
    options = parser.parse_args()
    benchmarks = scripts()
    if options.list:
        print_table(["benchmark", "what"], [[name, about] for name, (_, about) in benchmarks.items()])
        return
    lines = options.benchmarks or (["search"] if options.quick else README)
    if options.quick:
        lines = [short for line in lines for short in QUICK.get(line, [line])]
    unknown = [line for line in lines if line.split()[0] not in benchmarks]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; --list prints their names")
    failed = []
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "figures.jsonl"
        file.touch()
        for line in lines:
            name, *words = shlex.split(line)
            print(f"$ python tests/benchmarks/{benchmarks[name][0].name} {shlex.join(words)}", flush=True)
            command = [sys.executable, str(benchmarks[name][0]), *words]
            if subprocess.run(command, check=False, env=os.environ | {figures.FILE: str(file)}).returncode:
                failed.append(line)
            print(flush=True)
        measured = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    installed = {
        name: metadata.version(name) for name in PEERS if find_spec(name.replace("-", "_").replace("_cpu", ""))
    }
    facts, computer = versions() | installed, machine()
    note = f"{computer['processor']}, {computer['cores']} cores, {computer['system']}; "
    note += ", ".join(f"{name} {version}" for name, version in facts.items())
    table = figures.rows(measured)
    if table:
        print_table(["figure", "ours", "peer", "its time", "ratio", "spread"], table,
                    right={"ours", "its time", "ratio"})  # fmt: skip
        figures.draw(options.png, measured, note)
        print(f"\n{note}\n{options.png}: the ratios")
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
