"""Test whether one model is better than another, from their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError

Table = tuple[list[str], list[list[str]], set[str]]  # the columns, the rows, and the columns that hold numbers


def compare(
    card: list[str],
    *,
    metric: list[str] | None = None,
    all_pairs: bool = False,
    markdown: bool = False,
    latex: bool = False,
    json_: bool = False,
    png: str | None = None,
) -> None:
    """Compare models on the same queries: differences with paired 95 % intervals, and paired tests.

    `jointembed evaluate ... --card A.json` writes the card of a model. All cards have to answer the same question about
    the same rows; each is compared with the first. Intervals are bootstrap intervals over the queries, or over the
    groups of --group; p-values come from a sign-flip test over the same units, and are corrected for the number of
    tests by Holm's method.

    Cards of the same model from several seeds are written A0.json,A1.json,A2.json, with commas. Their scores are
    averaged query by query; the least, the median and the greatest value are listed too, and in how many pairs of seeds
    the second model is better. The folder of a run that `jointembed fit --seeds 3` wrote stands for all of its cards.

    Args:
        card: the cards or folders, the first being the baseline.
        metric: a metric to compare; map, accuracy, rmse or nats if not given.
        all_pairs: compare each model with each.
        markdown: print Markdown.
        latex: print LaTeX, for the package booktabs.
        json_: print JSON.
        png: a .png file to draw the comparison into.
    """
    import sys

    from ..evaluation.card import Card
    from ..evaluation.comparison import Model, fewest_units
    from ..evaluation.comparison import compare as compare_models
    from .console import check_plot, print_json

    if sum((markdown, latex, json_)) > 1:
        raise UsageError("compare", "--markdown, --latex and --json exclude each other", "give one of them")
    check_plot(png)
    names, groups = zip(*map(_find_cards, card), strict=True)
    cards = [[Card.read(path) for path in paths] for paths in groups]
    models = [Model(label, group) for label, group in zip(_label(names), cards, strict=True)]
    report = compare_models(models, metric or (), all_pairs)
    if report["units"] < fewest_units():
        few = f"{report['units']} units are too few for any difference to be significant"
        print(f"warning: {few}. Fix: evaluate more groups or rows", file=sys.stderr)
    if png is not None:
        from ..analyze.comparison_plot import draw

        draw(Path(png), report)
        print(f"{png}: the metrics and their differences", file=sys.stderr)
    if json_:
        print_json(report)
        return
    render = _markdown if markdown else _latex if latex else _plain
    print(render(_models_table(report), _differences_table(report), _describe(report)))


def _find_cards(word: str) -> tuple[Path, list[Path]]:
    """What to name a model after, and its cards, given by a folder of seeds or by files with commas between them."""
    from .seeds import seed_cards

    if Path(word).is_dir():
        return Path(word), seed_cards(Path(word))
    paths = [Path(path) for path in word.split(",") if path] or [Path(word)]
    return paths[0].with_suffix(""), paths


def _label(names: Sequence[Path]) -> list[str]:
    """As many of the last parts of each path as tell models apart.

    Raises:
        UsageError: two are the same.
    """
    for count in range(1, max(len(name.parts) for name in names) + 1):
        labels = ["/".join(name.parts[-count:]) for name in names]
        if len(set(labels)) == len(labels):
            return labels
    twice = next(name for at, name in enumerate(names) if name in names[:at])
    raise UsageError(twice, "this card is given twice", "give different cards, or join seeds of a model with a comma")


def _describe(report: dict[str, Any]) -> str:
    units = f" of {report['units']:,} units of {report['unit']}" if report["units"] < report["queries"] else ""
    tests = f"{report['tests']} test" + "s" * (report["tests"] > 1)
    seeds = "; min, median, max and seed pairs tell how much a training depends on its seed" * _has_seeds(report)
    return (
        f"{report['queries']:,} queries{units}; paired bootstrap intervals, p of a sign-flip test, "
        f"corrected for {tests} (Holm){seeds}"
    )


def _models_table(report: dict[str, Any]) -> Table:
    from statistics import median

    from .console import format_interval, format_number

    rows, several = [], _has_seeds(report)
    for name, metric in report["metrics"].items():
        for label, model in metric["models"].items():
            seeds = model["seeds"]
            spread = [str(len(seeds)), *map(format_number, (min(seeds), median(seeds), max(seeds)))] if several else []
            row = [name, label, format_number(model["value"]), format_interval(model), *spread]
            rows.append([*row, format_number(model["chance"])])
    seeds_columns = ["seeds", "min", "median", "max"] if several else []
    names = ["metric", "model", "value", "95 % interval", *seeds_columns, "chance"]
    return names, rows, {"value", *seeds_columns, "chance"}


def _has_seeds(report: dict[str, Any]) -> bool:
    """Whether a model has cards of several seeds."""
    return any(len(model["seeds"]) > 1 for metric in report["metrics"].values() for model in metric["models"].values())


def _differences_table(report: dict[str, Any]) -> Table:
    rows, several = [], _has_seeds(report)
    for name, metric in report["metrics"].items():
        for difference in metric["differences"]:
            pair = f"{difference['second']} - {difference['first']}"
            ends = [difference["low"], difference["high"]]
            interval = "" if ends[0] is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"
            p_values = [_format_p(difference[key]) for key in ("p", "p_holm")]
            verdict = difference["better"] or "undecided"
            seeds = [f"{difference['seed_wins']} of {difference['seed_pairs']}"] if several else []
            rows.append([name, pair, f"{difference['value']:+.4f}", interval, *p_values, *seeds, verdict])
    seeds_columns = ["better seed pairs"] if several else []
    names = ["metric", "difference", "value", "95 % interval", "p", "p (Holm)", *seeds_columns, "better"]
    return names, rows, {"value", "p", "p (Holm)"}


def _format_p(p: float) -> str:
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def _plain(models: Table, differences: Table, note: str) -> str:
    from .console import format_table

    return "\n\n".join([format_table(*models), format_table(*differences), note])


def _markdown(models: Table, differences: Table, note: str) -> str:
    def escape(text: str) -> str:
        return text.replace("|", r"\|")

    def render(names: list[str], rows: list[list[str]], right: set[str]) -> str:
        lines = [names, ["---:" if name in right else "---" for name in names], *rows]
        return "\n".join("| " + " | ".join(map(escape, line)) + " |" for line in lines)

    return "\n\n".join([render(*models), render(*differences), note])


def _latex(models: Table, differences: Table, note: str) -> str:
    def render(names: list[str], rows: list[list[str]], right: set[str]) -> str:
        def line(cells: Sequence[str]) -> str:
            return " & ".join(map(_escape_latex, cells)) + r" \\"

        columns = "".join("r" if name in right else "l" for name in names)
        body = [line(names), r"\midrule", *map(line, rows)]
        return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"])

    return "\n\n".join([render(*models), render(*differences), "% " + note])


def _escape_latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)
