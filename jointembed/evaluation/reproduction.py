"""Reproduced figures: seeds and folds joined into one card, and compared with the card that is kept beside a recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from .. import files
from ..errors import DamagedError, MismatchError, UsageError
from .card import machine, versions
from .protocol import Protocol

FORMAT, VERSION = "jointembed reproduction", 1
LINE_CHARACTERS = 120
IDENTITY = ("split", "cells", "answers")  # hashes of what is evaluated, which no model changes

Facts = Mapping[str, Any]  # of a card: see `card.Card.facts`; a script's has only metrics, data, versions and machine


def join_folds(metrics: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """The mean of a metric over folds, with a 95 % interval.

    The interval is computed from those of the folds, which hold different rows, by the method of variance estimates
    recovery: each end is as far away as the root of the summed squares of their distances, divided by the number of
    folds (Zou and Donner 2008, Statistics in Medicine 27).

    >>> join_folds([{"value": 0.5, "low": 0.2, "high": 0.6}, {"value": 0.7, "low": 0.3, "high": 0.8}])["low"]
    0.35

    Raises:
        UsageError: the metric has no value in a fold, such as R2 of rows that are all alike.
    """
    values = [metric["value"] for metric in metrics if metric["value"] is not None]
    if len(values) < len(metrics):
        raise UsageError("reproduce", "a figure has no value in a fold", "name another metric in the protocol")
    joined: dict[str, Any] = {"value": fmean(values)}
    for end, sign in (("low", -1), ("high", 1)):
        ends = [metric.get(end) for metric in metrics]
        distances = [None if edge is None else edge - value for edge, value in zip(ends, values, strict=True)]
        lengths = [distance for distance in distances if distance is not None]
        has_ends = len(lengths) == len(distances)
        joined[end] = joined["value"] + sign * math.hypot(*lengths) / len(values) if has_ends else None
    return joined | ({"folds": values} if len(values) > 1 else {})


def summarize(protocol: Protocol, cards: Mapping[str, Mapping[int, Sequence[Facts]]], baseline: Any = None) -> Facts:
    """The card of a reproduction.

    Args:
        protocol: what was followed.
        cards: by the names of figures and by seeds, the facts of each fold.
        baseline: what `jointembed reproduce --baseline` measured: its name, its figure and its values.
    """
    figures = {}
    for name, seeds in cards.items():
        figure = protocol.figures[name]
        folds = next(iter(seeds.values()))
        metrics = {seed: join_folds([facts["metrics"][figure.metric] for facts in seeds[seed]]) for seed in seeds}
        chances = [facts["metrics"][figure.metric].get("chance") for facts in folds]
        figures[name] = {
            "metric": figure.metric,
            "seeds": {str(seed): metric for seed, metric in metrics.items()},
            "chance": None if None in chances else fmean(chances),
            **{key: [facts[key] for facts in folds] for key in ("queries", "pool") if key in folds[0]},
            "question": folds[0].get("question", {"script": figure.script}),
            "data": [facts["data"] for facts in folds],
        }
    every = [facts for seeds in cards.values() for folds in seeds.values() for facts in folds]
    models = {
        str(seed): [facts["model"]["space"] for facts in folds]
        for seeds in list(cards.values())[:1]
        for seed, folds in seeds.items()
        if all("model" in facts for facts in folds)
    }
    return {
        "protocol": protocol.name,
        "recipe": f"{protocol.folder.name}/{protocol.recipe}",
        "folds": list(protocol.folds),
        "seed_keys": list(protocol.seed_keys),
        "figures": figures,
        **({"baseline": baseline} if baseline else {}),
        "models": models,
        "commits": list(dict.fromkeys(facts["versions"].get("commit", "unknown") for facts in every)),
        "versions": {name: version for name, version in every[-1]["versions"].items() if name != "commit"},
        "machine": every[-1]["machine"],
    }


def write_reproduction(path: Path, card: Facts) -> None:
    """Write the card of a reproduction whole or not at all."""
    files.write(path, _lay_out({"format": FORMAT, "version": VERSION, **card}) + "\n")


def _lay_out(value: Any, indent: int = 0) -> str:
    """JSON in which whatever fits into a line stands in one."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= LINE_CHARACTERS or not isinstance(value, dict | list):
        return line
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(value)
    parts = value.values() if isinstance(value, dict) else value
    margin = "\n" + " " * (indent + 1)
    lines = [name + _lay_out(part, indent + 1) for name, part in zip(names, parts, strict=True)]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}{margin}{f',{margin}'.join(lines)}{margin[:-1]}{last}"


def read_reproduction(path: Path) -> Facts:
    """The card of a reproduction in a file.

    Raises:
        DamagedError: it is not the card of a reproduction.
        MismatchError: a newer version wrote it.
    """
    fix = "take it from the repository again, or write it by jointembed reproduce"
    try:
        card = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"the card is not complete JSON ({error})", fix) from error
    is_card = isinstance(card, dict) and card.get("format") == FORMAT
    if not is_card or not all(figure.get("seeds") for figure in card.get("figures", {"": {}}).values()):
        raise DamagedError(path, "it is not the card of a reproduction", fix)
    if card.get("version", 0) > VERSION:
        raise MismatchError(path, "a newer version of jointembed wrote it", "pip install -U jointembed")
    return dict(card)


def spread(figure: Facts) -> dict[str, Any]:
    """The least, the median and the greatest value of a figure's seeds, and the interval of the median seed.

    Of two seeds in the middle, it is the interval of the lower one.
    """
    seeds = sorted(figure["seeds"].values(), key=lambda seed: float(seed["value"]))
    values, middle = [seed["value"] for seed in seeds], seeds[(len(seeds) - 1) // 2]
    spread = {"values": values, "least": values[0], "median": median(values), "greatest": values[-1]}
    return spread | {"low": middle["low"], "high": middle["high"]}


def bounds(figure: Facts) -> tuple[float, float]:
    """The lowest and the highest end of the intervals of all seeds; a seed without an interval counts by its value."""
    seeds = figure["seeds"].values()
    ends = [(seed["value"] if seed[end] is None else seed[end]) for end in ("low", "high") for seed in seeds]
    return min(ends), max(ends)


def differing_data(measured: Facts, reference: Facts) -> list[str]:
    """Which hashes of the evaluated rows differ between two cards of a figure; none if these are the same rows.

    A script's card has a hash of the table alone.
    """
    if len(measured["data"]) != len(reference["data"]):
        return ["folds"]
    pairs = list(zip(measured["data"], reference["data"], strict=True))
    names = IDENTITY if "cells" in measured["data"][0] else ("table",)
    return [name for name in names if any(new.get(name) != old.get(name) for new, old in pairs)]


def agrees(measured: Facts, reference: Facts) -> bool:
    """Whether the median of the seeds lies within the `bounds` of the kept figure."""
    low, high = bounds(reference)
    return low <= float(spread(measured)["median"]) <= high


def script_facts(metric: str, values: Mapping[str, float | None], table: Path) -> dict[str, Any]:
    """The facts of a figure that a script printed, of the table in a file."""
    facts = {"metrics": {metric: dict(values)}, "data": {"table": files.sha256(table)[:32]}}
    return facts | {"versions": versions(), "machine": machine()}
