"""The ranges that a sweep draws from, the metric that it optimizes, and the recipe layer that it writes."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SYNTAX = "write KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=[A,B]"


def parse_ranges(settings: Sequence[str]) -> dict[str, BaseDistribution]:
    """The distribution of each key: integers if both ends are, else numbers; or a list of choices.

    Raises:
        UsageError: a range is invalid, a key is repeated, or no key is given.
    """
    ranges: dict[str, BaseDistribution] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        key = key.strip().removeprefix("--")
        if not key or key in ranges:
            raise UsageError("--set", f"{setting!r} names no key, or a repeated one", SYNTAX)
        ranges[key] = _parse_choices(setting, text) if text.strip().startswith("[") else _parse_range(setting, text)
    if not ranges:
        raise UsageError("--set", "no key is given", SYNTAX)
    return ranges


def _parse_choices(setting: str, text: str) -> BaseDistribution:
    import yaml
    from optuna.distributions import CategoricalDistribution

    try:
        items = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError("--set", f"{setting!r} is not a valid list", SYNTAX) from error
    if not isinstance(items, list) or not items:
        raise UsageError("--set", f"{setting!r} is not a list of choices", SYNTAX)
    return CategoricalDistribution([_parse_choice(item) for item in items])


def _parse_choice(item: Any) -> Any:
    if isinstance(item, str) and re.fullmatch(r"[+-]?[\d.]+e[+-]?\d+", item):  # YAML 1.1 reads 1e-3 as text
        return float(item)
    return item if item is None or isinstance(item, (bool, int, float, str)) else json.dumps(item)


def _parse_range(setting: str, text: str) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, *rest = [part.strip() for part in text.split(":")] + [""] * (1 - text.count(":"))
    whole = all(re.fullmatch(r"[+-]?\d+", end) for end in (low, high))
    try:
        ends = float(low), float(high)
    except ValueError as error:
        raise UsageError("--set", f"the ends of {setting!r} are not numbers", SYNTAX) from error
    if rest not in ([], ["log"]) or not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
        raise UsageError("--set", f"{setting!r} is not a valid range", SYNTAX + ", with LOW less than HIGH")
    if rest and ends[0] <= 0:
        raise UsageError("--set", f"{setting!r}: a logarithmic range must begin above 0", "raise its lower end")
    return IntDistribution(int(low), int(high), bool(rest)) if whole else FloatDistribution(*ends, bool(rest))


def example(distribution: BaseDistribution) -> Any:
    """A value to check a key with: the upper end of a range, or the last choice."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[-1]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    return distribution.high


def to_words(values: dict[str, Any]) -> list[str]:
    """Values as options of `jointembed fit`."""
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]


def to_layer(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values as a layer for a recipe, whose complete configuration is `config`.

    A dictionary below `model.`, such as `encoders`, replaces that of the recipe, so it is given as a whole if a key
    reaches into it.
    """
    layer: dict[str, Any] = {}
    for key, value in values.items():
        path, at = key.split("."), layer
        if len(path) > 2:
            layer.setdefault(path[0], {}).setdefault(path[1], copy.deepcopy(config[path[0]][path[1]]))
        for part, below in itertools.pairwise(path):
            at[part] = at.get(part) or {}
            at = at[part]
            if "class_path" in at and below != "init_args":
                at = at.setdefault("init_args", {})
        at[path[-1]] = json.loads(value) if str(value)[:1] in ("[", "{") else value
    return layer


@dataclass(frozen=True)
class SweepMetric:
    """The metric on the dev rows that a sweep optimizes.

    Args:
        name: its name in metrics.csv.
        mode: `max` or `min`.
        monitor: the metric by which a training keeps its best checkpoint; None if it keeps the last.
        monitor_mode: `max` or `min` of the monitor.
    """

    name: str
    mode: str
    monitor: str | None
    monitor_mode: str

    def of_checkpoint(self, rows: Sequence[Mapping[str, float]]) -> float:
        """The value at the checkpoint that a training keeps, from the logged `rows` that have the metric."""
        monitored = [row for row in rows if self.monitor in row]
        if self.monitor is None or not monitored:
            return rows[-1][self.name]
        pick = max if self.monitor_mode == "max" else min
        return pick(monitored, key=lambda row: row[str(self.monitor)])[self.name]


def choose_metric(config: dict[str, Any], metric: str | None, mode: str | None) -> SweepMetric:
    """The given metric; else that which chooses the recipe's best checkpoint, its first one, or the dev loss.

    Raises:
        UsageError: the recipe does not measure the metric on dev rows.
    """
    callbacks = config["trainer"]["callbacks"] or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    calls = [(call["class_path"].rsplit(".")[-1], call.get("init_args", {})) for call in callbacks]
    metrics: list[str] = []
    for name, args in calls:
        if name == "Evaluate":
            order = sorted(args["k"] or (1, 5, 10), key=lambda k: (k != 1, -k))
            at_k = [f"{kind}@{k}" for kind in ("recall", "hit", "precision", "ndcg") for k in order]
            metrics += [f"{args['query']}-{args['target']}/{kind}" for kind in (*at_k, "map", "knn@5")]
    savers = [args for name, args in calls if name in ("BestAndLast", "ModelCheckpoint")]
    monitor, monitor_mode = (savers[0].get("monitor"), savers[0].get("mode", "min")) if savers else (None, "min")
    name = metric or monitor or (metrics[0] if metrics else "dev/loss")
    if name not in metrics and not name.startswith("dev/"):
        raise UsageError(
            "--metric", f"the recipe measures no {name} on dev rows", did_you_mean(name, [*metrics, "dev/loss"])
        )
    direction = monitor_mode if name == monitor else "min" if name.startswith("dev/") else "max"
    return SweepMetric(name, mode or direction, monitor, monitor_mode)
