"""Two axes made by hand beside two that are learned: python recipes/movies/axes.py ML-100K OUT.

By hand a film stands at the mean age of its viewers and the number of its ratings; a space of two dimensions is trained
to put films near those who watch them. In both a viewer stands amid the films that they rated, and is asked for the one
rated last: it should be among the ten nearest of those not rated before (recall@10). OUT gets the table, the run
of `axes.yaml` and `axes.png`.
"""

from __future__ import annotations

import itertools
import runpy
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from jointembed import files, recipe_tools
from jointembed.errors import UsageError

prepare = runpy.run_path(str(Path(__file__).parent / "prepare.py"))
COPIES = 8  # rows to train on a user
LABELS = 26  # names a picture, at most
APART = 0.09  # of a picture's width, between two films with names
YEARS = [1970, 1980, 1990, 1994, 1995, 1996, 1997]  # where one colour ends and the next begins
FEWEST = 20  # ratings that a film needs to be drawn
Row = dict[str, Any]


def table(rated: dict[str, list[str]]) -> list[Row]:
    """Rows as `TableData` takes them: the film rated last is `test`, the one before it `dev`, the others `train`."""
    rng, rows = np.random.default_rng(0), list[Row]()
    for user, whole in rated.items():
        known = whole[:-2]
        for split, at in (("test", -1), ("dev", -2)):
            rows.append({"id": f"{split} {user}", "split": split, "history": whole[:at], "film": [whole[at]]})
        for copy in range(COPIES):
            order = [known[at] for at in rng.permutation(len(known))]
            cut = len(known) // 5
            row = {"id": f"{user} {copy}", "split": "train", "user": user}
            rows.append({**row, "history": order[cut:], "film": order[:cut]})
    seen = sorted({film for whole in rated.values() for film in whole}, key=int)
    return rows + [{"id": f"film {one}", "split": "films", "film": [one]} for one in seen]


def by_hand(rated: dict[str, list[str]], people: dict[str, Row]) -> dict[str, tuple[float, float]]:
    """Mean age in years and number of ratings of each film, of the ratings that are trained on."""
    ages = defaultdict(list)
    for user, whole in rated.items():
        for film in whole[:-2]:
            ages[film].append(float(people[user]["age"]))
    return {film: (float(np.mean(of)), len(of)) for film, of in ages.items()}


def learned(out: Path, words: list[str]) -> Any:
    """The model of `axes.yaml`, in which a history is the mean of its films, trained on the table in OUT."""
    from jointembed import Space
    from jointembed.__main__ import run as command

    recipe, run = Path(__file__).with_suffix(".yaml"), out / "run"
    command(["fit", "-c", str(recipe), "--data.table", str(out), "--trainer.default_root_dir", str(run), *words])
    return Space.load(run)


def recall(rows: list[Row], points: dict[str, Any], split: str = "test") -> dict[str, float | None]:
    """Recall@10 of points (2,) of films, of which each viewer is the mean of those in the history."""
    from jointembed.evaluation.retrieval import evaluate
    from jointembed.evaluation.retrieval_task import build_task

    rows = [row for row in rows if row["split"] in (split, "films")]
    asked = build_task(
        rows, "history", "film", split=split, candidate_split="films", exclude="history", list_columns=["history"]
    )
    # What nobody rated has no place: far away from all others, it is never near.
    far = np.full(2, 1e4)
    films = np.stack([points.get(film, far) for film in asked.candidates])
    viewers = np.stack([np.mean([points[film] for film in one if film in points], 0) for one in asked.queries])
    return evaluate(asked, viewers, films, "euclidean", (10,))["recall@10"]


def named(axes: Any, points: list[tuple[float, float]], names: list[str]) -> None:
    """Write names beside points, in this order: each only away from those before it, covering none, and inside."""
    from matplotlib.patheffects import withStroke

    frame, taken, places = axes.get_window_extent(), list[Any](), list[Any]()
    for point, name in zip(points, names, strict=True):
        at = axes.transData.transform(point)
        if len(taken) == LABELS or any(np.hypot(*(at - other)) < APART * frame.width for other in places):
            continue
        for (x, across), (y, up) in itertools.product(((5, "left"), (-5, "right")), ((3, "bottom"), (-3, "top"))):
            label = axes.annotate(name, point, (x, y), textcoords="offset points", ha=across, va=up, fontsize=9)
            box = label.get_window_extent().padded(3)
            inside = frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                places.append(at)
                label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
                axes.plot(*point, "o", color="black", markersize=3)
                break
            label.remove()


def draw(path: Path, panels: list[dict[str, Any]], films: dict[str, Row], counts: Counter[str]) -> None:
    """The pictures side by side: films in the colour of their years, and the names of the best known of each place."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    shown = [film for film, count in counts.most_common() if count >= FEWEST and films[film].get("year")]
    shown = shown or list(films.keys() & counts.keys())
    years = [films[film].get("year", YEARS[0]) for film in shown]
    figure = Figure(figsize=(15, 7.5), dpi=130, layout="constrained")
    colours = {"cmap": colormaps["viridis"], "norm": BoundaryNorm(YEARS, 256, extend="both")}
    for axes, panel in zip(figure.subplots(1, 2), panels, strict=True):
        at = np.array([panel["points"][film] for film in shown])
        sizes = [6 + counts[film] / 5 for film in shown]
        dots = axes.scatter(*at.T, c=years, s=sizes, alpha=0.7, linewidth=0, **colours)
        axes.set_title(panel["title"], fontsize=13)
        axes.set(xlabel=panel["x"], ylabel=panel["y"])
        if panel["log"]:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(FixedLocator([20, 50, 100, 200, 500]))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:.0f}")
        axes.margins(0.05)
        axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(
        dots, ax=figure.axes, label="year of the film (size: number of its ratings)", aspect=40, format="%d"
    )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # names are placed where things stand now
    for axes, panel in zip(figure.axes, panels, strict=False):
        named(axes, [tuple(panel["points"][film]) for film in shown], [films[film]["title"] for film in shown])
    files.write(path, lambda file: figure.savefig(file, format="png"))


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, prepare["FETCH"])
    arguments.add_argument("--fit", default="", metavar="WORDS", help="for `jointembed fit`: '--trainer.max_epochs 9'")
    [source, *_], out, options = arguments.read()
    lines = [line.split() for name in ("u1.base", "u1.test") for line in recipe_tools.lines(source, name)]
    people, films = prepare["people"](source), prepare["catalogue"](source)
    if not lines or not people or not films:
        raise UsageError(source, "it holds no u1.base, u.user and u.item", prepare["FETCH"])
    from jointembed.errors import missing_extra

    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("map", "matplotlib") from error
    rated = defaultdict(list)
    for user, film, _, _ in sorted(lines, key=lambda line: int(line[3])):
        rated[user].append(film)
    rated = {user: whole for user, whole in rated.items() if len(whole) > 6 and user in people}
    rows = table(rated)
    if not rated:
        raise UsageError(source, "no user rated seven films", "use the data as they were published")
    hand = by_hand(rated, people)
    raw = np.array([(age, np.log(count)) for age, count in hand.values()])
    scaled = dict(zip(hand, (raw - raw.mean(0)) / np.maximum(raw.std(0), 1e-9), strict=True))
    recipe_tools.write_rows(out, rows)
    model = learned(out, options.fit.split())
    names = list(hand)
    space = dict(zip(names, model.embed("film", names), strict=True))
    panels = []
    for title, points, placed, x, y, log in (
        ("By hand", scaled, hand, "mean age of its viewers (years)", "number of its ratings", True),
        ("Learned", space, space, "first dimension (no unit)", "second dimension (no unit)", False),
    ):
        found = recall(rows, points)
        between = "" if found["low"] is None else f" ({found['low']:.3f} - {found['high']:.3f})"
        text = f"{title}: recall@10 {found['value']:.3f}{between}"
        print(f"{text}, chance {found['chance']:.3f}; dev rows {recall(rows, points, 'dev')['value']:.3f}")
        panels.append({"title": text, "points": placed, "x": x, "y": y, "log": log})
    draw(out / "axes.png", panels, films, Counter({film: int(count) for film, (_, count) in hand.items()}))
    print(f"{out / 'axes.png'}: {len(hand)} films")


if __name__ == "__main__":
    recipe_tools.run_script(main)
