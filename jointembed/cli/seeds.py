"""Several trainings of a recipe that differ by their seeds, each with the card of its evaluation: `fit --seeds N`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError, name_subject
from ..evaluation.protocol import SEED_KEYS

CARD, SETTINGS = "card.json", "seeds.yaml"
OWN_OPTIONS = "--seeds", "--evaluate"
SET_OPTIONS = "--resume", "--ckpt_path", *(f"--{key}" for key in SEED_KEYS)  # by each training of its own


def take_options(words: Sequence[str]) -> tuple[list[str], int, str | None]:
    """The words without `--seeds` and `--evaluate`, the number of seeds (0 if not given), and the evaluation's options.

    Raises:
        UsageError: a value is missing or wrong, or an option cannot be used with them.
    """
    rest: list[str] = []
    values: dict[str, str] = {}
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        if option in OWN_OPTIONS:
            values[option] = value if equals else next(remaining, "")
        else:
            rest.append(word)
    if "--seeds" not in values:
        if "--evaluate" in values:
            raise UsageError("--evaluate", "it needs --seeds", "write --seeds 3, or use jointembed evaluate")
        return rest, 0, None
    seeds = values["--seeds"]
    if not seeds.isdecimal() or int(seeds) < 1:
        raise UsageError("--seeds", f"must be a whole number from 1 on, got {seeds!r}", "write --seeds 3")
    for word in rest:
        if word.partition("=")[0] in SET_OPTIONS:
            wrong = "it cannot be used with --seeds, which resumes and sets the seeds by itself"
            raise UsageError(word.partition("=")[0], wrong, "leave it out")
    return rest, int(seeds), values.get("--evaluate")


def fit_seeds(recipe: Any, words: Sequence[str], seeds: int, evaluation: str | None = None) -> None:
    """Train with each seed into RUN/seed-N, write RUN/seed-N/card.json, and print a table of the metrics.

    Each command is printed before it runs in a process of its own. A run that was stopped goes on when the same command
    is given again.

    Args:
        recipe: the LightningCLI of these options, untrained.
        words: the options of `jointembed fit`.
        seeds: the number of trainings; the seeds count from 0.
        evaluation: the options of `jointembed evaluate`; by default what the recipe evaluates or trains for.

    Raises:
        UsageError: an option is wrong, nothing can be evaluated, or the folder holds trainings with other settings.
    """
    from .processes import run_command

    folder, table = Path(recipe.trainer.default_root_dir), recipe.datamodule.table
    options = evaluation_options(recipe, evaluation)
    _claim_folder(folder, recipe.parser.dump(recipe.config))
    del recipe
    for seed in range(seeds):
        run = folder / f"seed-{seed}"
        own = [word for key in SEED_KEYS for word in (f"--{key}", str(seed))]
        own += ["--trainer.default_root_dir", str(run)]
        run_command(["fit", *words, *own, "--resume", "auto"])
        run_command(["evaluate", str(run), table, *options, "--card", str(run / CARD)])
    _print_metrics(seed_cards(folder)[:seeds])
    print(f"\ncompare with another run: jointembed compare {shlex.quote(str(folder))} OTHER")


def evaluation_options(recipe: Any, evaluation: str | None) -> list[str]:
    """The options of `jointembed evaluate` for the trainings of a recipe.

    Raises:
        UsageError: an option is wrong, or nothing can be evaluated.
    """
    from . import parser
    from .processes import split_words
    from .run_report import evaluate_options, trust_options

    data = recipe.datamodule
    if evaluation is None:
        options = evaluate_options(recipe.model, data, recipe.trainer.callbacks)
        if not options:
            wrong = "the recipe does not say what to evaluate, or the table has no test or dev rows"
            raise UsageError("--seeds", wrong, 'add --evaluate "--query COLUMN --target COLUMN --split SPLIT"')
        return options
    options = [*split_words("--evaluate", evaluation), *trust_options(recipe.model)]
    if "--card" in [word.partition("=")[0] for word in options]:
        raise UsageError("--evaluate", f"--card is set by --seeds: RUN/seed-N/{CARD}", "leave it out")
    with name_subject("--evaluate"):
        parser.parse("evaluate", parser.load("evaluate"), [recipe.trainer.default_root_dir, data.table, *options])
    return options


def _claim_folder(folder: Path, settings: str) -> None:
    """Write the settings of all trainings into their folder, or check that they are the same as before.

    A finished training would be resumed with other settings without a word, and its old figures taken for new ones.

    Raises:
        UsageError: they are not.
    """
    from .. import files

    path = folder / SETTINGS
    if path.is_file() and path.read_text("utf-8") != settings:
        wrong = f"it holds trainings with other settings ({SETTINGS})"
        raise UsageError(folder, wrong, "give another --trainer.default_root_dir, or remove it")
    files.make_dir(folder)
    files.write(path, settings)


def seed_cards(folder: Path) -> list[Path]:
    """The cards of a folder that `fit --seeds` wrote, by their seeds.

    Raises:
        UsageError: it holds none.
    """
    cards = [path for path in folder.glob(f"seed-*/{CARD}") if path.parent.name[5:].isdecimal()]
    if not cards:
        wrong = f"the folder holds no seed-N/{CARD}"
        raise UsageError(folder, wrong, "give a card, or the folder of a run that `jointembed fit --seeds 3` wrote")
    return sorted(cards, key=lambda path: int(path.parent.name[5:]))


def _print_metrics(cards: Sequence[Path]) -> None:
    """Print the least, the median and the greatest value of each metric."""
    from statistics import median

    from ..evaluation.card import Card
    from .console import format_number, print_table

    metrics = [Card.read(path).facts["metrics"] for path in cards]
    rows = []
    for name in metrics[0]:
        values = [facts[name]["value"] for facts in metrics if facts[name]["value"] is not None]
        ends = [format_number(part(values)) for part in (min, median, max)] if values else ["", "", ""]
        rows.append([name, *ends, format_number(metrics[0][name]["chance"])])
    print(f"\n{len(cards)} seed{'s' * (len(cards) > 1)}\n")
    print_table(["metric", "min", "median", "max", "chance"], rows, right={"min", "median", "max", "chance"})
