"""Every prepare script reads the public layout of its data and writes a table with an id and a split per row."""

import csv
import gzip
import json
import os
import runpy
import struct
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from PIL import Image

from jointembed import recipe_tools
from jointembed.demo import catalogue
from jointembed.errors import UsageError

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = ["mnist", "digits", "sounds", "songs"]
MISSING = {
    "mnist": "train-images-idx3-ubyte.gz",
    "digits": "train-images-idx3-ubyte.gz",
    "sounds": "meta/esc50.csv",
    "songs": "ABC_cleaned",
}


@pytest.fixture
def prepare(monkeypatch):
    """Run a prepare script in this process, and read back the table that it wrote."""

    def run(name, *arguments):
        script = RECIPES / name / "prepare.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        runpy.run_path(str(script), run_name="__main__")
        return read(
            next(argument for argument in arguments if isinstance(argument, Path) and argument.name.startswith("out"))
        )

    return run


def read(out):
    if (out / "rows.jsonl").exists():
        return [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
    table = pyarrow.parquet.read_table(out / "rows.parquet")
    # Some ten millions of pixels as Python's integers would take longer than all tests.
    return (table if len(table) < 10_000 else table.drop_columns("bitmap")).to_pylist()


def splits(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    return dict(Counter(row["split"] for row in rows))


def idx(path, array, pack=True):
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if pack else content)


@pytest.fixture
def mnist(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "mnist"
    for part, count in (("train", 10), ("t10k", 4)):
        idx(folder / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28), np.uint8))
        idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    return folder


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800, np.float32), 8000)


@pytest.fixture
def fsdd(tmp_path):
    for digit in range(2):
        for speaker in ("george", "theo"):
            for index in range(5):
                sound(tmp_path / "fsdd" / "recordings" / f"{digit}_{speaker}_{index}.wav")
    (tmp_path / "fsdd" / "README.md").write_text("spoken digits")
    return tmp_path / "fsdd"


@pytest.fixture
def esc(tmp_path):
    """Two categories in five folds; each second clip comes from the recording of the one before."""
    folder = tmp_path / "esc"
    clips = [
        (f"{fold}-{100 * number + fold}-{take}-{number}.wav", fold, number, category, ten, 100 * number + fold, take)
        for number, (category, ten) in enumerate([("dog", "True"), ("washing_machine", "False")])
        for fold in range(1, 6)
        for take in "AB"
    ]
    (folder / "meta").mkdir(parents=True)
    with open(folder / "meta" / "esc50.csv", "w", newline="") as file:
        csv.writer(file).writerows([("filename", "fold", "target", "category", "esc10", "src_file", "take"), *clips])
    for clip in clips[:-1]:
        sound(folder / "audio" / clip[0])
    return folder


def midi(path, *tracks):
    """A format 1 file of 1024 ticks a quarter; a track is [(pitch, ticks)], written with running status."""
    chunks = [b"MThd" + struct.pack(">LHHH", 6, 1, len(tracks), 1024)]
    for number, notes in enumerate(tracks):
        body = b"\0\xff\x03\x04name\0\xff\x58\x04\x04\x02\x18\x08" + bytes([0, 0xC0 + number, 5, 0, 0x90 + number])
        for pitch, ticks in notes:
            body += bytes([pitch, 90, 0x80 | ticks >> 7, ticks & 127, pitch, 0, 0])
        body = body[:-1] + b"\0\xff\x2f\0"
        chunks.append(b"MTrk" + struct.pack(">L", len(body)) + body)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(chunks))


@pytest.fixture
def nottingham(tmp_path):
    folder = tmp_path / "nottingham"
    (folder / "ABC_cleaned").mkdir(parents=True)
    tune = '\nX: {}\nT:{}\n% Nottingham Music Database\nS:Trad\nM:4/4\nL:1/8\nK:{}\nM:6/8\nP:A\n|:"G"c2|d2:|\n\n'
    titles = ["The Liverpool Reel", "The Liverpool Reel", *(f"Tune {letter}" for letter in "ABCDEF")]
    reels = [tune.format(number, title, "Bbm") for number, title in enumerate(titles, 1)]
    (folder / "ABC_cleaned" / "reelsa-c.abc").write_text("".join(reels))
    (folder / "ABC_cleaned" / "ashover.abc").write_text(tune.format(1, "Slip Jig", "G") + tune.format(2, "Lost", "G"))
    for name in ["ashover1", *(f"reelsa-c{number}" for number in range(1, 9))]:
        midi(folder / "MIDI" / f"{name}.mid", [(60, 1024), (108, 512)], [(21, 1024)])
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_missing_source_is_reported_with_what_to_fetch(name, prepare, capsys, tmp_path):
    for arguments in ([], [tmp_path]):
        with pytest.raises(SystemExit) as stop:
            prepare(name, *arguments)
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert error.count("\n") == 1
        assert "MB" in error and "data/" in error and ("CC BY" in error or "GPL" in error)


def test_script_runs_as_a_command(tmp_path, mnist):
    command = [sys.executable, RECIPES / "mnist" / "prepare.py"]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.startswith("error[E-USAGE]")
    subprocess.run([*command, mnist, tmp_path / "out"], check=True, capture_output=True)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_data_is_refused_with_the_missing_file(name, prepare, capsys, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(SystemExit) as stop:
        prepare(name, tmp_path / "other", tmp_path / "out")
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1 and MISSING[name] in error


def test_unknown_option_is_reported_in_one_line(prepare, capsys):
    with pytest.raises(SystemExit) as stop:
        prepare("sounds", "a", "out", "--fould", "1")
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_mnist(prepare, mnist, tmp_path, capsys):
    rows = prepare("mnist", mnist, tmp_path / "out")
    assert splits(rows) == {"train": 9, "dev": 1, "test": 4}
    assert "dev 1, test 4, train 9 rows" in capsys.readouterr().out
    assert list(rows[0]) == ["id", "split", "bitmap", "digit"]
    assert [row["digit"] for row in rows[10:]] == ["0", "1", "2", "3"]
    assert rows[0]["bitmap"] == np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8)[0].ravel().tolist()
    schema = pyarrow.parquet.read_schema(tmp_path / "out" / "rows.parquet")
    assert str(schema.field("bitmap").type).startswith("fixed_size_list<") and "uint8" in str(schema)


def test_mnist_may_be_unpacked_or_incomplete(prepare, tmp_path):
    folder = tmp_path / "source"
    idx(folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte", np.zeros((3, 28, 28), np.uint8), pack=False)
    idx(folder / "MNIST" / "raw" / "t10k-labels-idx1-ubyte", np.zeros(3, np.uint8), pack=False)
    assert splits(prepare("mnist", folder, tmp_path / "out")) == {"test": 3}


@pytest.mark.parametrize("cut", ["gone", "short", "other"])
def test_damaged_mnist_is_reported(cut, prepare, mnist, tmp_path, capsys):
    labels = mnist / "train-labels-idx1-ubyte.gz"
    if cut == "gone":
        labels.unlink()
    elif cut == "short":
        labels.write_bytes(labels.read_bytes()[:-12])
    else:
        labels.write_bytes(gzip.compress(b"no labels"))
    with pytest.raises(SystemExit) as stop:
        prepare("mnist", mnist, tmp_path / "out")
    error = capsys.readouterr().err
    assert stop.value.code == (2 if cut == "gone" else 5)
    assert error.count("\n") == 1 and labels.name in error
    assert not (tmp_path / "out" / "rows.parquet").exists()


def test_digits(prepare, mnist, fsdd, tmp_path):
    rows = prepare("digits", fsdd, mnist, tmp_path / "out", "--hold", "theo")
    assert splits(rows) == {"train": 9 + 9 + 3000, "dev": 1 + 1 + 30, "test": 4 + 10 + 30}
    written, spoken, spelt = (
        [row for row in rows if row[column] is not None] for column in ("bitmap", "speech", "word")
    )
    assert len(written) == 14 and len(spoken) == 20 and len(spelt) == 3060
    assert {row["split"] for row in spoken if row["speaker"] == "theo"} == {"test"}
    assert {row["split"] for row in spoken if row["speaker"] == "george"} == {"train", "dev"}
    assert all(row["id"][0] == row["digit"] and (tmp_path / "out" / row["speech"]).is_file() for row in spoken)
    assert {row["digit"] for row in spelt if row["word"] in ("sept", "sieben", "seven")} == {"7"}
    assert {len(row) for row in rows} == {8} and written[0]["speaker"] is None


def test_digits_without_hold_train_on_all_speakers(prepare, mnist, fsdd, tmp_path, capsys):
    rows = prepare("digits", mnist, fsdd, tmp_path / "out")
    assert splits([row for row in rows if row["speech"]]) == {"train": 18, "dev": 2}
    for arguments, word in ((["--hold", "teo"], "theo"), ([], "recordings/")):
        with pytest.raises(SystemExit):
            prepare("digits", mnist, *([fsdd] if arguments else []), tmp_path / "out", *arguments)
        assert word in capsys.readouterr().err


def test_sounds(prepare, esc, tmp_path, capsys):
    rows = prepare("sounds", esc, tmp_path / "out", "--fold", "2")
    assert "1 listed files are missing" in capsys.readouterr().out
    assert len(rows) == 19 and list(rows[0]) == ["id", "split", "audio", "caption", "category", "fold"]
    assert {row["fold"] for row in rows if row["split"] == "test"} == {2}
    assert {row["caption"] for row in rows} == {"the sound of dog", "the sound of washing machine"}
    assert all((tmp_path / "out" / row["audio"]).is_file() for row in rows)


def test_clips_of_one_recording_are_in_one_split(prepare, tmp_path):
    folder = tmp_path / "esc"
    folder.mkdir()
    clips = [(f"{number}.wav", 1, "dog", "True", number // 2, "a dog barking") for number in range(40)]
    with open(folder / "esc10.csv", "w", newline="") as file:
        csv.writer(file).writerows([("filename", "fold", "category", "esc10", "src_file", "caption"), *clips])
    for clip in clips:
        sound(folder / "audio" / clip[0])
    rows = prepare("sounds", folder, tmp_path / "out")
    assert splits(rows) == {"train": 36, "dev": 4}
    assert {row["caption"] for row in rows} == {"a dog barking"}
    assert len({int(row["id"]) // 2 for row in rows if row["split"] == "dev"}) == 2


def test_sounds_of_the_ten_classes(prepare, esc, tmp_path, capsys):
    assert {row["category"] for row in prepare("sounds", esc, tmp_path / "out", "--esc10")} == {"dog"}
    with pytest.raises(SystemExit):
        prepare("sounds", esc, tmp_path / "out", "--fold", "7")
    assert "use one of 1, 2" in capsys.readouterr().err


def test_composed_songs_are_those_of_the_demo(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(catalogue, "write", partial(catalogue.write, songs=10))
    monkeypatch.setattr(sys, "argv", ["compose.py", str(tmp_path / "out")])
    runpy.run_path(str(RECIPES / "songs" / "compose.py"), run_name="__main__")
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()]
    assert Counter(row["split"] for row in rows) == {"train": 7, "test": 2, "dev": 1}
    assert all((tmp_path / "out" / row["audio"]).is_file() for row in rows)
    assert "rows.jsonl: the table" in capsys.readouterr().out


def test_songs(prepare, nottingham, tmp_path, capsys):
    out = tmp_path / "out"
    rows = {row["id"]: row for row in prepare("songs", nottingham, out)}
    assert "1 listed files are missing" in capsys.readouterr().out
    assert sorted(rows) == ["ashover1", *(f"reelsa-c{number}" for number in range(1, 9))]
    reel, untyped = rows["reelsa-c1"], rows["ashover1"]
    assert reel["caption"] == "The Liverpool, in B flat minor, 6/8 time" and reel["title"] == "The Liverpool Reel"
    assert (reel["type"], reel["genre"], reel["key"], reel["meter"]) == ("reel", "reel", "Bbm", "6/8")
    assert untyped["caption"] == "A tune, in G major, 6/8 time"
    assert untyped["type"] == "ashover" and "genre" not in untyped
    assert reel["split"] == rows["reelsa-c2"]["split"], "variants stay together"
    assert {"train", "dev"} <= set(splits(list(rows.values())))
    roll = np.asarray(Image.open(out / reel["piano_roll"]))
    assert roll.shape == (88, 128) and roll.dtype == np.uint8
    assert (roll[108 - 60, :4] == 255).all() and (roll[0, 4:6] == 255).all() and (roll[87, :4] == 128).all()
    assert np.count_nonzero(roll) == 10
    samples, rate = soundfile.read(out / reel["audio"])
    assert (len(samples), rate) == (6 * 22050, 22050)
    assert np.abs(samples[:10000]).max() > 10 * np.abs(samples[-10000:]).max(), "it starts where the roll starts"


def test_songs_with_recordings(prepare, nottingham, tmp_path):
    rendered = tmp_path / "rendered"
    sound(rendered / "clips" / "ashover1.wav")
    (rendered / "rendered.csv").write_text("filename,id\nclips/ashover1.wav,ashover1\nclips/gone.wav,reelsa-c1\n")
    rows = prepare("songs", rendered, nottingham, tmp_path / "out")
    assert [row["audio"] for row in rows] == ["audio/ashover1.wav"]


def test_songs_keep_published_splits(prepare, tmp_path):
    (tmp_path / "packed").mkdir()
    with gzip.open(tmp_path / "packed" / "nottingham.jsonl.gz", "wt") as file:
        for number in range(10):
            tune = {"id": f"jigs{number}", "type": "jig", "title": f"T {number}", "key": "Am", "meter": "6/8"}
            split = "valid" if number < 3 else "train"
            file.write(json.dumps(tune | {"notes": [[0, 24, 69, 0]], "split": split}) + "\n")
    rows = prepare("songs", tmp_path / "packed", tmp_path / "out")
    assert splits(rows) == {"valid": 3, "train": 6, "dev": 1}
    assert {row["split"] for row in rows[:3]} == {"valid"}


def test_damaged_tune_is_named(prepare, nottingham, tmp_path, capsys):
    path = nottingham / "MIDI" / "reelsa-c3.mid"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SystemExit) as stop:
        prepare("songs", nottingham, tmp_path / "out")
    assert stop.value.code == 5 and "reelsa-c3.mid" in capsys.readouterr().err


def test_runs_write_equal_bytes(prepare, mnist, fsdd, esc, nottingham, tmp_path):
    for name, sources in (("mnist", [mnist]), ("digits", [mnist, fsdd]), ("sounds", [esc]), ("songs", [nottingham])):
        first, second = tmp_path / f"out-{name}-1", tmp_path / f"out-{name}-2"
        prepare(name, *sources, first)
        prepare(name, *reversed(sources), second)
        files = [path.relative_to(first) for path in sorted(first.rglob("*")) if path.is_file()]
        assert len(files) > (1 if name != "mnist" else 0)
        for file in files:
            assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_run_never_writes_into_its_source(prepare, nottingham, tmp_path):
    rendered, out = tmp_path / "rendered", tmp_path / "out"
    rendered.mkdir()
    soundfile.write(rendered / "ashover1.flac", np.zeros(800), 8000)
    (rendered / "rendered.csv").write_text("filename,id\nashover1.flac,ashover1\n")
    prepare("songs", rendered, nottingham, out)
    before = (rendered / "ashover1.flac").read_bytes()
    prepare("songs", nottingham, out)
    assert (rendered / "ashover1.flac").read_bytes() == before != (out / "audio" / "ashover1.flac").read_bytes()


def test_hash_fraction_is_even_and_fixed():
    shares = [recipe_tools.hash_fraction(str(number)) for number in range(1000)]
    assert shares == [recipe_tools.hash_fraction(str(number)) for number in range(1000)]
    assert 0 <= min(shares) and max(shares) < 1 and abs(np.mean(shares) - 0.5) < 0.03
    assert f"{recipe_tools.hash_fraction('0_george_1'):.6f}" == "0.624716"


def test_link_or_copy_links_or_copies(tmp_path, monkeypatch):
    source = tmp_path / "a.wav"
    source.write_bytes(b"sound")
    assert recipe_tools.link_or_copy(source, tmp_path / "out", "audio") == "audio/a.wav"
    assert (tmp_path / "out" / "audio" / "a.wav").samefile(source)

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    recipe_tools.link_or_copy(source, tmp_path / "other", "audio")
    assert (tmp_path / "other" / "audio" / "a.wav").read_bytes() == b"sound"
    assert not (tmp_path / "other" / "audio" / "a.wav").samefile(source)
    assert recipe_tools.link_or_copy(source, tmp_path, ".") == "./a.wav" and source.read_bytes() == b"sound"


def test_table_without_rows_is_refused(tmp_path):
    with pytest.raises(UsageError, match="3 listed files are missing"):
        recipe_tools.write_rows(tmp_path, [], skipped=3)


def test_repeated_source_is_refused(prepare, mnist, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        prepare("mnist", mnist, mnist, tmp_path / "out")
    assert stop.value.code == 2 and "not unique" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "sources", "counts"),
    [
        ("mnist", ["mnist"], {"test": 14}),
        ("digits", ["fsdd"], {"test": 50}),  # voices alone: written digits are needed for training only
        ("sounds", ["esc"], {"test": 19}),
        ("songs", ["nottingham"], {"test": 9}),
    ],
)
def test_table_of_test_rows_alone(name, sources, counts, prepare, tmp_path, request):
    rows = prepare(name, *map(request.getfixturevalue, sources), tmp_path / "out", "--split", "test")
    assert splits(rows) == counts


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "source", "counts"),
    [
        ("artists", "lastfm", {"test": 1876, "artists": 15495}),
        ("movies", "movielens/ml-1m-seq", {"test": 1065, "films": 3416}),
        ("homes", "tabular", {"test": 2814}),
        ("languages", "multi30k", {"test": 30014}),
        ("notes", "jsb", {"test": 382}),
        ("strokes", "mridangam", {"test": 1930}),
        ("genres", "tabular", {"test": 640}),
        ("reuse", "fsdd", {"test": 2000}),
    ],
)
def test_published_data_as_test_rows_alone(name, source, counts, prepare, data, tmp_path):
    assert splits(prepare(name, data / source, tmp_path / "out", "--split", "test")) == counts


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "sources", "options", "counts"),
    [
        pytest.param(
            "mnist", ["mnist"], [], {"train": 55000, "dev": 5000, "test": 10000}, marks=pytest.mark.slow, id="mnist"
        ),
        ("digits", ["mnist", "fsdd"], ["--hold", "lucas"], {"train": 62350, "dev": 2180, "test": 10530}),
        ("sounds", ["esc10"], ["--fold", "3"], {"train": 220, "dev": 20, "test": 80}),
        ("songs", ["nottingham", "rendered"], [], {"train": 654, "dev": 71, "valid": 108}),
    ],
)
def test_published_data(name, sources, options, counts, prepare, data, tmp_path):
    rows = prepare(name, *(data / source for source in sources), tmp_path / "out", *options)
    assert splits(rows) == counts
    paths = [row[column] for row in rows for column in ("audio", "speech", "piano_roll") if row.get(column)]
    assert all((tmp_path / "out" / path).is_file() for path in paths)
    if name == "songs":
        plain = {"train": set(), "dev": set(), "valid": set()}
        for row in rows:
            plain[row["split"]].add(row["title"].lower())
            assert not any(dance in row["caption"].lower() for dance in ("reel,", "jig", "hornpipe", "waltz"))
        assert not plain["train"] & plain["dev"] and not plain["train"] & plain["valid"]
        assert Counter(row["genre"] for row in rows if row["split"] == "valid" and "genre" in row).total() == 91
