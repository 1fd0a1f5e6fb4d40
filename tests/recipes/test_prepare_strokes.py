"""The table of the mridangam: strokes and tonics from the names of its files, whole tonics held out."""

from collections import Counter

import numpy as np
import pytest
import soundfile


@pytest.fixture
def prepare(prepared, tmp_path):
    return lambda *arguments: prepared("strokes", tmp_path / "out", *arguments, tmp_path / "out")


@pytest.fixture
def published(tmp_path):
    """Ten clips in the layout of the archive: a folder a tonic, a sharp spelt out in the names."""
    folder = tmp_path / "mridangam_stroke_1.5"
    for number in range(10):
        letter, tonic = [("B", "b"), ("C#", "csh")][number % 2]
        (folder / letter).mkdir(parents=True, exist_ok=True)
        name = f"{224030 + number}__akshaylaya__{['bheem', 'cha'][number // 5]}-{tonic}-{number + 1:03d}.wav"
        soundfile.write(folder / letter / name, np.zeros(800, np.float32), 8000)
    (folder / "B" / "_readme_and_license.txt").write_text("CC BY")
    return folder


def test_stroke_and_tonic_come_from_file_names(prepare, published, tmp_path):
    rows = prepare(published)
    assert len(rows) == 10 and list(rows[0]) == ["id", "split", "audio", "stroke", "tonic"]
    first = next(row for row in rows if row["id"] == "224030")
    assert (first["stroke"], first["tonic"]) == ("bheem", "b")
    assert Counter(row["tonic"] for row in rows) == {"b": 5, "csh": 5}
    assert Counter(row["split"] for row in rows) == {"train": 9, "dev": 1}
    assert all((tmp_path / "out" / row["audio"]).is_file() for row in rows)


def test_hold_and_dev_select_tonics(prepare, published):
    rows = prepare(published, "--hold", "csh")
    assert {row["tonic"] for row in rows if row["split"] == "test"} == {"csh"}
    assert Counter(row["split"] for row in rows) == {"train": 4, "dev": 1, "test": 5}
    rows = prepare(published, "--dev", "b")
    assert {row["tonic"] for row in rows if row["split"] == "train"} == {"csh"}
    assert {row["tonic"] for row in rows if row["split"] == "dev"} == {"b"}


def test_renamed_copies_are_read(prepare, tmp_path):
    folder = tmp_path / "copy" / "audio"
    folder.mkdir(parents=True)
    for number in range(10):
        soundfile.write(folder / f"thom-dsh-{224035 + number}.flac", np.zeros(800), 8000)
    assert {(row["stroke"], row["tonic"]) for row in prepare(tmp_path / "copy")} == {("thom", "dsh")}


@pytest.mark.parametrize("words", [["--hold", "d"], ["--dev", "h"], ["--hold", "b", "--dev", "b"], None])
def test_unknown_tonics_are_refused(words, prepare, published, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        prepare(*([tmp_path / "B"] if words is None else [published, *words]))
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert (
        ("zenodo.org" in error and "CC BY" in error and "MB" in error)
        if words is None
        else " ".join(words[-2:]) in error
    )


@pytest.mark.real
def test_published_strokes(prepare, data):
    rows = prepare(data / "mridangam", "--hold", "dsh")
    assert Counter(row["split"] for row in rows) == {"train": 1285, "dev": 143, "test": 502}
    assert len({row["stroke"] for row in rows}) == 9
