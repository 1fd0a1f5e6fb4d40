"""Training on a Parquet table of millions of rows: how soon it starts, how much memory it takes, and how fast it goes.

Each row has an id, a user, an item, and a list of 20 items. Every figure is that of `jointembed fit` in a process of
its own: the time from the start of the process to the end of its first step, and the processor time of it, at the first
start, which encodes the table, and at the second, which finds it encoded; the peak of the resident memory of the
process and its children, in which mapped files count; and the median time of a step, large and small tables in turn.

Run: python tests/benchmarks/bench_tables.py [--rows 5000000] [--small 50000] [--text] [--rounds 3] [--folder FOLDER]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """
model:
  dim: 64
  encoders:
    user: {class_path: EmbeddingBag, init_args: {reader: Category}}
    item: {class_path: EmbeddingBag, init_args: {reader: Category}}
  columns: {user: user, item: item, history: item}
  objectives:
    - {class_path: Match, init_args: {query: user, target: item, candidates: 256}}
    - {class_path: Match, init_args: {query: history, target: item, candidates: 256}}
data: {batch_size: 512}
"""
ROWS_IN_GROUP = 250_000


def write_table(path, rows, text):
    """Popularity falls as 1 / (rank + 100); there are 200,000 items and 500,000 users, whatever the number of rows."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)

    def draw(count, size):
        ranks = 100 * ((1 + size / 100) ** rng.random(count) - 1)
        return pa.array(np.minimum(ranks.astype(np.int64), size - 1) * 7919 % size)

    def name(numbers, letter):
        return pa.compute.binary_join_element_wise(letter, numbers.cast(pa.string()), "") if text else numbers

    import pyarrow.compute  # noqa: F401

    writer = None
    for start in range(0, rows, ROWS_IN_GROUP):
        count = min(ROWS_IN_GROUP, rows - start)
        history = pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32) * 20), name(draw(20 * count, 200_000), "item")
        )
        columns = {
            "id": pa.array(np.arange(start, start + count)).cast(pa.string()),
            "user": name(draw(count, 500_000), "user"),
            "item": name(draw(count, 200_000), "item"),
            "history": history,
        }
        table = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def train(table, folder, steps, started):
    """Run `fit` in this process, and print its figures as JSON."""
    import lightning

    class Clock(lightning.Callback):
        def __init__(self):
            self.times, self.cpu = [], 0

        def on_train_batch_end(self, *_):
            self.times.append(time.time())
            self.cpu = self.cpu or sum(os.times()[:4])

    from jointembed.cli.fit import run_lightning

    clock = Clock()
    words = ["-c", str(folder / "recipe.yaml"), "--data.table", str(table), "--trainer.max_steps", str(steps)]
    words += ["--trainer.max_epochs=-1", "--trainer.default_root_dir", tempfile.mkdtemp(dir=folder)]
    words += ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    run_lightning("fit", words, [clock])
    status = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("VmHWM", "Rss"))}
    steady = [after - before for before, after in zip(clock.times[20:], clock.times[21:], strict=False)]
    figures = {
        "first_step": clock.times[0] - started,
        "cpu": clock.cpu,
        "step": statistics.median(steady) if steady else None,
    }
    print(json.dumps({**figures, "peak": sizes["VmHWM"] / 2**20, "anonymous": sizes["RssAnon"] / 2**20}))


def peak_of_children(process):
    """Poll the resident memory of a process and its children until it ends; return the largest sum in GiB."""
    peak = 0
    while process.poll() is None:
        total = 0
        pids = [process.pid]
        while pids:
            pid = pids.pop()
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
                for task in Path(f"/proc/{pid}/task").iterdir():
                    pids += map(int, (task / "children").read_text().split())
            except (OSError, ValueError):
                continue
        peak = max(peak, total)
        time.sleep(0.02)
    return peak / 2**20


def run(table, folder, steps):
    """The figures of one training in a process of its own."""
    words = [sys.executable, __file__, "--train", str(table), "--folder", str(folder), "--steps", str(steps)]
    process = subprocess.Popen([*words, "--started", str(time.time())], stdout=subprocess.PIPE, text=True)
    peak = peak_of_children(process)
    output = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"the training of {table} ended with {process.returncode}")
    figures = json.loads(output.splitlines()[-1])
    return {**figures, "peak": max(peak, figures["peak"])}


def compare(options, folder):
    (folder / "recipe.yaml").write_text(RECIPE)
    tables = {}
    for rows in (options.small, options.rows):
        tables[rows] = folder / f"{rows}" / "rows.parquet"
        if not tables[rows].exists():
            tables[rows].parent.mkdir()
            write_table(tables[rows], rows, options.text)
    headings = f"{'first step s':>14}{'of CPU s':>10}{'peak GiB':>10}{'anonymous GiB':>15}{'steps/s':>9}"
    print(f"{'rows':>10}{'start':>8}{headings}", flush=True)
    steps = {rows: [] for rows in tables}
    for number in range(1 + options.rounds):
        for rows, table in tables.items():
            figures = run(table, folder, options.steps)
            if number:
                steps[rows].append(figures["step"])
            cells = f"{figures['first_step']:>14.1f}{figures['cpu']:>10.1f}{figures['peak']:>10.2f}"
            rest = f"{figures['anonymous']:>15.2f}{1 / figures['step']:>9.1f}"
            print(f"{rows:>10}{number + 1:>8}{cells}{rest}", flush=True)
    ratio = statistics.median(
        small / large for small, large in zip(steps[options.small], steps[options.rows], strict=True)
    )
    print(f"steps/s of {options.rows:,} rows against {options.small:,}: {ratio:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--small", type=int, default=50_000)
    parser.add_argument("--text", action="store_true", help="ids are text, such as item123, and not numbers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keep the tables in this folder")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train, options.folder, options.steps, options.started)
    elif options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        compare(options, options.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(options, Path(folder))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
