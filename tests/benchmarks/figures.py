"""The figures of benchmarks beside those of their peers, as a table and as a plot."""

import json
import os
import statistics
import textwrap

FILE = "JOINTEMBED_FIGURES"  # the variable that names the file which figures are added to


def record(figure, ours, peers, unit="s"):
    """Add a figure to the file that the environment names, if it does.

    Args:
        figure: what is measured.
        ours: the time of each round.
        peers: the times of each peer in the same rounds, by its name.
        unit: of the times.
    """
    if FILE in os.environ:
        line = {"figure": figure, "unit": unit, "ours": list(ours), "peers": {k: list(v) for k, v in peers.items()}}
        with open(os.environ[FILE], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def ratios(ours, peer):
    """How many times longer the peer took: the least, the median and the greatest of the rounds."""
    each = sorted(b / a for a, b in zip(ours, peer, strict=True))
    return each[0], statistics.median(each), each[-1]


def rows(figures):
    """A row for each figure and peer: what, our time and that of the peer, and their ratio with its range."""
    table = []
    for figure in figures:
        ours = statistics.median(figure["ours"])
        for name, times in figure["peers"].items() or [("", None)]:
            row = [figure["figure"], f"{ours:.3g} {figure['unit']}", name]
            if times is None:
                table.append([*row, "", "", ""])
                continue
            least, median, greatest = ratios(figure["ours"], times)
            theirs = f"{statistics.median(times):.3g} {figure['unit']}"
            table.append([*row, theirs, f"{median:.3g}", f"{least:.3g} - {greatest:.3g}"])
    return table


def draw(path, figures, note):
    """Draw the ratios as a PNG, with the range of the rounds; the bar of a peer that is as fast ends at 1."""
    from jointembed.analyze.figure import plotting, save

    bars = [
        (f"{figure['figure']}: {name}", ratios(figure["ours"], times))
        for figure in figures
        for name, times in figure["peers"].items()
    ]
    with plotting(9, 1.2 + 0.32 * len(bars), dpi=150) as (canvas, theme):
        _draw_bars(canvas, theme, bars, note)
        save(canvas, path)


def _draw_bars(canvas, theme, bars, note):
    axes = canvas.subplots()
    for place, (_, (least, median, greatest)) in enumerate(bars):
        axes.barh(place, median - 1, left=1, height=0.6, color=theme.colors[0 if median >= 1 else 1])
        axes.plot([least, greatest], [place, place], color=theme.text, linewidth=1.2)
        axes.annotate(f"{median:.3g}", (max(greatest, 1), place), (5, 0), textcoords="offset points", va="center",
                      fontsize=8)  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.12)
    axes.axvline(1, color=theme.text, linewidth=1)
    axes.set_yticks(range(len(bars)), [label for label, _ in bars], fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_title("time of the peer / time of jointembed", loc="left", fontsize=10, fontweight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    canvas.supxlabel(textwrap.fill(note, 150), fontsize=7, color=theme.muted, x=0.01, ha="left")
