"""A recipe that is made of a table runs unedited, and rows without a split are split alike wherever they are read."""

import json

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

from jointembed import Index, Space, TableData
from jointembed.__main__ import main
from jointembed.data.rows import Rows
from jointembed.data.trained import open_as_trained

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

COUNT = 40
rng = np.random.default_rng(0)


def sounds(folder):
    """Rows, and what the recipe must do with them."""
    rows = []
    for number in range(COUNT):
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, 4000 * (1 + number % 2)), 8000)
        caption = ["a slow tune in A minor", f"take {number}"] if number % 2 else f"a fast tune, take {number}"
        rows.append(
            {"audio": f"{number}.wav", "caption": caption, "genre": "xyz"[number % 3], "artist": f"p{number // 4}"}
        )
    return rows, {"audio -> caption", "audio -> genre", "caption -> genre", "audio -> artist"}


def bitmaps(folder):
    rows = [{"bitmap": (rng.random(784) * 255).astype(int).tolist(), "digit": n % 10} for n in range(COUNT)]
    return rows, {"bitmap -> digit"}


def pictures(folder):
    for number in range(COUNT):
        Image.fromarray((rng.random((20, 24)) * 255).astype(np.uint8)).save(folder / f"{number}.png")
    return [{"picture": f"{n}.png", "words": f"dots, number {n} of many"} for n in range(COUNT)], {"picture -> words"}


def homes(folder):
    rows = [{"words": f"house {n} near the {'sea' if n % 2 else 'wood'}", "rooms": 1 + n % 6, "area": 30.5 + n,
             "price": 100.0 + n} for n in range(COUNT)]  # fmt: skip
    return rows, {"item -> price"}


def films(folder):
    rows = [{"user": f"u{n}", "films": [f"f{(n + k) % 12}" for k in range(4 + n % 3)]} for n in range(COUNT)]
    return rows, {"films -> next"}


def users(folder):
    rows = [{"user": n % 10, "films": [(n + k) % 300 for k in range(4 + n % 3)]} for n in range(COUNT)]
    return rows, {"user -> films", "films -> next"}


def ratings(folder):
    return [{"user": n % 10, "film": n % 7, "rating": 1 + n % 5} for n in range(COUNT)], {"item -> rating"}


def pairs(folder):
    return [{"user": n % 10, "film": n % 7} for n in range(COUNT)], {"user -> film"}


def languages(folder):
    return [{"en": f"dog number {n} runs", "de": f"Hund Nummer {n} rennt"} for n in range(COUNT)], {"en -> de"}


def features(folder):
    rows = [{"label": "ab"[n % 2], "first": n + 0.5, "second": n * 1.5 + 0.1} for n in range(COUNT)]
    return rows, {"facts -> label"}


def awkward(folder):
    """Names that YAML, torch and dots make trouble of."""
    rows = [{"on": "xyz"[n % 3], "type": "kl"[n % 2], "a b: c": "uvw"[n % 3], "no.dot": n + 0.5,
             "items": [f"i{n % 9}", f"i{n % 5}"], "caption": f"all words of {n}"} for n in range(COUNT)]  # fmt: skip
    return rows, {"caption -> on", "caption -> type", "caption -> a b: c", "caption -> items"}


def written(folder, rows):
    rows = [{"id": f"r{number}", **row} for number, row in enumerate(rows)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def targets(recipe):
    calls = [call["init_args"] for call in recipe["model"]["objectives"]]
    return {f"{call.get('query', call.get('history'))} -> {call.get('target', 'next')}" for call in calls}


TABLES = [sounds, bitmaps, pictures, homes, films, users, ratings, pairs, languages, features, awkward]


@pytest.mark.parametrize("make", TABLES, ids=[make.__name__ for make in TABLES])
def test_a_recipe_of_a_table_runs_unedited_and_says_why(make, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table").mkdir()
    rows, expected = make(tmp_path / "table")
    written(tmp_path / "table", rows)
    assert main(["init", "table"]) == 0, capsys.readouterr().err
    text = (tmp_path / "my.yaml").read_text()
    recipe = yaml.safe_load(text)
    assert targets(recipe) == expected and recipe["data"]["group"] == "id"
    objectives = [line for line in text.splitlines() if line.startswith("    - class_path: ")]
    assert objectives and all("  # " in line for line in objectives), "each has its reason"
    assert main(["fit", "-c", "my.yaml", "-c", "tiny", "--trainer.check_val_every_n_epoch", "1"]) == 0, (
        capsys.readouterr().err
    )
    assert "no column split, split by id: train" in capsys.readouterr().err
    model = Space.load(tmp_path / "runs" / "my")
    assert model.dim == recipe["model"]["dim"] >= (64 if make in (sounds, pictures, languages) else 8)


def test_a_recipe_knows_rates_lengths_and_shapes_from_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{**sound, **picture, "tempo": 60.5 + n} for n, (sound, picture) in enumerate(
        zip(sounds(tmp_path)[0], pictures(tmp_path)[0], strict=True))]  # fmt: skip
    written(tmp_path, rows)
    assert main(["init", str(tmp_path), "--out", "a.yaml"]) == 0
    encoders = yaml.safe_load((tmp_path / "a.yaml").read_text())["model"]["encoders"]
    log_mel = encoders["audio"]["init_args"]["reader"]["init_args"]
    assert log_mel["sample_rate"] == 8000 and log_mel["seconds"] == pytest.approx(0.75, abs=0.06)
    assert encoders["picture"]["init_args"]["reader"]["init_args"]["shape"] == [20, 24]
    assert "audio -> tempo" in targets(yaml.safe_load((tmp_path / "a.yaml").read_text())), (
        "a number named like a target"
    )


def test_titles_are_not_matched_with_sounds_and_every_trained_pair_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            **row,
            "title": f"{'Amber Copper Silent Golden'.split()[n % 4]} Garden {n}",
            "split": ["train", "dev"][n % 5 == 4],
        }
        for n, row in enumerate(sounds(tmp_path)[0])
    ]
    soundfile.write(tmp_path / "long.wav", np.zeros(8000 * 12), 8000)
    rows = [{**row, "audio": "long.wav"} if n % 3 else row for n, row in enumerate(rows)]
    written(tmp_path, rows)
    assert main(["init", ".", "--out", "a.yaml"]) == 0
    text = (tmp_path / "a.yaml").read_text()
    recipe = yaml.safe_load(text)
    assert targets(recipe) == {"audio -> caption", "audio -> genre", "caption -> genre", "audio -> artist"}
    assert "# left out: title: " in text and "describe nothing" in text
    evaluated = [call["init_args"] for call in recipe["trainer"]["callbacks"]]
    assert [(call["query"], call["target"]) for call in evaluated] == [
        ("audio", "caption"),
        ("audio", "genre"),
        ("audio", "artist"),
    ]
    assert recipe["model"]["encoders"]["audio"]["init_args"]["reader"]["init_args"]["seconds"] == 6.0
    news = [
        {"title": f"Minister {n} says that prices of bread and milk rise", "genre": "ab"[n % 2]} for n in range(COUNT)
    ]
    written(tmp_path, news)
    assert main(["init", ".", "--out", "b.yaml"]) == 0
    assert targets(yaml.safe_load((tmp_path / "b.yaml").read_text())) == {"title -> genre"}


def test_unusable_columns_are_left_out_with_their_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"caption": f"some words about {n}", "genre": "ab"[n % 2], "gone": f"no/{n}.wav", "same": "x",
             "serial": f"s{n}", "year": 1900 + n, "empty": None} for n in range(COUNT)]  # fmt: skip
    written(tmp_path, rows)
    assert main(["init", str(tmp_path)]) == 0
    text = (tmp_path / "my.yaml").read_text()
    left = dict(line.removeprefix("# left out: ").split(": ", 1) for line in text.splitlines() if "# left out" in line)
    assert set(left) == {"gone", "same", "serial", "year", "empty"}
    assert "40 of 40 sound files are missing, such as no/0.wav" in left["gone"] and "same" in left["same"]


def test_init_keeps_what_is_there_and_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, languages(tmp_path)[0])
    (tmp_path / "my.yaml").write_text("mine")

    def refused(*words):
        assert main(["init", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "Fix: " in error
        return error

    assert "--force" in refused(".") and (tmp_path / "my.yaml").read_text() == "mine"
    assert main(["init", ".", "--force"]) == 0 and "model:" in (tmp_path / "my.yaml").read_text()
    assert "did you mean id" in refused(".", "--out", "b.yaml", "--group", "idd")
    assert "b.yaml" in refused(".", "--out", "b.txt")
    (tmp_path / "alone.jsonl").write_text('{"id": "1", "caption": "a b c d"}\n{"id": "2", "caption": "e f g h"}\n')
    assert "could be matched" in refused("alone.jsonl", "--out", "b.yaml")
    (tmp_path / "bare.csv").write_text("caption,genre\na b c d,x\n")
    assert "no column id" in refused("bare.csv", "--out", "b.yaml")
    (tmp_path / "ready.csv").write_text("id,split,caption,genre\n1,train,a b c d,x\n2,train,b c d f,x\n")
    assert "leave --group out" in refused("ready.csv", "--out", "b.yaml", "--group", "genre")


def test_rows_of_one_group_stay_together_in_training_and_in_the_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"caption": f"song {n} of the kind {'xyz'[n % 3]}", "genre": "xyz"[n % 3], "artist": f"artist {n // 3}"}
            for n in range(120)]  # fmt: skip
    written(tmp_path, rows)
    assert main(["init", ".", "--group", "artist"]) == 0
    recipe = yaml.safe_load((tmp_path / "my.yaml").read_text())
    assert recipe["data"]["group"] == "artist" and targets(recipe) == {"caption -> genre"}
    assert main(["fit", "-c", "my.yaml", "-c", "tiny", "--trainer.default_root_dir", "run"]) == 0
    capsys.readouterr()
    rows_seen = open_as_trained(".", "run")
    splits = rows_seen.cells("split")
    assert set(splits) == {"train", "dev", "test"} and 0.6 < splits.count("train") / 120 < 0.95
    where = {}
    for artist, split in zip(rows_seen.cells("artist"), splits, strict=True):
        assert where.setdefault(artist, split) == split
    data = TableData(".", group="artist")
    assert [splits.count(call) for call in ("train", "dev", "test")] == [
        len(data.numbers(call)) for call in ("train", "dev", "test")
    ]
    assert main(["evaluate", "run", ".", "--query", "caption", "--target", "genre", "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["queries"] == splits.count("test")
    assert main(["index", "run", ".", "all.index", "--column", "caption"]) == 0
    assert main(["index", "run", ".", "test.index", "--column", "caption", "--split", "test"]) == 0
    with Index.open("all.index") as whole, Index.open("test.index") as part:
        assert len(whole) == 120 and len(part) == splits.count("test")


def test_a_split_of_the_table_comes_before_any_group(tmp_path):
    rows = [{"id": "a", "split": "test", "host": "x"}, {"id": "b", "split": "train", "host": "x"}]
    assert TableData(rows, group="host").numbers("train").tolist() == [1]
    assert len(TableData([{"id": "a"}, {"id": "b"}]).numbers("train")) == 2, "without a group all rows are trained on"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_splits_by_a_group_do_not_depend_on_the_file_or_on_other_rows(kind, tmp_path):
    import pandas

    rows = [{"id": str(n), "host": f"h{n % 7}" if n % 5 else None} for n in range(60)]
    frame = pandas.DataFrame(rows)
    path = tmp_path / f"rows.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    whole = Rows.open(rows).with_split("host").cells("split")
    assert Rows.open(path).with_split("host").cells("split") == whole
    assert Rows.open(rows[:20]).with_split("host").cells("split") == whole[:20]
    assert len({split for row, split in zip(rows, whole, strict=True) if not row["host"]}) > 1, "by their ids"


def test_a_few_missing_sounds_are_reported_and_left_to_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"s{number}", "audio": f"{number}.wav", "genre": "ab"[number % 2]} for number in range(20)]
    for number in range(1, 20):
        soundfile.write(f"{number}.wav", np.sin(np.arange(4000) / (3 + number % 2)), 8000)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["init", "rows.jsonl", "--out", "r.yaml"]) == 0
    assert "1 of 20 sound files are missing, such as 0.wav" in capsys.readouterr().out
    assert "class_path: LogMel" in (tmp_path / "r.yaml").read_text()
