"""Experiment: what each objective of a recipe learns alone, and what all of them learn together.

    python recipes/songs/experiments/mixed_objectives.py songs/joint TABLE RUNS --seeds 4 --split valid
        --metric map hit@1 --objective audio_genre audio_caption audio_piano_roll
        --task audio:audio:genre audio:genre audio:piano_roll caption:audio -- --trainer.max_epochs 40

The space is trained for each of the objectives alone, and for all of them

- fixed: each with a weight of 1;
- uncertainty: with learned weights (Kendall, Gal and Cipolla 2018);
- first fades: the weight of the first falls from 1 to 0;
- first grows: it rises from 0 to 1;
- recipe: the whole recipe as it is, with its other objectives.

Each is trained with several seeds and evaluated on each task, QUERY:TARGET or QUERY:TARGET:RELEVANT, of `jointembed
evaluate`. A table lists, for each task, the least, the median and the greatest value of the seeds, and the difference
to `fixed` with its paired 95 % interval and its p-value (Holm). Runs and cards that are there are used again, so that
the experiment can be stopped. Whatever follows `--` is passed to `jointembed fit`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from jointembed import recipe_tools
from jointembed.cli.evaluate import evaluate
from jointembed.cli.recipes import resolve
from jointembed.errors import UsageError, UserError, did_you_mean
from jointembed.evaluation.card import Card
from jointembed.evaluation.comparison import Model, compare
from jointembed.training.joint_embedding import JointEmbedding

Recipe = dict[str, Any]
REFERENCE = "fixed"


def objective_name(objective: Recipe) -> str:
    """The name under which a loss of QUERY and TARGET is logged."""
    arguments = objective["init_args"]
    return f"{arguments['query']}_{arguments['target']}"


def make_mixtures(recipe: Recipe, names: list[str]) -> dict[str, Recipe]:
    """A recipe for each mixture of the objectives with these names.

    Raises:
        UsageError: the recipe has no such objective.
    """
    objectives = {objective_name(objective): objective for objective in recipe["model"]["objectives"]}
    for name in names:
        if name not in objectives:
            raise UsageError(name, "the recipe has no such objective", did_you_mean(name, objectives))

    def mix(parts: list[str], **settings: Any) -> Recipe:
        listed = [{**objectives[part], "init_args": {**objectives[part]["init_args"], "weight": 1.0}} for part in parts]
        return {**recipe, "model": {**recipe["model"], "objectives": listed, **settings}}

    def schedule(start: float, end: float) -> Recipe:
        mixed = mix(names)
        weights = {"class_path": "jointembed.ObjectiveWeights", "init_args": {"weights": {names[0]: [start, end]}}}
        return {**mixed, "trainer": {**mixed["trainer"], "callbacks": [weights]}}

    return {
        **{f"{name} alone": mix([name]) for name in names},
        REFERENCE: mix(names),
        "uncertainty": mix(names, uncertainty_weights=True),
        "first fades": schedule(1.0, 0.0),
        "first grows": schedule(0.0, 1.0),
        "recipe": recipe,
    }


def train(recipe: Recipe, table: str, run: Path, seed: int, options: list[str]) -> None:
    """Train with `jointembed fit`, unless the run is complete."""
    complete = run / "complete"
    if complete.exists():
        return
    run.mkdir(parents=True, exist_ok=True)
    recipe = {**recipe, "trainer": {**recipe["trainer"], "default_root_dir": str(run)}}
    recipe["trainer"]["callbacks"] = [  # only the last epoch is evaluated
        callback for callback in recipe["trainer"].get("callbacks", []) if "ObjectiveWeights" in callback["class_path"]
    ]
    path = run.with_suffix(".yaml")
    path.write_text(f"# {run.name}, seed {seed}.\n{yaml.safe_dump(recipe, sort_keys=False)}", "utf-8")
    command = [sys.executable, "-m", "jointembed", "fit", "-c", str(path), "--data.table", table]
    command += ["--seed_everything", str(seed), "--data.seed", str(seed), *options]
    with open(run.with_suffix(".log"), "w", encoding="utf-8") as log:
        if subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT).returncode:
            raise UserError(log.name, "the training ended with an error", "read the last lines of this file")
    complete.touch()


def measure(run: Path, table: str, task: str, split: str) -> Card | None:
    """The card of a run on a task; None if its space lacks a column of the task."""
    query, target, relevant = [*task.split(":"), None][:3]
    assert query is not None and target is not None
    path = run / f"{task.replace(':', '-')}.json"
    if not path.exists():
        space = JointEmbedding.load(str(run)).space
        if not {query, target} <= {*space.columns, *space.fusions}:
            return None
        with contextlib.redirect_stdout(io.StringIO()):
            evaluate(str(run), table, query=query, target=target, relevant=relevant, split=split, card=str(path))
    return Card.read(path)


def print_comparison(task: str, metric: str, models: list[Model]) -> None:
    """A row for each mixture, the best first."""
    report = compare(models, [metric])
    measured = report["metrics"][metric]
    differences = {difference["second"]: difference for difference in measured["differences"]}
    print(f"\n{task}, {metric}, {report['queries']} queries, chance {measured['models'][REFERENCE]['chance']:.3f}\n")
    print(f"| objectives | min - median - max | difference to {REFERENCE} | p |\n|---|---|---|---|")
    for label, model in sorted(measured["models"].items(), key=lambda item: -median(item[1]["seeds"])):
        seeds = model["seeds"]
        spread = " - ".join(f"{value:.3f}" for value in (min(seeds), median(seeds), max(seeds)))
        cells = ["", ""]
        if label in differences:
            difference = differences[label]
            cells[0] = f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"
            cells[1] = f"{difference['p_holm']:.3f}"
        print(f"| {label} | {spread} | {cells[0]} | {cells[1]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe, such as songs/joint")
    parser.add_argument("table", metavar="TABLE", help="the folder that prepare.py wrote")
    parser.add_argument("runs", type=Path, metavar="RUNS", help="the folder that runs and cards are written into")
    parser.add_argument("--objective", nargs="+", required=True, help="the names of objectives, QUERY_TARGET")
    parser.add_argument("--task", nargs="+", required=True, help="QUERY:TARGET or QUERY:TARGET:RELEVANT")
    parser.add_argument("--metric", nargs="+", default=["map"], help="that are compared (map)")
    parser.add_argument("--split", default="test", help="the rows that are evaluated (test)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each mixture (5)")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    recipe = yaml.safe_load(resolve(options.recipe).read_text("utf-8"))
    mixtures = make_mixtures(recipe, options.objective)
    for seed in range(options.seeds):
        for name, mixture in mixtures.items():
            train(
                mixture, options.table, options.runs / name.replace(" ", "-") / f"seed-{seed}", seed, words[end + 1 :]
            )
    for task in options.task:
        models = []
        for name in sorted(mixtures, key=lambda name: name != REFERENCE):  # the reference of all differences is first
            runs = [options.runs / name.replace(" ", "-") / f"seed-{seed}" for seed in range(options.seeds)]
            cards = [card for run in runs if (card := measure(run, options.table, task, options.split)) is not None]
            if cards:
                models.append(Model(name, cards))
        for metric in options.metric:
            print_comparison(task, metric, models)


if __name__ == "__main__":
    recipe_tools.run_script(main)
