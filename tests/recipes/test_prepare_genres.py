"""The table of genres: every layout that it reads gives rows with the official splits, and counts what is absent."""

import csv
import gzip
import json
import math
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPT = Path(__file__).parents[2] / "recipes" / "genres" / "prepare.py"


@pytest.fixture
def prepare(monkeypatch, tmp_path, capsys):
    """Run the script; the rows that it wrote by their ids, and what it printed."""

    def run(*arguments):
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments), str(out)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
        assert all((out / row["audio"]).is_file() for row in rows if "audio" in row)
        return {row["id"]: row for row in rows}, capsys.readouterr().out

    return run


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800, np.float32), 8000, format="WAV")


def listed(path, lines, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)


def splits(rows):
    return Counter(row["split"] for row in rows.values())


def lists(folder):
    """Fault-filtered lists of ten clips, two genres; clip 4 of each is in none of them."""
    folder.mkdir()
    parts = {"train": (0, 1), "valid": (2,), "test": (3,)}
    for part, numbers in parts.items():
        names = [f"{genre}/{genre}.{number:05d}.wav" for genre in ("blues", "rock") for number in numbers]
        (folder / f"{part}_filtered.txt").write_text("\n".join(names) + "\n")
    return folder


def features(path, split=None):
    lines = [
        [
            "filename",
            "length",
            "tempo",
            "mfcc1_mean",
            "mfcc1_var",
            "label",
            *(["fault_filtered_split"] if split else []),
        ]
    ]
    for genre in ("blues", "rock"):
        for number in range(5):
            lines.append([f"{genre}.{number:05d}.wav", 661794, 120 + number, -number, math.e**number, genre])
            lines[-1] += [split[number]] if split else []
    listed(path, lines)


def test_gtzan_features_take_their_split_from_the_lists(prepare, tmp_path):
    features(tmp_path / "gtzan" / "Data" / "features_30_sec.csv")
    rows, _ = prepare(tmp_path / "gtzan", lists(tmp_path / "lists"))
    assert splits(rows) == {"train": 4, "dev": 2, "test": 2} and "blues.00004" not in rows
    row = rows["rock.00003"]
    assert row["genre"] == "rock" and row["tempo"] == 123 and row["mfcc1_mean"] == -3
    assert row["mfcc1_var"] == pytest.approx(3)


def test_gtzan_features_with_a_split_column(prepare, tmp_path):
    folder = tmp_path / "packed"
    features(folder / "gtzan_features_30s.csv", ["train", "train", "valid", "train", "excluded"])
    path = folder / "gtzan_features_30s.csv"
    (folder / "gtzan_features_30s.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert splits(prepare(folder)[0]) == {"train": 6, "dev": 2}


def test_folds_test_every_clip_once(prepare, tmp_path):
    features(tmp_path / "gtzan_features_30s.csv", ["train", "train", "valid", "train", "valid"])
    tested = Counter()
    for fold in range(1, 6):
        rows, _ = prepare(tmp_path, "--fold", fold)
        assert splits(rows) == {"train": 8, "test": 2}
        tested.update(id for id, row in rows.items() if row["split"] == "test")
    assert len(tested) == 10 and set(tested.values()) == {1}


def test_gtzan_audio(prepare, tmp_path, capsys):
    for genre in ("blues", "rock"):
        for number in range(5):
            sound(tmp_path / "gtzan" / "genres_original" / genre / f"{genre}.{number:05d}.wav")
    (tmp_path / "gtzan" / "genres_original" / "rock" / "rock.00002.wav").unlink()
    with pytest.raises(SystemExit):
        prepare(tmp_path / "gtzan", "--audio")
    error = capsys.readouterr().err
    assert "train_filtered.txt" in error and "git clone" in error and error.count("\n") == 1
    rows, printed = prepare(tmp_path / "gtzan", lists(tmp_path / "lists"), "--audio")
    assert splits(rows) == {"train": 4, "dev": 1, "test": 2} and "1 listed files are missing" in printed
    assert rows["blues.00000"]["genre"] == "blues" and "features" not in rows["blues.00000"]


def test_fma(prepare, tmp_path):
    lines = [
        ["", "album", "artist", "set", "set", "track", "track"],
        ["", "title", "id", "split", "subset", "genre_top", "title"],
        ["track_id", "", "", "", "", "", ""],
    ]
    for number in range(10):
        split = ["training", "validation", "test"][number % 3]
        subset = "large" if number == 9 else "small"
        lines.append([number + 2, "An album,\nin two lines", 7, split, subset, "" if number == 8 else "Hip-Hop", "A"])
        if number != 7:
            sound(tmp_path / "fma" / "fma_small" / "000" / f"{number + 2:06d}.mp3")
    listed(tmp_path / "fma" / "fma_metadata" / "tracks.csv", lines)
    rows, printed = prepare(tmp_path / "fma")
    assert splits(rows) == {"train": 3, "dev": 2, "test": 2} and "1 listed files are missing" in printed
    assert rows["fma-2"]["genre"] == "Hip-Hop" and rows["fma-2"]["artist"] == "7"
    assert "fma-11" not in rows, "the small part knows nothing of the large one"


def test_jamendo(prepare, tmp_path):
    folder = tmp_path / "mtg-jamendo-dataset" / "data" / "splits" / "split-0"
    heading = "TRACK_ID ARTIST_ID ALBUM_ID PATH DURATION TAGS".split()
    numbers = {"train": range(214, 220), "validation": [220, 221], "test": [222, 223]}
    for part, these in numbers.items():
        tags = ["genre---punkrock", "genre---rock"]
        tracks = [[f"track_{n:07d}", "artist_000014", "album_1", f"{n % 100}/{n}.mp3", 124.6, *tags] for n in these]
        listed(folder / f"autotagging_genre-{part}.tsv", [heading, *tracks], "\t")
        for n in these:
            sound(tmp_path / "songs" / str(n % 100) / f"{n}.{'low.' if n % 2 else ''}mp3")
    (tmp_path / "songs" / "14" / "214.mp3").unlink()
    rows, printed = prepare(tmp_path / "mtg-jamendo-dataset", tmp_path / "songs")
    assert splits(rows) == {"train": 5, "dev": 2, "test": 2} and "1 listed files are missing" in printed
    assert rows["track_0000215"]["genre"] == ["punkrock", "rock"]
    assert rows["track_0000215"]["artist"] == "artist_000014"


def test_musiccaps(prepare, tmp_path):
    lines = [["ytid", "start_s", "end_s", "audioset_positive_labels", "aspect_list", "caption", "is_audioset_eval"]]
    for number in range(10):
        lines.append([f"-ab_{number}", 30, 40, "/m/04rlf", "['sad', 'slow']", f"A slow song {number}", number % 2 == 0])
        if number:
            sound(tmp_path / "audio" / f"-ab_{number}.wav")
    listed(tmp_path / "musiccaps-public.csv", lines)
    rows, printed = prepare(tmp_path)
    assert splits(rows) == {"test": 4, "train": 4, "dev": 1} and "1 listed files are missing" in printed
    assert rows["musiccaps--ab_1"]["caption"] == "A slow song 1" and rows["musiccaps--ab_2"]["split"] == "test"


def test_clotho(prepare, tmp_path):
    for part, count in (("development", 6), ("validation", 2), ("evaluation", 2)):
        lines = [["file_name", *(f"caption_{n}" for n in range(1, 6))]]
        for number in range(count):
            lines.append([f"Rain #{number}.wav", *(f"{part} {number}, {n}" for n in range(5))])
            sound(tmp_path / part / f"Rain #{number}.wav")
        listed(tmp_path / f"clotho_captions_{part}.csv", lines)
    rows, _ = prepare(tmp_path)
    assert splits(rows) == {"train": 6, "dev": 2, "test": 2}
    assert rows["clotho-evaluation-Rain #1"]["caption"] == [f"evaluation 1, {n}" for n in range(5)]
    assert len({row["audio"] for row in rows.values()}) == 10, "files of one name stay apart"


def test_song_describer(prepare, tmp_path):
    lines = [["caption_id", "track_id", "caption", "is_valid_subset", "familiarity", "artist_id", "album_id", "path"]]
    for number in range(10):
        track = 1004034 + number // 2
        lines.append([number, track, f"words {number}", number not in (1, 8, 9), 0, 1, 2, f"34/{track}.mp3"])
        sound(tmp_path / "audio" / "34" / f"{track}.2min.mp3")
    listed(tmp_path / "song_describer.csv", lines)
    rows, _ = prepare(tmp_path)
    assert splits(rows) == {"test": 4}, "a song without a checked caption is left out"
    assert rows["describer-1004034"]["caption"] == ["words 0"]
    assert rows["describer-1004035"]["caption"] == ["words 2", "words 3"]


@pytest.mark.parametrize("damage", ["nothing", "fold", "features", "unsplit", "tracks"])
def test_wrong_sources_are_reported_with_a_fix(damage, prepare, tmp_path, capsys):
    words = ["--fold", "6"] if damage == "fold" else []
    if damage == "features":
        listed(tmp_path / "features_30_sec.csv", [["filename", "tempo"], ["blues.00000.wav", "fast"]])
    if damage == "unsplit":
        features(tmp_path / "features_30_sec.csv")
    if damage == "tracks":
        listed(tmp_path / "fma_metadata" / "tracks.csv", [["track_id", "title"], ["2", "A"]])
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path, *words)
    error = capsys.readouterr().err
    assert stop.value.code == (5 if damage in ("features", "tracks") else 2) and error.count("\n") == 1
    names = {"fold": "--fold 6", "features": "features_30_sec.csv", "unsplit": "git clone", "tracks": "tracks.csv"}
    assert names.get(damage, "GB") in error and "Fix: " in error


@pytest.mark.real
def test_published_features(prepare, data):
    rows, _ = prepare(data / "tabular")
    assert splits(rows) == {"train": 443, "dev": 197} and len(rows["blues.00000"]) == 57 + len(["id", "split", "genre"])
