"""The runs of `jointembed fit` in a folder, side by side: their settings, metrics, epochs and times."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import DamagedError, UsageError, did_you_mean
from .curves import Curve, default_mode, read_curves

CONFIG, METRICS = "config.yaml", "metrics.csv"
PLACES = {"trainer.default_root_dir", "ckpt_path"}  # settings that do not describe a run: where it is, how it was begun
SAVER = "BestAndLast"
DEV_LOSS = "dev/loss"


@dataclass(frozen=True)
class Run:
    """A run.

    Args:
        name: its folder, relative to the folder that was searched.
        settings: the values of its recipe by dotted keys, such as `model.lr`; a class is a value itself.
        metrics: the metrics of the epoch whose checkpoint is kept: the best one, or else the last.
        epochs: the number of epochs that were trained.
        seconds: from the start of the training to its last metrics, by the times of its files; None if these say
            nothing, as in copies.
        monitor: the metric that chooses the best checkpoint; None if none does.
        mode: `max` or `min`, the direction of the monitor.
    """

    name: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    epochs: int
    seconds: float | None
    monitor: str | None = None
    mode: str = "min"


def read_runs(folder: Path) -> list[Run]:
    """The runs in a folder and the folders below it, by their names.

    Raises:
        UsageError: the folder does not exist, or holds no run.
        DamagedError: a file of a run cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(folder, "the folder does not exist", "give the folder of one or more runs of `jointembed fit`")
    places = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        if CONFIG in names and METRICS in names:
            places.append(Path(root))
    runs = [run for place in places if (run := _read_run(place, folder)) is not None]
    if not runs:
        wrong = f"it holds no run of `jointembed fit` (a folder with {CONFIG} and {METRICS})"
        raise UsageError(folder, wrong, "give the folder that --trainer.default_root_dir named, or one above it")
    return runs


def _read_run(place: Path, folder: Path) -> Run | None:
    import yaml

    for name in (CONFIG, METRICS):
        files.check_regular(place / name)
    try:
        config = yaml.safe_load((place / CONFIG).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DamagedError(place / CONFIG, "it is not YAML", "remove this folder, or move it elsewhere") from error
    if not isinstance(config, dict) or "model" not in config or "trainer" not in config:
        return None  # of another program
    try:
        curves = {name: curve.by_epoch() for name, curve in read_curves(place / METRICS).items()}
    except ValueError as error:  # Arrow's and Python's, of text
        wrong = f"it is not a table of metrics ({' '.join(str(error).split())[:100]})"
        raise DamagedError(place / METRICS, wrong, "remove this folder, or move it elsewhere") from error
    saver: Mapping[str, Any] = next(
        (
            callback.get("init_args") or {}
            for callback in config["trainer"].get("callbacks") or []
            if isinstance(callback, dict) and str(callback.get("class_path", "")).rpartition(".")[2] == SAVER
        ),
        {},
    )
    monitor, mode = saver.get("monitor"), saver.get("mode") or "min"
    last = max((int(curve.epochs[-1]) for curve in curves.values()), default=-1)
    best = curves.get(monitor) if monitor else None
    epoch = last if best is None else int(best.epochs[best.best(mode)])
    values = {name: value for name, curve in curves.items() if (value := _at(curve, epoch)) is not None}
    seconds = (place / METRICS).stat().st_mtime - (place / CONFIG).stat().st_mtime
    name = place.relative_to(folder).as_posix()
    return Run(name, dict(_flatten(config)), values, last + 1, seconds if seconds > 0 else None, monitor, mode)


def _at(curve: Curve, epoch: int) -> float | None:
    """The value of an epoch, or the last one before it where a metric is not computed in each."""
    values = curve.values[curve.epochs <= epoch]
    return float(values[-1]) if len(values) else None


def _flatten(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a configuration by dotted keys; a class is the value of its key, and its arguments lie below."""
    if isinstance(config, list) and any(isinstance(part, dict | list) for part in config):
        config = dict(enumerate(config))
    if not isinstance(config, dict) or not config:
        yield key, config
        return
    if "class_path" in config:
        yield key, str(config["class_path"]).removeprefix("jointembed.")
        config = config.get("init_args") or {}
    for name, value in config.items():
        yield from _flatten(value, f"{key}.{name}" if key else str(name))


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """The keys of the settings that are not the same in all runs.

    Of a class that some runs lack, only its own key is listed, and not its arguments.
    """
    differing: dict[str, None] = {}
    for key in sorted({key for run in runs for key in run.settings} - PLACES):
        values = [run.settings[key] for run in runs if key in run.settings]
        is_everywhere = len(values) == len(runs)
        parents = {key[:at] for at, character in enumerate(key) if character == "."}
        if any(value != values[0] for value in values) if is_everywhere else not differing.keys() & parents:
            differing[key] = None
    order = list(dict.fromkeys(key for run in runs for key in run.settings))
    return sorted(differing, key=order.index)


def short_keys(keys: Sequence[str]) -> list[str]:
    """As much of the end of each key as tells it from the others.

    >>> short_keys(["model.lr", "model.encoders.words.width", "model.encoders.title.width"])
    ['lr', 'words.width', 'title.width']
    """
    parts = [key.split(".") for key in keys]
    longest = max(map(len, parts), default=0)
    ends = [[".".join(part[-count:]) for count in range(1, longest + 1)] for part in parts]
    uses = Counter(end for texts in ends for end in set(texts))
    return [next((end for end in texts if uses[end] == 1), texts[-1]) for texts in ends]


def choose_metrics(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    """The metrics to show, the first sorts: those given, or the monitors and the dev loss.

    Raises:
        UsageError: no run has logged a metric.
    """
    logged = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in metrics:
        if name not in logged:
            raise UsageError(name, "no run has logged this metric", did_you_mean(name, logged))
    if metrics:
        return list(dict.fromkeys(metrics))
    names = dict.fromkeys(run.monitor for run in runs if run.monitor in logged)
    return [name for name in [*names, *([DEV_LOSS] if DEV_LOSS in logged and DEV_LOSS not in names else [])] if name]


def sort_runs(runs: Sequence[Run], metric: str | None) -> list[Run]:
    """The runs, the best by a metric first; those without it come last."""
    if metric is None:
        return list(runs)
    mode = next((run.mode for run in runs if run.monitor == metric), default_mode(metric))
    sign = -1 if mode == "max" else 1
    return sorted(runs, key=lambda run: (metric not in run.metrics, sign * run.metrics.get(metric, 0.0)))
