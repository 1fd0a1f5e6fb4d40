"""Experiment: the number of dimensions: python recipes/movies/experiments/dimensions.py TABLE OUT.

TABLE is the table of likes of `prepare.py`. A single run with nested dimensions gives a whole curve; runs with one
number of dimensions each show the gap between training and dev rows, and the time. OUT has a folder for each run, so
that a second call continues where the first stopped, and gets `dimensions.png`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from time import process_time
from typing import Any

from jointembed import files, recipe_tools
from jointembed.analyze.figure import plotting, save
from jointembed.cli.console import check_plot
from jointembed.errors import UsageError

RECIPE = Path(__file__).parents[1] / "likes.yaml"
ALONE = (4, 15, 26, 35, 128, 512)  # dimensions of the single runs
METRIC = "recall@10"
USERS = 8  # take every eighth training row: one for each user


def fit(run: Path, folder: str, words: list[str]) -> tuple[Any, float]:
    """The model of a new run, and its processor time in seconds."""
    from jointembed import JointEmbedding
    from jointembed.__main__ import run as command

    if run.exists():
        shutil.rmtree(run)  # an interrupted run has no valid time
    start = process_time()
    where = ["--data.table", folder, "--trainer.default_root_dir", str(run)]
    command(["fit", "-c", str(RECIPE), *where, "--trainer.enable_model_summary", "false", *words])
    return JointEmbedding.load(run), process_time() - start


def evaluate_prefixes(space: Any, rows: list[dict[str, Any]], dims: list[int]) -> list[dict[str, Any]]:
    """The metric on training rows and on dev rows, for prefixes of the vectors."""
    from jointembed.evaluation.retrieval import evaluate
    from jointembed.evaluation.retrieval_task import build_task

    train = [row for row in rows if row["split"] == "train"][::USERS]
    metrics: list[dict[str, Any]] = [{"dim": dim} for dim in dims]
    for split in ("train", "dev"):
        queries_of_split = train if split == "train" else [row for row in rows if row["split"] == split]
        listed = [*queries_of_split, *(row for row in rows if row["split"] == "films")]
        task = build_task(
            listed, "history", "film", split=split, candidate_split="films", exclude="history", list_columns=["history"]
        )
        queries, films = space.embed("history", task.queries), space.embed("film", task.candidates)
        for entry in metrics:
            cut = queries[:, : entry["dim"]], films[:, : entry["dim"]]
            entry[split] = evaluate(task, *cut, space.metric, (10,))[METRIC]
    return metrics


def results(folder: str, out: Path, words: list[str]) -> list[dict[str, Any]]:
    """The metrics of every run; finished runs are read and not repeated."""
    from jointembed.data.rows import Rows

    rows, entries = Rows.open(folder).dicts(), []
    for alone in (None, *ALONE):
        run = out / ("nested" if alone is None else f"alone-{alone}")
        finished = run / "finished.json"
        if not finished.is_file():
            size = [] if alone is None else ["--model.dim", str(alone), "--model.matryoshka_dims", "[]"]
            model, seconds = fit(run, folder, [*size, *words])
            metrics = evaluate_prefixes(model.space, rows, sorted({*model.matryoshka_dims, model.space.dim}))
            files.write(
                finished, json.dumps([{**entry, "nested": alone is None, "seconds": seconds} for entry in metrics])
            )
        entries += json.loads(finished.read_text())
    return entries


def format_table(metrics: list[dict[str, Any]]) -> str:
    """The table that is printed."""
    lines = [f"{'dimensions':<16}{'train':>8}{'dev':>8}  {'95 % interval':<17}{'seconds':>8}"]
    for entry in metrics:
        dev, kind = entry["dev"], " of one run" if entry["nested"] else " alone"
        between = "" if dev["low"] is None else f"{dev['low']:.4f} - {dev['high']:.4f}"
        lines.append(f"{str(entry['dim']) + kind:<16}{entry['train']['value']:>8.4f}{dev['value']:>8.4f}  {between:<17}"
                     f"{entry['seconds']:>8.0f}")  # fmt: skip
    return "\n".join([f"{METRIC}, films liked already left out; chance {metrics[0]['dev']['chance']:.4f}", *lines])


def draw(metrics: list[dict[str, Any]], path: Path) -> None:
    """The curves as a PNG: metric and seconds against dimensions."""
    nested, alone = ([entry for entry in metrics if entry["nested"] is kind] for kind in (True, False))
    with plotting(11, 4.5) as (figure, theme):
        from matplotlib.ticker import FixedLocator, NullLocator

        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for listed, color, name in (
            (nested, theme.colors[0], "prefixes of one run"),
            (alone, theme.colors[3], "trained alone"),
        ):
            dims = [entry["dim"] for entry in listed]
            if listed[0]["dev"]["low"] is not None:
                ends = ([entry["dev"][end] for entry in listed] for end in ("low", "high"))
                left.fill_between(dims, *ends, color=color, alpha=0.15, linewidth=0)
            for split, line, face in (("dev", "o-", color), ("train", "o:", theme.background)):
                values = [entry[split]["value"] for entry in listed]
                left.plot(dims, values, line, color=color, markerfacecolor=face, label=f"{name}: {split} rows")
            right.plot(dims, [entry["seconds"] for entry in listed], "o-", color=color, label=name)
        for axes, name, title in (
            (left, METRIC, "What dimensions give (bands: 95 % interval of the dev rows)"),
            (right, "processor time of a run (seconds)", "What they cost"),
        ):
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(FixedLocator([4, 8, 16, 32, 64, 128, 256, 512]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.set_ylim(0, None)
            axes.set(xlabel="dimensions", ylabel=name)
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
            axes.grid(linewidth=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=9)
        save(figure, path)


def main() -> None:
    if len(sys.argv) < 3:
        raise UsageError(sys.argv[0], "a table and a folder are needed", "run prepare.py on ml-latest-small first")
    where, out, words = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    check_plot(str(out / "dimensions.png"))
    metrics = results(where, out, words)
    print(format_table(metrics))
    draw(metrics, out / "dimensions.png")
    print(f"{out / 'dimensions.png'}: the curves")


if __name__ == "__main__":
    recipe_tools.run_script(main)
