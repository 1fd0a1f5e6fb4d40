"""The table of captions: one row a picture, in the languages that the source holds, no row of a figure trained on."""

import gzip
from collections import Counter

import pytest
import yaml

from jointembed.cli.recipes import packaged_folder

SENTENCES = {"en": "A dog runs {}.", "de": "Ein Hund läuft {}.", "fr": "Un chien court {}."}


@pytest.fixture
def prepare(prepared, tmp_path):
    return lambda *arguments: prepared("languages", tmp_path / "out", *arguments, tmp_path / "out")


@pytest.fixture
def published(tmp_path):
    """Ten pictures in the layout of the repository: a packed file a split and language, a line a picture."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for split, count in [("train", 6), ("val", 2), ("test_2016_flickr", 2)]:
        for language, sentence in SENTENCES.items():
            text = "".join(f"{sentence.format(number)}\n" for number in range(count))
            (folder / f"{split}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "train.cs.gz").write_bytes(gzip.compress(b"Pes.\n"))
    return folder


def test_lines_of_all_languages_are_joined_by_number(prepare, published):
    rows = prepare(published)
    assert len(rows) == 10 and Counter(row["split"] for row in rows) == {
        "train": 5,
        "dev": 1,
        "val": 2,
        "test_2016_flickr": 2,
    }
    for row in rows:
        number = row["id"].rpartition("-")[2]
        assert {name: row[name] for name in SENTENCES} == {
            name: sentence.format(number) for name, sentence in SENTENCES.items()
        }


def test_halves_separate_german_and_french_in_training(prepare, published):
    rows = prepare(published, "--halves")
    train = [row for row in rows if row["split"] == "train"]
    assert len(train) == 5 and all("en" in row and ("de" in row) != ("fr" in row) for row in train)
    assert {"de" in row for row in train} == {True, False}
    assert all({"en", "de", "fr"} <= set(row) for row in rows if row["split"] != "train"), "dev chooses, val reports"
    recipe = yaml.safe_load((packaged_folder() / "languages" / "shared.yaml").read_text(encoding="utf-8"))
    pairs = [set(objective["init_args"].values()) for objective in recipe["model"]["objectives"]]
    assert pairs and all(any(pair <= set(row) for row in train) for pair in pairs), (
        "fit refuses an objective without one"
    )
    whole = prepare(published)
    assert [(row["id"], row["split"]) for row in rows] == [(row["id"], row["split"]) for row in whole]


def test_empty_lines_are_missing_cells(prepare, tmp_path):
    for language in ("en", "de"):
        lines = [SENTENCES[language].format(number) for number in range(10)]
        lines[3] = "" if language == "de" else lines[3]
        (tmp_path / f"train.{language}").write_text("\n".join(lines) + "\n", "utf-8")
    rows = prepare(tmp_path)
    assert len(rows) == 10 and "de" not in rows[3] and "en" in rows[3] and "fr" not in rows[0]


def test_wrong_source_is_reported_with_a_fix(prepare, published, tmp_path, capsys):
    def refused(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            prepare(*arguments)
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and stop.value.code
        return error

    assert all(sentence in refused() for sentence in ("multi30k/dataset", "60 MB", "for research", "task1/raw"))
    (tmp_path / "empty").mkdir()
    assert "train.en.gz is missing" in refused(tmp_path / "empty")
    (published / "train.fr.gz").write_bytes(gzip.compress(b"Un chien.\n"))
    assert "equally many" in refused(published) and "'fr': 1" in refused(published)
    (published / "train.fr.gz").write_bytes(b"no gzip")
    assert "train.fr.gz" in refused(published)


@pytest.mark.real
def test_published_captions(prepare, data):
    rows = prepare(data / "multi30k")
    assert Counter(row["split"] for row in rows) == {"train": 28033, "dev": 967, "val": 1014}
    assert all({"en", "de", "fr"} <= set(row) for row in rows)
