"""How many dimensions: python recipes/movies/dimensions.py TABLE OUT, with the table of likes of `prepare.py`.

One run with nested dimensions gives a whole curve; runs of one number of dimensions each say what it hides: how far the
rows to train on run away from the dev rows, and what a dimension costs in time. OUT keeps a folder a run, so that a
second call goes on where the first was stopped, and ends with `dimensions.png`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from time import process_time
from typing import Any

from jointembed import files, recipe_tools
from jointembed.errors import UsageError

RECIPE = Path(__file__).parent / "likes.yaml"
ALONE = (4, 15, 26, 35, 128, 512)  # each trained by itself
FIGURE = "recall@10"
USERS = 8  # every eighth row to train on: one a user


def fitted(run: Path, table: str, words: list[str]) -> tuple[Any, float]:
    """The model of a fresh run, and the seconds of processor time that it took, whatever else the machine did."""
    from jointembed import JointEmbedding
    from jointembed.__main__ import run as command

    if run.exists():
        shutil.rmtree(run)  # it was stopped: what is left of it has no time of its own
    begun = process_time()
    where = ["--data.table", table, "--trainer.default_root_dir", str(run)]
    command(["fit", "-c", str(RECIPE), *where, "--trainer.enable_model_summary", "false", *words])
    return JointEmbedding.load(run), process_time() - begun


def measured(space: Any, rows: list[dict[str, Any]], dims: list[int]) -> list[dict[str, Any]]:
    """The figure on rows to train on and on dev rows, for prefixes of the vectors."""
    from jointembed.evaluation.retrieval import evaluate
    from jointembed.evaluation.retrieval_task import build_task

    train = [row for row in rows if row["split"] == "train"][::USERS]
    found: list[dict[str, Any]] = [{"dim": dim} for dim in dims]
    for split in ("train", "dev"):
        kept = train if split == "train" else [row for row in rows if row["split"] == split]
        listed = [*kept, *(row for row in rows if row["split"] == "films")]
        asked = build_task(
            listed, "history", "film", split=split, candidate_split="films", exclude="history", list_columns=["history"]
        )
        queries, films = space.embed("history", asked.queries), space.embed("film", asked.candidates)
        for one in found:
            cut = queries[:, : one["dim"]], films[:, : one["dim"]]
            one[split] = evaluate(asked, *cut, space.metric, (10,))[FIGURE]
    return found


def results(table: str, out: Path, words: list[str]) -> list[dict[str, Any]]:
    """What every run gives, of which those that are finished are read and not done again."""
    from jointembed.data.rows import Rows

    rows, made = Rows.open(table).dicts(), []
    for alone in (None, *ALONE):
        run = out / ("nested" if alone is None else f"alone-{alone}")
        finished = run / "finished.json"
        if not finished.is_file():
            size = [] if alone is None else ["--model.dim", str(alone), "--model.matryoshka_dims", "[]"]
            model, seconds = fitted(run, table, [*size, *words])
            found = measured(model.space, rows, sorted({*model.matryoshka_dims, model.space.dim}))
            files.write(finished, json.dumps([{**one, "nested": alone is None, "seconds": seconds} for one in found]))
        made += json.loads(finished.read_text())
    return made


def table(found: list[dict[str, Any]]) -> str:
    """What is printed."""
    lines = [f"{'dimensions':<16}{'train':>8}{'dev':>8}  {'95 % interval':<17}{'seconds':>8}"]
    for one in found:
        dev, kind = one["dev"], " of one run" if one["nested"] else " alone"
        between = "" if dev["low"] is None else f"{dev['low']:.4f} - {dev['high']:.4f}"
        lines.append(f"{str(one['dim']) + kind:<16}{one['train']['value']:>8.4f}{dev['value']:>8.4f}  {between:<17}"
                     f"{one['seconds']:>8.0f}")  # fmt: skip
    return "\n".join([f"{FIGURE}, films liked already left out; chance {found[0]['dev']['chance']:.4f}", *lines])


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """The curves as a PNG: the figure against the dimensions, and the seconds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    nested, alone = ([one for one in found if one["nested"] is kind] for kind in (True, False))
    figure = Figure(figsize=(11, 4.5), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for listed, colour, name in ((nested, "C0", "prefixes of one run"), (alone, "C1", "trained alone")):
        dims = [one["dim"] for one in listed]
        if listed[0]["dev"]["low"] is not None:
            ends = ([one["dev"][end] for one in listed] for end in ("low", "high"))
            left.fill_between(dims, *ends, color=colour, alpha=0.12, linewidth=0)
        left.plot(dims, [one["dev"]["value"] for one in listed], "o-", color=colour, label=f"{name}: dev rows")
        left.plot(dims, [one["train"]["value"] for one in listed], "o:", color=colour, markerfacecolor="white",
                  label=f"{name}: rows to train on")  # fmt: skip
        right.plot(dims, [one["seconds"] for one in listed], "o-", color=colour, label=name)
    for axes, name, title in (
        (left, FIGURE, "What dimensions give (bands: 95 % interval of the dev rows)"),
        (right, "processor time of a run (seconds)", "What they cost"),
    ):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([4, 8, 16, 32, 64, 128, 256, 512]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_ylim(0, None)
        axes.set(xlabel="dimensions", ylabel=name, title=title)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    files.write(path, lambda file: figure.savefig(file, format="png"))


def main() -> None:
    if len(sys.argv) < 3:
        raise UsageError(sys.argv[0], "a table and a folder are needed", "run prepare.py on ml-latest-small first")
    from jointembed.errors import missing_extra

    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("map", "matplotlib") from error
    where, out, words = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    found = results(where, out, words)
    print(table(found))
    draw(found, out / "dimensions.png")
    print(f"{out / 'dimensions.png'}: the curves")


if __name__ == "__main__":
    recipe_tools.run_script(main)
