"""What `fit` prints and draws at its end: the figures of the run, its curves, and the commands to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..analyze.curves import Curve

CURVES = "curves.png"


def report_run(trainer: Any, model: Any, data: Any) -> None:
    """Print the last and best metrics of a finished training, draw its curves, and name the next commands.

    Args:
        trainer: the trainer, whose folder has the metrics.csv of the whole run.
        model: the `JointEmbedding`.
        data: the `TableData`.
    """
    from lightning.pytorch.callbacks import EarlyStopping

    from ..analyze.curves import read_curves
    from ..training.callbacks.best_and_last import BestAndLast
    from ..training.loggers import PROFILE

    if not trainer.is_global_zero or trainer.fast_dev_run:
        return
    folder = Path(trainer.default_root_dir)
    curves = read_curves(folder / "metrics.csv") if trainer.loggers else {}
    if curves:
        monitor = next((saver.monitor for saver in trainer.callbacks if isinstance(saver, BestAndLast)), None)
        modes = {saver.monitor: saver.mode for saver in trainer.callbacks if isinstance(saver, BestAndLast)}
        best = _print_metrics(curves, trainer.callbacks, modes, monitor)
        for callback in trainer.callbacks:
            if isinstance(callback, EarlyStopping) and callback.stopped_epoch:
                print(f"stopped in epoch {callback.stopped_epoch}: {callback.monitor} did not improve any more")
        _draw(folder, curves, best)
    for profile in sorted(folder.glob(f"*-{PROFILE}.txt")):
        print(f"profile: {profile}")
    for number, command in enumerate(next_commands(model, data, trainer.callbacks, folder)):
        print(("      " if number else "next: ") + shlex.join(command))


def _print_metrics(
    curves: Mapping[str, Curve], callbacks: list[Any], modes: Mapping[str | None, str], monitor: str | None
) -> tuple[str, int] | None:
    """Print a table of metrics; return the label and the step of the best checkpoint, if a metric chooses it."""
    from ..analyze.curves import choose_metrics, default_mode
    from ..training.callbacks.evaluate import Evaluate
    from .console import print_table

    names = [name for name in ("train/loss", "dev/loss") if name in curves]
    names += [name for name in curves if name.startswith("dev/") and name != "dev/loss"]
    names = names if len(names) > 3 else names[:2]  # the loss of an only objective is that of all
    for callback in callbacks:
        if isinstance(callback, Evaluate):
            prefix = f"{callback.query}-{callback.target}/"
            names += choose_metrics([name for name in curves if name.startswith(prefix)])
    names += [name for name in modes if name is not None and name in curves]
    rows = []
    for name in dict.fromkeys(names):
        curve = curves[name].by_epoch()
        place = curve.best(modes.get(name, default_mode(name)))
        label = f"{name}, mean of an epoch" if name == "train/loss" else name
        values = f"{curve.values[-1]:.4f}", f"{curve.values[place]:.4f}"
        rows.append([label, *values, str(curve.epochs[place]), "best.ckpt" if name == monitor else ""])
    print_table(["metric", "last", "best", "in epoch", ""], rows, right={"last", "best", "in epoch"})
    if monitor is None or monitor not in curves:
        return None
    curve = curves[monitor].by_epoch()
    return f"best {monitor}", int(curve.steps[curve.best(modes[monitor])])


def _draw(folder: Path, curves: Mapping[str, Curve], best: tuple[str, int] | None) -> None:
    from ..analyze.curves import draw
    from ..errors import UsageError

    try:
        draw(folder / CURVES, curves, str(folder), best)
    except UsageError as error:  # matplotlib is not installed
        print(f"curves: not drawn; to draw them, {error.fix}", file=sys.stderr)
    else:
        print(f"curves: {folder / CURVES}")


def next_commands(model: Any, data: Any, callbacks: list[Any], folder: Path) -> list[list[str]]:
    """The commands that evaluate and index a trained model, as far as its columns and its table allow."""
    if not isinstance(data.table, str):
        return []
    commands = []
    if options := evaluate_options(model, data, callbacks):
        commands.append(["evaluate", str(folder), data.table, *options])
    column = model.objectives[0].columns()[0]
    if "id" in data.open().columns:
        index = str(folder / f"{column}.index")
        commands.append(["index", str(folder), data.table, index, "--column", column, *trust_options(model)])
    return [["jointembed", *command] for command in commands]


def evaluate_options(model: Any, data: Any, callbacks: list[Any]) -> list[str]:
    """The options of `jointembed evaluate` on the test rows, or else the dev rows; none if nothing can be evaluated."""
    split = next((split for split in ("test", "dev") if len(data.numbers(split))), None)
    pair = _retrieval(model, callbacks)
    return [*pair, "--split", split, *trust_options(model)] if pair and split and data.split == "split" else []


def trust_options(model: Any) -> list[str]:
    """The options that let a command load a model with classes of other packages."""
    from ..config import to_config

    return [word for package in sorted(set(_untrusted_packages(to_config(model)))) for word in ("--trust", package)]


def _retrieval(model: Any, callbacks: list[Any]) -> list[str]:
    """The options of `jointembed evaluate`: those of the first `Evaluate`, or what the first objective learns."""
    from ..training.callbacks.evaluate import Evaluate

    for callback in callbacks:
        if isinstance(callback, Evaluate):
            options = {"--query": callback.query, "--target": callback.target, "--relevant": callback.relevant}
            options |= {"--candidates-split": callback.candidates_split, "--exclude": callback.exclude}
            return [word for flag, value in options.items() if value for word in (flag, value)]
    objective = model.objectives[0]
    query = objective.columns()[0]
    target = query if objective.gives_likelihood else getattr(objective, "target", None)
    return ["--query", query, "--target", target] if target else []


def _untrusted_packages(config: Any) -> Iterator[str]:
    """The packages of the classes in a configuration that `load` would refuse."""
    from ..config import is_trusted

    if isinstance(config, dict):
        path = config.get("class_path")
        if isinstance(path, str) and "init_args" in config and not is_trusted(path):
            yield path.partition(".")[0]
        for value in config.values():
            yield from _untrusted_packages(value)
    elif isinstance(config, list):
        for value in config:
            yield from _untrusted_packages(value)
