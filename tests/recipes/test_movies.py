"""The scripts beside the recipes of films: axes by hand and learned, how many dimensions, baselines of cold films."""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jointembed.__main__ import main
from jointembed.analyze.figure import DARK, LIGHT, THEME

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

MOVIES = Path(__file__).parents[2] / "recipes" / "movies"


@pytest.fixture
def script(monkeypatch, capsys, one_thread):
    """Run a script in this process; what it printed."""

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [str(MOVIES / f"{name}.py"), *map(str, words)])
        runpy.run_path(str(MOVIES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def hundred(tmp_path):
    """MovieLens 100k with 20 users and 30 films: the young rate the first half, the old the second."""
    source = tmp_path / "ml-100k"
    source.mkdir()
    rng = np.random.default_rng(0)
    rated = [(user, film) for user in range(1, 21) for film in range(1, 31) if (user > 10) == (film > 15)]
    lines = [f"{user}\t{film}\t{rng.integers(1, 6)}\t{rng.integers(10**6)}" for user, film in rated]
    (source / "u1.base").write_text("\n".join(lines))
    (source / "u.user").write_text("\n".join(f"{n}|{20 if n <= 10 else 60}|F|artist|0" for n in range(1, 21)))
    flags = "|".join(["0"] * 19)
    films = [f"{n}|Film number {n} ({1950 + n})|01-Jan-1994||http://x|{flags}" for n in range(1, 31)]
    (source / "u.item").write_text("\n".join(films))
    return source


def test_axes_are_evaluated_and_drawn(script, hundred, tmp_path):
    printed = script("experiments/axes", hundred, tmp_path / "out", "--fit", "-c tiny").splitlines()
    printed = [line for line in printed if line.startswith(("By hand", "Learned"))]  # after those of `fit`
    assert printed[0].startswith("By hand: recall@10") and printed[1].startswith("Learned: recall@10")
    # What a viewer has not seen of the films of one age is near on an axis of age, unless nobody at all has rated it.
    assert float(printed[0].split()[3]) >= 0.8
    with Image.open(tmp_path / "out" / "axes.png") as image:
        assert image.format == "PNG" and image.width > 1.5 * image.height > 600
        assert len(set(image.convert("L").tobytes())) > 20, "something is drawn"


def test_hand_made_axes_use_training_ratings_only():
    axes = runpy.run_path(str(MOVIES / "experiments" / "axes.py"))
    rated = {"a": list("1234567"), "b": list("7654321")}
    hand = axes["by_hand"](rated, {"a": {"age": 20}, "b": {"age": 40}})
    assert hand == {"1": (20, 1), "2": (20, 1), "3": (30, 2), "4": (30, 2), "5": (30, 2), "6": (40, 1), "7": (40, 1)}
    rows = axes["table"](rated)
    for row in rows:
        if row["split"] == "train":
            assert not {"a": {"6", "7"}, "b": {"1", "2"}}[row["user"]] & {*row["history"], *row["film"]}
            assert not set(row["history"]) & set(row["film"])
    assert next(row for row in rows if row["id"] == "dev a")["film"] == ["6"]


def test_names_never_overlap():
    from matplotlib.figure import Figure

    axes = runpy.run_path(str(MOVIES / "experiments" / "axes.py"))
    panel = Figure(figsize=(6, 6)).add_subplot()
    panel.set(xlim=(0, 1), ylim=(0, 1))
    points = np.random.default_rng(0).random((200, 2)).tolist()
    axes["write_names"](panel, points, [f"The film with number {n}" for n in range(200)], LIGHT)
    boxes = [label.get_window_extent() for label in panel.texts]
    assert 10 < len(boxes) <= axes["LABELS"]
    assert not any(entry.overlaps(second) for at, entry in enumerate(boxes) for second in boxes[:at])


@pytest.fixture
def likes(tmp_path):
    """A table of likes: two kinds of users, who like every other film each."""
    rng, rows = np.random.default_rng(0), []
    for n in range(40):
        films = [f"f{2 * film + n % 2}" for film in rng.permutation(8)]
        split = ["train", "train", "train", "dev"][n // 2 % 4]
        rows.append({"id": f"u{n}", "split": split, "history": films[:6], "film": films[6:]})
    rows += [{"id": f"film {n}", "split": "films", "film": [f"f{n}"]} for n in range(16)]
    (tmp_path / "likes").mkdir()
    (tmp_path / "likes" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "likes"


def select_results(lines):
    """The lines of the table of dimensions, without those of `fit`."""
    return [line for line in lines if line.split()[1:2] in (["of"], ["alone"])]


@pytest.mark.slow
def test_dimensions_skips_finished_runs(script, likes, tmp_path, capsys):
    out = tmp_path / "out"
    tiny = ["-c", "tiny"]
    (out / "alone-15").mkdir(parents=True)
    (out / "alone-15" / "last.ckpt").write_bytes(b"half a run")  # stopped: it is done from its start
    printed = script("experiments/dimensions", likes, out, *tiny).splitlines()
    printed = select_results(printed)
    kinds = [" ".join(line.split()[:2]) for line in printed]
    nested, alone = (4, 8, 16, 32, 64), (4, 15, 26, 35, 128, 512)
    assert kinds == [*(f"{dim} of" for dim in nested), *(f"{dim} alone" for dim in alone)]
    with Image.open(out / "dimensions.png") as image:
        assert image.format == "PNG" and len(set(image.convert("L").tobytes())) > 20
    model = ["evaluate", out / "nested", likes, "--query", "history", "--target", "film", "--split", "dev"]
    model += ["--candidates-split", "films", "--exclude", "history", "--k", "10", "--json", "--dim"]
    for entry in json.loads((out / "nested" / "finished.json").read_text()):
        assert main([str(word) for word in [*model, entry["dim"]]]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["recall@10"] == entry["dev"], "`evaluate` cuts alike"
    assert main([str(word) for word in [*model, 65]]) == 2
    assert "must be between 1 and 64" in capsys.readouterr().err
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/*.ckpt")}
    (out / "alone-26" / "finished.json").unlink()
    again = script("experiments/dimensions", likes, out, *tiny).splitlines()
    changed = {path.parent.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {"alone-26"} and select_results(again)[:7] == printed[:7]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_plots_take_the_theme(theme, tmp_path, monkeypatch):
    monkeypatch.setenv(THEME, "dark" if theme is DARK else "light")
    dimensions, axes = (runpy.run_path(str(MOVIES / "experiments" / f"{name}.py")) for name in ("dimensions", "axes"))
    entry = {"dev": {"value": 0.2, "low": 0.1, "high": 0.3}, "train": {"value": 0.4}, "seconds": 3}
    entries = [{**entry, "dim": dim, "nested": nested} for nested in (True, False) for dim in (4, 8)]
    dimensions["draw"](entries, tmp_path / "dimensions.png")
    films = {name: {"title": f"For ${name}$", "year": 1990 + number} for number, name in enumerate("abc")}
    points = {name: (float(number), 30.0 + number) for number, name in enumerate("abc")}
    panel = {"title": "By hand", "points": points, "x": "age", "y": "ratings", "log": False}
    axes["draw"](tmp_path / "axes.png", [panel, panel], films, Counter(dict.fromkeys("abc", 30)))
    for name in ("dimensions", "axes"):
        with Image.open(tmp_path / f"{name}.png") as image:
            pixels = image.convert("RGB")
        colors = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in pixels.getcolors(1 << 24)}
        assert "#{:02X}{:02X}{:02X}".format(*pixels.getpixel((0, 0))) == theme.background and theme.text in colors


def test_an_unknown_theme_is_reported_before_training(script, hundred, likes, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(THEME, "grey")
    for name, source in (("experiments/axes", hundred), ("experiments/dimensions", likes)):
        with pytest.raises(SystemExit) as stop:
            script(name, source, tmp_path / "out")
        assert stop.value.code == 2 and "must be light or dark, got 'grey'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_matplotlib_is_reported_before_training(script, hundred, likes, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name, source in (("experiments/axes", hundred), ("experiments/dimensions", likes)):
        with pytest.raises(SystemExit) as stop:
            script(name, source, tmp_path / "out")
        message = capsys.readouterr().err
        assert stop.value.code == 2 and message.count("\n") == 1 and 'pip install "jointembed[map]"' in message
    assert not (tmp_path / "out").exists()


def test_mean_baselines_print_their_error(script, tmp_path, capsys):
    facts = {"user_mean": 0.5, "user_count": 1, "film_mean": -0.25, "film_count": 1, "near_films": 0.5, "near_users": 1}
    rows = [{"id": "a", "split": "train", "user": "u", "stars": 3}]
    rows += [{"id": f"t{n}", "split": "test", "user": f"u{n}", "stars": 4 + n % 2, **facts} for n in range(2)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    means, near = script("experiments/mean_baselines", tmp_path).splitlines()
    assert f"rmse {np.sqrt((0.75**2 + 1.75**2) / 2):.4f}" in means and "2 ratings" in means
    assert f"rmse {np.sqrt((0**2 + 1**2) / 2):.4f}" in near
    with pytest.raises(SystemExit):
        script("experiments/mean_baselines", tmp_path, "dev")
    assert "no row of dev has facts" in capsys.readouterr().err


def test_cold_baselines_print_their_recall(script, tmp_path):
    def about(n):
        return {"title": f"{'war' if n % 2 else 'love'} story {n}", "genres": ["War" if n % 2 else "Romance"],
                "year": "1990"}  # fmt: skip

    rows = [{"id": f"film {n}", "split": "films", "film": str(n), **about(n)} for n in range(20)]
    rows += [{"id": f"film {n}", "split": "cold", "item": [about(n)], **about(n)} for n in range(100, 300)]
    for user in range(6):
        # Those who watch wars are half as many, but only wars are watched again and again.
        watched = [str(n) for n in range(20) if n % 2 == user % 2]
        contents = [about(int(film)) for film in watched]
        viewer = {"history": watched, "titles": [entry["title"] for entry in contents],
                  "kinds": [entry["genres"][0] for entry in contents], "years": ["1990"] * len(contents)}  # fmt: skip
        target = [about(n) for n in range(100, 300) if n % 2 == user % 2]
        rows.append({"id": f"test {user}", "split": "test", "viewer": {**viewer, "years": [str(user)]}, "item": target})
        for copy in range(3 if user % 2 else 1):
            rows.append({"id": f"{user} {copy}", "split": "train", **viewer, "film": "1", **about(1)})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    content, popular, chance = script("experiments/cold_baselines", tmp_path).splitlines()
    assert "recall@50 1.0000" in content
    assert "recall@50 0.5000" in popular, "wars for everyone, which is right for half of them"
    assert "0.5000" in chance and "6 viewers, 200 films" in chance
