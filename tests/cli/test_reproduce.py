"""`jointembed reproduce` over a tiny table: its figures, its card, its resumption and its errors."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jointembed.__main__ import main
from jointembed.cli import processes, reproduce
from jointembed.evaluation.protocol import read_protocol

pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]

RECIPE = """\
# Words and their genres.
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: words, target: genre, candidates: all}}
  lr: 0.05
data: {batch_size: 8}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false}
"""
PREPARE = '''\
"""Words and genres."""
import json
from jointembed import recipe_tools

FETCH = "fetch words.json (1 kB, CC0) into data/words, then run prepare.py data/words out"

def main():
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--fold", type=int, default=0)
    (source,), out, options = arguments.read()
    rows = json.loads((source / "words.json").read_text())
    for number, row in enumerate(rows):
        row |= {"id": str(number), "split": "test" if number % 2 == options.fold - 1 else "train"}
    recipe_tools.write_rows(out, rows)

if __name__ == "__main__":
    recipe_tools.run_script(main)
'''
COUNT = """\
import pathlib, sys
texts = [pathlib.Path(table, "rows.jsonl").read_text() for table in sys.argv[1:]]
print("rows:", sum(text.count("\\n") for text in texts))
"""
PROTOCOL = """\
# Genres of words.
data: [elsewhere, words]
prepare: prepare.py --fold {fold}
recipe: genres
folds: [1, 2]
seeds: 2
figures:
  genre: {metric: recall@1, evaluate: --query words --target genre --split test}
  rows:
    metric: rows
    script: count.py {table}
    pattern: 'rows: (?P<value>\\d+)'
baseline: {name: all rows, script: 'count.py {tables}', pattern: 'rows: (?P<value>\\d+)', figure: rows}
published:
  - {name: a guess, value: 0.33, source: a die}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the protocol, its recipe and scripts, and the data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(reproduce.DATA, raising=False)
    for name, text in {
        "tiny/protocols/tiny.yaml": PROTOCOL,
        "tiny/genres.yaml": RECIPE,
        "tiny/prepare.py": PREPARE,
        "tiny/count.py": COUNT,
        "data/words/words.json": json.dumps(
            [{"words": f"{'slow sad fast'.split()[n % 3]} w{n % 4}", "genre": "xyz"[n % 3]} for n in range(24)]
        ),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


class Commands(list):
    """The words of the commands that ran; at the number `last` the process is killed."""

    last = 0


@pytest.fixture
def commands(monkeypatch, capsys):
    """Commands run in this process, which has loaded torch already."""
    commands = Commands()

    def run(words, capture=False):
        commands.append(words[1:])
        if len(commands) == commands.last:
            raise SystemExit(137)
        if words[1] == "-m":
            if code := main(words[3:]):
                raise SystemExit(code)
            return ""
        monkeypatch.setattr(sys, "argv", words[1:])
        before = capsys.readouterr().out
        runpy.run_path(words[1], run_name="__main__")
        output = capsys.readouterr().out
        print(before + output)
        return output

    monkeypatch.setattr(processes, "run_process", run)
    return commands


PATH = "tiny/protocols/tiny.yaml"
RUN = ["reproduce", PATH, "--data", "data", "--out", "out"]


def test_each_seed_and_fold_is_measured_once_and_joined(place, commands, capsys):
    assert main([*RUN, "--baseline"]) == 0
    printed = capsys.readouterr().out
    # A preparation and a script, which reads only the table, for each fold; a training and an evaluation for each seed
    # and fold; the baseline.
    assert len(commands) == 2 * 2 + 2 * 4 + 1
    assert "jointembed fit -c" in printed and "prepare.py data/words" in printed
    assert "--seed_everything 1 --data.seed 1" in printed, "the order of rows and augmentation differ between seeds too"
    card = json.loads((place / "out" / "tiny.json").read_text())
    assert card["seed_keys"] == ["seed_everything", "data.seed"]
    values = []
    for seed in "01":
        folds = [json.loads((place / f"out/cards/{seed}-{fold}.genre.json").read_text()) for fold in "12"]
        assert folds[0]["seeds"]["training"] == int(seed)
        values.append(sum(fold["metrics"]["recall@1"]["value"] for fold in folds) / 2)
        figure = card["figures"]["genre"]["seeds"][seed]
        assert figure["value"] == pytest.approx(values[-1]) and figure["low"] <= figure["value"] <= figure["high"]
    assert card["figures"]["rows"]["seeds"]["0"] == {"value": 24, "low": None, "high": None, "folds": [24, 24]}
    assert card["baseline"] == {"name": "all rows", "figure": "rows", "values": [48]}
    assert len(card["models"]["1"]) == 2 and card["versions"]["torch"] and card["machine"]["cores"]
    row = f"{min(values):.4f} - {sum(values) / 2:.4f} - {max(values):.4f}"
    assert (
        row in printed
        and "published: a guess" in printed
        and "a guess: a die" in printed
        and "no figure is kept yet" in printed
    )
    count = len(commands)
    assert main(RUN) == 0 and len(commands) == count, "all of it is there already"


@pytest.mark.parametrize("last", [9, 10], ids=["before a training", "between a training and its evaluation"])
def test_a_run_that_was_killed_between_seeds_goes_on(place, commands, last):
    commands.last = last
    with pytest.raises(SystemExit):
        main(RUN)
    cards = {path.name: path.stat().st_mtime_ns for path in (place / "out" / "cards").iterdir()}
    assert "0-2.genre.json" in cards and "1-1.genre.json" not in cards
    assert not (place / "out" / "tiny.json").exists()
    assert main(RUN) == 0
    assert len(commands) == last + 3 * 2
    assert all((place / "out" / "cards" / name).stat().st_mtime_ns == time for name, time in cards.items())


def test_made_up_data_need_no_folder_and_a_figure_may_have_a_table_of_its_own(place, commands, capsys):
    prepare = PREPARE.replace("    (source,), out, options = arguments.read()\n", "").replace(
        "    rows = json.loads",
        "    from pathlib import Path\n    source, options = Path('data/words'), arguments.parse_intermixed_args()\n"
        "    out = Path(options.places[0])\n    rows = json.loads",
    )
    more = "    (out / 'few.jsonl').write_text(''.join(json.dumps(row) + '\\n' for row in rows[:8]))\n"
    (place / "tiny/prepare.py").write_text(prepare.replace("(out, rows)\n", f"(out, rows)\n{more}"))
    few = "  few: {metric: recall@1, evaluate: --query words --target genre --split test, table: few.jsonl}\n"
    text = PROTOCOL.replace("data: [elsewhere, words]\n", "").replace("figures:\n", f"figures:\n{few}")
    (place / PATH).write_text(text)
    assert main(["reproduce", PATH, "--out", "out", "--seeds", "1"]) == 0
    figures = json.loads((place / "out" / "tiny.json").read_text())["figures"]
    assert figures["few"]["data"][0]["table"] != figures["genre"]["data"][0]["table"]
    assert figures["few"]["queries"] < figures["genre"]["queries"]


def test_figures_of_one_script_share_a_run_of_it(place, commands):
    again = "  rows-again:\n    metric: rows\n    script: count.py {table}\n    pattern: '(?P<value>\\d+)'\n"
    (place / PATH).write_text(PROTOCOL.replace("baseline:", f"{again}baseline:"))
    assert main([*RUN, "--seeds", "1"]) == 0
    card = json.loads((place / "out" / "tiny.json").read_text())
    assert card["figures"]["rows-again"]["seeds"] == card["figures"]["rows"]["seeds"]
    assert sum(words[0].endswith("count.py") for words in commands) == 2, "once for each fold"


def keep(place, change=None):
    """Keep the card that was written beside the recipe, changed by a function of its figures."""
    card = json.loads((place / "out" / "tiny.json").read_text())
    if change:
        change(card["figures"])
    (place / "tiny" / "cards").mkdir(exist_ok=True)
    (place / "tiny" / "cards" / "tiny.json").write_text(json.dumps(card))


def test_figures_are_compared_with_the_kept_ones(place, commands, capsys):
    assert main(RUN) == 0
    keep(place)
    assert main(RUN) == 0
    assert "genre: agrees" in (printed := capsys.readouterr().out) and "seed by seed the same figures" in printed

    def shift(figures):
        for seed in figures["genre"]["seeds"].values():
            seed |= {"value": 0.0, "low": 0.0, "high": 0.01}

    keep(place, shift)
    assert main(RUN) == 1
    error = capsys.readouterr().err
    assert "genre: disagrees: " in error and "is outside the intervals of the kept seeds, 0.0000 - 0.0100" in error
    keep(place, lambda figures: figures["genre"]["data"][1].update(cells="another"))
    assert main(RUN) == 0
    assert "genre: not comparable: other rows" in capsys.readouterr().out


def test_the_folder_of_another_protocol_is_refused(place, commands, capsys):
    assert main([*RUN, "--seeds", "1"]) == 0
    (place / PATH).write_text(PROTOCOL.replace("recall@1", "map"))
    count = len(commands)
    assert main(RUN) == 2 and len(commands) == count
    assert "out: it holds figures of another protocol" in capsys.readouterr().err


def test_a_metric_that_is_not_measured_is_named_with_its_key(place, commands, capsys):
    (place / PATH).write_text(PROTOCOL.replace("recall@1", "recal@1"))
    assert main([*RUN, "--seeds", "1"]) == 2
    assert (
        "tiny.yaml: figures.genre.metric: recal@1 is not measured. Fix: did you mean recall@1?"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data: the folder of the data is missing, which holds elsewhere. Fix: fetch words.json (1 kB, CC0)"),
        (
            ["--data", "tiny"],
            "tiny/elsewhere: the folder does not exist. Fix: fetch words.json (1 kB, CC0) into tiny/words",
        ),
        (["--data", "data", "--seeds", "0"], "--seeds: must be at least 1, got 0"),
    ],
)
def test_missing_data_and_wrong_options_are_one_line(place, commands, capsys, words, message):
    assert main(["reproduce", PATH, *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error and not commands


@pytest.mark.parametrize(
    ("name", "source"),
    [("notes-tunes", "nottingham-dataset"), ("notes-chorales", "jsb-chorales"), ("homes-ames", "AmesHousing.csv")],
)
def test_of_several_data_sets_of_a_script_the_missing_one_is_named(name, source, tmp_path, capsys):
    assert main(["reproduce", name, "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert source in error and "; or" not in error and f"then run jointembed reproduce {name}" in error


def test_the_variable_names_the_folder_of_the_data(place, commands, monkeypatch):
    monkeypatch.setenv(reproduce.DATA, "data")
    assert main(["reproduce", PATH, "--out", "out", "--seeds", "1"]) == 0


def test_an_unknown_name_gets_a_suggestion(capsys):
    assert main(["reproduce", "mnist3d"]) == 2
    assert "mnist3d: this protocol does not exist. Fix: did you mean mnist-3d?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("recipe: genres\n", "", "tiny.yaml: the key recipe is missing"),
        ("recipe: genres", "recipe: genre", "recipe: "),
        ("seeds: 2", "seed: 2", "tiny.yaml: seed: unknown key. Fix: did you mean seeds?"),
        ("seeds: 2", "seeds: two", "tiny.yaml: seeds: must be a whole number, got 'two'"),
        ("seeds: 2", "seeds: 0", "tiny.yaml: seeds: must be at least 1"),
        ("folds: [1, 2]", "folds: {1: 2}", "tiny.yaml: folds: must be a list"),
        ("metric: recall@1, ", "", "tiny.yaml: figures.genre: the key metric is missing"),
        ("--split test}", "--splits test}", "tiny.yaml: figures.genre.evaluate: --splits: "),
        ("script: count.py", "script: counts.py", "tiny.yaml: figures.rows.script: "),
        ("count.py {table}", "count.py {tabel}", "figures.rows.script: {tabel} has no value. Fix: did you mean table?"),
        ("(?P<value>", "(", "tiny.yaml: figures.rows.pattern: it has no group named value"),
        ("value: 0.33", "value: third", "tiny.yaml: published.0.value: must be a number, got 'third'"),
        ("figure: rows}", "figure: row}", "tiny.yaml: baseline.figure: 'row' is not a figure. Fix: did you mean rows?"),
        ("data: [", "data: ]", "line "),
        ("seeds: 2", "seeds: 2\nseeds: 3", "seeds: the key occurs twice"),
    ],
)
def test_a_damaged_protocol_names_file_and_key(place, commands, capsys, old, new, message):
    (place / PATH).write_text(PROTOCOL.replace(old, new, 1))
    assert main(RUN) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "tiny.yaml" in error and "\n" not in error and not commands


def test_the_list_names_what_each_protocol_needs(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv(reproduce.DATA, str(tmp_path))
    assert main(["reproduce"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "mnist (absent)" in lines["mnist-3d"] and "knn@5" in lines["mnist-3d"]
    assert "made up" in lines["products-joint"]
    for name, path in reproduce._paths().items():
        assert read_protocol(path).about.removesuffix(".") in lines[name]


@pytest.mark.parametrize("path", reproduce._paths().values(), ids=lambda path: path.stem)
def test_a_packaged_protocol_asks_about_columns_of_its_recipe(path):
    protocol = reproduce._open(path)
    recipe = (protocol.folder / f"{protocol.recipe}.yaml").read_text("utf-8")
    for figure in protocol.figures.values():
        for column in re.findall(r"--(?:query|target) (\S+)", figure.evaluate):
            assert re.search(rf"\b{column}\b", recipe), column
    assert protocol.about and protocol.time


def test_the_protocol_of_audio_that_nobody_here_has_runs_on_an_imitation(commands, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = reproduce._paths()["genres-audio"].parents[1]
    shutil.copytree(folder, tmp_path / "genres")
    path = tmp_path / "genres" / "protocols" / "genres-audio.yaml"
    path.write_text(path.read_text() + "fit: -c tiny\nseeds: 1\n")
    for part, numbers in {"train": (0, 1, 2), "valid": (3,), "test": (4, 5)}.items():
        names = [f"{genre}/{genre}.{number:05d}.wav" for genre in ("blues", "rock") for number in numbers]
        listed = tmp_path / "data" / "lists" / "gtzan" / f"{part}_filtered.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(names))
        for name in names:
            sound = tmp_path / "data" / "gtzan" / "genres_original" / name
            sound.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 11025), 22050)
    assert main(["reproduce", str(path), "--data", "data", "--out", "out"]) == 0
    card = json.loads((tmp_path / "out" / "genres-audio.json").read_text())
    assert card["figures"]["genre"]["queries"] == [4] and card["figures"]["genre"]["pool"] == [2]
    assert "published: VGGish and linear SVM" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(place):
    (place / "tiny" / "genres.yaml").write_text(RECIPE.replace("max_epochs: 2", "max_epochs: 20000"))
    command = [sys.executable, "-m", "jointembed", *RUN, "--seeds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(main.__code__.co_filename).parents[1])}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not (place / "out" / "run-0-1" / "metrics.csv").is_file() and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        error = process.communicate()[1]
    assert process.returncode == 130, error
    assert "saving after this step" in error and "the same command goes on" in error and "Traceback" not in error
    assert (place / "out" / "run-0-1" / "last.ckpt").is_file()
