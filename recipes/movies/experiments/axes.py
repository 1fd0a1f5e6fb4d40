"""Experiment: two hand-made axes beside two learned ones: python recipes/movies/experiments/axes.py ML-100K OUT.

The hand-made axes are the mean age of a film's viewers and the number of its ratings; a space of two dimensions is
trained to put films near their viewers. In both, a viewer is the mean of the films that they rated, and the film rated
last should be among the ten nearest unrated films (recall@10). OUT gets the table, the run of `axes.yaml`, `axes.png`.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from jointembed import recipe_tools
from jointembed.analyze.figure import DARK, Theme, escape_math, plotting, save
from jointembed.cli.console import check_plot
from jointembed.errors import UsageError

prepare = recipe_tools.load_script(Path(__file__).parents[1] / "prepare.py")
COPIES = 8  # rows to train on a user
LABELS = 26  # names a picture, at most
APART = 0.09  # of a picture's width, between two films with names
YEARS = [1970, 1980, 1990, 1994, 1995, 1996, 1997]  # where one color ends and the next begins
FEWEST = 20  # ratings that a film needs to be drawn
Row = dict[str, Any]


def table(rated_by: dict[str, list[str]]) -> list[Row]:
    """Rows for `TableData`: the film rated last is `test`, the previous film `dev`, the others `train`."""
    rng, rows = np.random.default_rng(0), list[Row]()
    for user, films_of_user in rated_by.items():
        train = films_of_user[:-2]
        for split, at in (("test", -1), ("dev", -2)):
            rows.append(
                {"id": f"{split} {user}", "split": split, "history": films_of_user[:at], "film": [films_of_user[at]]}
            )
        for copy in range(COPIES):
            order = [train[at] for at in rng.permutation(len(train))]
            cut = len(train) // 5
            row = {"id": f"{user} {copy}", "split": "train", "user": user}
            rows.append({**row, "history": order[cut:], "film": order[:cut]})
    film_ids = sorted({film for films_of_user in rated_by.values() for film in films_of_user}, key=int)
    return rows + [{"id": f"film {film}", "split": "films", "film": [film]} for film in film_ids]


def by_hand(rated_by: dict[str, list[str]], people: dict[str, Row]) -> dict[str, tuple[float, float]]:
    """The mean age of the viewers of each film in years, and the number of its ratings, in the training rows."""
    ages = defaultdict(list)
    for user, films_of_user in rated_by.items():
        for film in films_of_user[:-2]:
            ages[film].append(float(people[user]["age"]))
    return {film: (float(np.mean(values)), len(values)) for film, values in ages.items()}


def train_model(out: Path, words: list[str]) -> Any:
    """The model of `axes.yaml`, in which a history is the mean of its films, trained on the table in OUT."""
    from jointembed import Space
    from jointembed.__main__ import run as command

    recipe, run = Path(__file__).parents[1] / "axes.yaml", out / "run"
    command(["fit", "-c", str(recipe), "--data.table", str(out), "--trainer.default_root_dir", str(run), *words])
    return Space.load(run)


def recall(rows: list[Row], points: dict[str, Any], split: str = "test") -> dict[str, float | None]:
    """Recall@10 of points (2,) of films; a viewer is the mean of the films in the history."""
    from jointembed.evaluation.retrieval import evaluate
    from jointembed.evaluation.retrieval_task import build_task

    rows = [row for row in rows if row["split"] in (split, "films")]
    task = build_task(
        rows, "history", "film", split=split, candidate_split="films", exclude="history", list_columns=["history"]
    )
    # A film without ratings has no point: put it far away from all others.
    far = np.full(2, 1e4)
    films = np.stack([points.get(film, far) for film in task.candidates])
    viewers = np.stack([np.mean([points[film] for film in history if film in points], 0) for history in task.queries])
    return evaluate(task, viewers, films, "euclidean", (10,))["recall@10"]


def write_names(axes: Any, points: list[tuple[float, float]], names: list[str], theme: Theme) -> None:
    """Write names beside points, in this order: each only away from those before it, covering none, and inside."""
    from matplotlib.patheffects import withStroke

    frame, boxes, places = axes.get_window_extent(), list[Any](), list[Any]()
    for point, name in zip(points, names, strict=True):
        at = axes.transData.transform(point)
        if len(boxes) == LABELS or any(np.hypot(*(at - place)) < APART * frame.width for place in places):
            continue
        for (x, across), (y, up) in itertools.product(((5, "left"), (-5, "right")), ((3, "bottom"), (-3, "top"))):
            label = axes.annotate(
                escape_math(name), point, (x, y), textcoords="offset points", ha=across, va=up, fontsize=9
            )
            box = label.get_window_extent().padded(3)
            inside = frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
            if inside and not any(box.overlaps(drawn_box) for drawn_box in boxes):
                boxes.append(box)
                places.append(at)
                label.set_path_effects([withStroke(linewidth=2.5, foreground=theme.background)])
                axes.plot(*point, "o", color=theme.text, markersize=3)
                break
            label.remove()


def draw(path: Path, panels: list[dict[str, Any]], films: dict[str, Row], counts: Counter[str]) -> None:
    """Draw the panels side by side: films colored by year, with the names of the most rated ones."""
    visible = [film for film, count in counts.most_common() if count >= FEWEST and films[film].get("year")]
    visible = visible or list(films.keys() & counts.keys())
    years = [films[film].get("year", YEARS[0]) for film in visible]
    with plotting(15, 7.5) as (figure, theme):
        from matplotlib import colormaps
        from matplotlib.colors import BoundaryNorm, ListedColormap
        from matplotlib.ticker import FixedLocator, NullLocator

        count = len(YEARS) + 1
        # Without the end that the background would swallow.
        shades = colormaps["viridis"](np.linspace(*((0.25, 1) if theme is DARK else (0, 0.92)), count))
        colors = {"cmap": ListedColormap(shades), "norm": BoundaryNorm(YEARS, count, extend="both")}
        for axes, panel in zip(figure.subplots(1, 2), panels, strict=True):
            at = np.array([panel["points"][film] for film in visible])
            sizes = [6 + counts[film] / 5 for film in visible]
            dots = axes.scatter(*at.T, c=years, s=sizes, alpha=0.7, linewidth=0, **colors)
            axes.set_title(panel["title"], loc="left", fontsize=12, fontweight="bold")
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
        figure.set_layout_engine("none")  # keep the positions that names are placed by
        for axes, panel in zip(figure.axes, panels, strict=False):
            places = [tuple(panel["points"][film]) for film in visible]
            write_names(axes, places, [films[film]["title"] for film in visible], theme)
        save(figure, path)


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, prepare.FETCH)
    arguments.add_argument("--fit", default="", metavar="WORDS", help="for `jointembed fit`: '--trainer.max_epochs 9'")
    [source, *_], out, options = arguments.read()
    lines = [line.split() for name in ("u1.base", "u1.test") for line in recipe_tools.lines(source, name)]
    people, films = prepare.people(source), prepare.catalogue(source)
    if not lines or not people or not films:
        raise UsageError(source, "u1.base, u.user and u.item are missing", prepare.FETCH)
    check_plot(str(out / "axes.png"))
    rated_by = defaultdict(list)
    for user, film, _, _ in sorted(lines, key=lambda line: int(line[3])):
        rated_by[user].append(film)
    rated_by = {
        user: films_of_user for user, films_of_user in rated_by.items() if len(films_of_user) > 6 and user in people
    }
    rows = table(rated_by)
    if not rated_by:
        raise UsageError(source, "no user rated seven films", "use the data as they were published")
    hand = by_hand(rated_by, people)
    raw = np.array([(age, np.log(count)) for age, count in hand.values()])
    scaled = dict(zip(hand, (raw - raw.mean(0)) / np.maximum(raw.std(0), 1e-9), strict=True))
    recipe_tools.write_rows(out, rows)
    model = train_model(out, options.fit.split())
    names = list(hand)
    space = dict(zip(names, model.embed("film", names), strict=True))
    panels = []
    for title, points, placed, x, y, log in (
        ("By hand", scaled, hand, "mean age of its viewers (years)", "number of its ratings", True),
        ("Learned", space, space, "first dimension (no unit)", "second dimension (no unit)", False),
    ):
        metric = recall(rows, points)
        between = "" if metric["low"] is None else f" ({metric['low']:.3f} - {metric['high']:.3f})"
        text = f"{title}: recall@10 {metric['value']:.3f}{between}"
        print(f"{text}, chance {metric['chance']:.3f}; dev rows {recall(rows, points, 'dev')['value']:.3f}")
        panels.append({"title": text, "points": placed, "x": x, "y": y, "log": log})
    draw(out / "axes.png", panels, films, Counter({film: int(count) for film, (_, count) in hand.items()}))
    print(f"{out / 'axes.png'}: {len(hand)} films")


if __name__ == "__main__":
    recipe_tools.run_script(main)
