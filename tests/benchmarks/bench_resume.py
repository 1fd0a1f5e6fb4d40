"""Random kills of tiny runs of four recipes: how many resumed runs end with other weights, metrics or states.

    python tests/benchmarks/bench_resume.py --kills 15 --recipes images songs films captions --workers 0 2

Each run is stopped at a random time of its training, again and again, until it ends before it is stopped. Every fourth
stop is by SIGTERM, SIGUSR1 or SIGINT to all of its processes, the others are by SIGKILL to its main process. Then all
of its last checkpoint, the weights of its best one and the bytes of its metrics.csv are compared with those of a run
without a break.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import lightning.pytorch.cli  # noqa: E402, F401  # imported once, and not by each run
from resumable_runs import differences, start, write_recipe, write_table  # noqa: E402

import jointembed.training.trainer  # noqa: E402, F401

GENTLE = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]


def train(words, folder, output, method, delay=None, number=None):
    """Train, and stop the run this many seconds after its first step; its exit code, and its seconds from there."""
    before = (folder / "metrics.csv").stat().st_mtime_ns if (folder / "metrics.csv").exists() else 0
    process = start(words, folder, start_method=method, output=output)
    while process.is_alive():
        if (folder / "metrics.csv").exists() and (folder / "metrics.csv").stat().st_mtime_ns != before:
            break
        time.sleep(0.002)
    begin = time.monotonic()
    process.join(delay)
    if process.is_alive():
        (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
    process.join()
    return process.exitcode, time.monotonic() - begin


def count_different(folder, recipe, workers, kills, method, rng):
    """The number of kills, of kills that left no checkpoint yet, of runs, and of runs that ended differently."""
    words = [*write_recipe(folder, recipe), "--data.workers", str(workers), "--trainer.max_epochs", "4"]
    words += ["--trainer.max_steps", "22"] if recipe == "captions" else []
    whole, parts, output = folder / f"{recipe} {workers}", folder / "parts", folder / "log"
    code, seconds = train(words, whole, output, method)
    assert code == 0, output.read_text()
    killed = early = runs = different = 0
    while killed < kills:
        shutil.rmtree(parts, ignore_errors=True)
        output.unlink(missing_ok=True)
        for attempt in range(1000):
            number = rng.choice(GENTLE) if attempt % 4 == 3 else signal.SIGKILL
            code, _ = train([*words, "--resume", "auto"], parts, output, method, rng.uniform(0, seconds), number)
            if code == 0:
                break
            assert code in (-number, 128 + number), output.read_text()
            killed += 1
            early += not (parts / "last.ckpt").exists()
        runs += 1
        wrong = differences(whole, parts)
        left = list(parts.glob(".*.part"))
        if wrong or left:
            different += 1
            print(recipe, workers, "differs in", wrong[:5], left, output.read_text()[-2000:], flush=True)
    return killed, early, runs, different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=15, help="at least, for each recipe and number of workers")
    parser.add_argument("--recipes", nargs="+", default=["images", "songs", "films", "captions"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--start-method", default="fork", choices=["fork", "spawn", "forkserver"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, total = random.Random(options.seed), [0, 0, 0, 0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder)
        for recipe in options.recipes:
            for workers in options.workers:
                counts = count_different(folder, recipe, workers, options.kills, options.start_method, rng)
                total = [sum(pair) for pair in zip(total, counts, strict=True)]
                print(f"{recipe}, {workers} workers: {describe(*counts)}", flush=True)
    print(f"all: {describe(*total)}")


def describe(killed, early, runs, different):
    return f"{killed} stops ({early} before the first checkpoint), {runs} runs, {different} of them different"


if __name__ == "__main__":
    main()
