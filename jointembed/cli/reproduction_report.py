"""What `reproduce` prints of the figures: a table of them, and whether they agree with the reference card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UnhealthyError

if TYPE_CHECKING:
    from ..evaluation.protocol import Protocol


def print_figures(protocol: Protocol, card: Mapping[str, Any], reference: Mapping[str, Any] | None) -> None:
    """Print each figure beside the kept one, the baseline and what is published."""
    from .console import format_number, print_table

    rows = []
    baseline = card.get("baseline") or (reference or {}).get("baseline")
    for name, figure in card["figures"].items():
        label = f"{name}, {figure['metric']}"
        rows.append([label, "measured", format_seeds(figure), *_interval(figure), _count(figure)])
        if reference and name in reference["figures"]:
            old = reference["figures"][name]
            source = f"kept, commit {' and '.join(reference['commits'])}"
            rows.append(["", source, format_seeds(old), *_interval(old), _count(old)])
        if baseline and baseline["figure"] == name:
            values = sorted(baseline["values"])
            ends = values if len(values) < 3 else [values[0], values[(len(values) - 1) // 2], values[-1]]
            rows.append(["", f"baseline: {baseline['name']}", " - ".join(map(format_number, ends)), "", ""])
        published = [row for row in protocol.published if (row.figure or protocol.main_figure) == name]
        rows += [["", f"published: {row.name}", format_number(row.value), "", ""] for row in published]
    print(f"\n{protocol.name}: {protocol.about}\n")
    print_table(["figure", "", "min - median - max", "95 % interval", "seeds"], rows)
    if protocol.published:
        print("", *(f"{row.name}: {row.source}" for row in protocol.published), sep="\n")


def check_agreement(protocol: Protocol, card: Mapping[str, Any], reference: Mapping[str, Any] | None) -> None:
    """Say for each figure whether it agrees with the kept one.

    Raises:
        UnhealthyError: one does not.
    """
    from ..evaluation.reproduction import agrees, bounds, differing_data, spread
    from .console import format_number

    if reference is None:
        print(f"no figure is kept yet: {protocol.reference_card} would be its place")
        return
    outside = []
    for name, figure in card["figures"].items():
        old = reference["figures"].get(name)
        if old is None:
            print(f"{name}: no figure is kept yet")
            continue
        if differing := differing_data(figure, old):
            print(f"{name}: not comparable: other rows are measured than in the kept card ({', '.join(differing)})")
            continue
        median, (low, high) = spread(figure)["median"], bounds(old)
        interval = f"{format_number(low)} - {format_number(high)}"
        if agrees(figure, old):
            is_same = all(
                old["seeds"].get(seed, {}).get("value") == row["value"] for seed, row in figure["seeds"].items()
            )
            note = "; seed by seed the same figures" if is_same else ""
            print(
                f"{name}: agrees: {format_number(median)} is within the intervals of the kept seeds, {interval}{note}"
            )
        else:
            outside.append(
                f"{name}: disagrees: {format_number(median)} is outside the intervals of the kept seeds, {interval}"
            )
    if outside:
        fix = f"compare the versions and the machine in its card with {protocol.reference_card}"
        raise UnhealthyError(protocol.name, "; ".join(outside), fix)


def read_reference(protocol: Protocol) -> Mapping[str, Any] | None:
    """The card that is kept beside the recipe, if there is one."""
    from ..evaluation.reproduction import read_reproduction

    return read_reproduction(protocol.reference_card) if protocol.reference_card.is_file() else None


def format_seeds(figure: Mapping[str, Any]) -> str:
    """The least, the median and the greatest value of the seeds, or that of the only one."""
    from ..evaluation.reproduction import spread
    from .console import format_number

    seeds = spread(figure)
    parts = ("least", "median", "greatest") if len(seeds["values"]) > 1 else ("median",)
    return " - ".join(format_number(seeds[part]) for part in parts)


def _interval(figure: Mapping[str, Any]) -> list[str]:
    """The interval of the median seed."""
    from ..evaluation.reproduction import spread
    from .console import format_interval

    return [format_interval(spread(figure))]


def _count(figure: Mapping[str, Any]) -> str:
    return str(len(figure["seeds"]))
