"""Notes: chorales and folk tunes, as they are published, and the figures of a frozen embedding of them."""

import csv
import gzip
import json
import runpy
import struct
import sys
from collections import Counter
from pathlib import Path

import lightning
import numpy as np
import pytest
import soundfile
from scipy.io import savemat

from jointembed import GRU, Category, EmbeddingBag, JointEmbedding, NextItem, TableData

RECIPE = Path(__file__).parents[2] / "recipes" / "notes"
CHORALES = {
    "train": [[[60, 64, 67], [], [59, 62]], [[48, 55]]],
    "valid": [[[43, 96], [72]]],
    "test": [[[50], [52], [53]]],
}


@pytest.fixture
def prepare(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare.py", *map(str, arguments)])
        runpy.run_path(str(RECIPE / "prepare.py"), run_name="__main__")
        out = next(item for item in arguments if isinstance(item, Path) and item.name.startswith("out"))
        return [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]

    return run


@pytest.fixture
def jsb(tmp_path):
    """As published, the voices of finer grids from above; and the benchmark's rolls, a column a key."""
    for name in ("json", "packed", "mat"):
        (tmp_path / name).mkdir()
    (tmp_path / "json" / "jsb-chorales-quarter.json").write_text(json.dumps(CHORALES))
    finer = {
        split: [[frame[::-1] for frame in item for _ in range(4)] for item in CHORALES[split]] for split in CHORALES
    }
    with gzip.open(tmp_path / "packed" / "jsb-chorales-16th.json.gz", "wt") as file:
        json.dump(finer, file)
    matrices = {}
    for split, listed in CHORALES.items():
        cells = np.empty((1, len(listed)), object)
        for number, chorale in enumerate(listed):
            cells[0, number] = np.array([[float(key + 21 in frame) for key in range(88)] for frame in chorale])
        matrices[f"{split}data"] = cells
    savemat(tmp_path / "mat" / "JSB_Chorales.mat", matrices)
    return tmp_path


def test_chorales_keep_splits_and_rests(prepare, jsb):
    rows = prepare(jsb / "json", jsb / "out")
    assert [(row["id"], row["split"]) for row in rows] == [
        ("train 0", "train"), ("train 1", "train"), ("valid 0", "dev"), ("test 0", "test")
    ]  # fmt: skip
    assert rows[0]["frames"] == [[60, 64, 67], [], [59, 62]] and "extra" not in rows[0]
    assert prepare(jsb / "mat", jsb / "out2") == rows
    [first, *_] = prepare(jsb / "packed", jsb / "out3", "--grid", "16th")
    assert first["frames"] == [frame for frame in rows[0]["frames"] for _ in range(4)]


def test_transposed_copies_are_extra_training_rows(prepare, jsb):
    plain, rows = prepare(jsb / "json", jsb / "out"), prepare(jsb / "json", jsb / "out2", "--transpose")
    extra = [row for row in rows if "extra" in row]
    assert [row for row in rows if "extra" not in row] == plain
    assert len(extra) == 22 and {row["split"] for row in extra} == {"train"}
    moved = {row["id"]: row["frames"] for row in extra}
    assert moved["train 0 -5"] == [[55, 59, 62], [], [54, 57]] and moved["train 1 +6"] == [[54, 61]]


def midi(path, notes):
    """Two tracks of 1024 ticks a quarter, melody [(pitch, ticks)] and one chord."""
    chunks = [b"MThd" + struct.pack(">LHHH", 6, 1, 2, 1024)]
    for track in (notes, [(48, 1024)]):
        body = b"".join(
            bytes([0, 0x90, pitch, 90, 0x80 | ticks >> 7, ticks & 127, 0x80, pitch, 0]) for pitch, ticks in track
        )
        body += b"\0\xff\x2f\0"
        chunks.append(b"MTrk" + struct.pack(">L", len(body)) + body)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(chunks))


@pytest.fixture
def nottingham(tmp_path):
    folder = tmp_path / "nottingham"
    (folder / "ABC_cleaned").mkdir(parents=True)
    tune = "X: {}\nT:Tune {}\nM:{}\nK:G\n|c2|\n\n"
    texts = {"jigs": "6/8", "ashover": "4/4"}
    for name, meter in texts.items():
        (folder / "ABC_cleaned" / f"{name}.abc").write_text("".join(tune.format(n, f"{name} {'abcde'[n]}", meter)
                                                                    for n in range(1, 5)))  # fmt: skip
        for number in range(1, 5):
            midi(folder / "MIDI" / f"{name}{number}.mid", [(67, 512), (69, 512), (71, 1024), (67, 512)] * 12)
    (folder / "MIDI" / "jigs4.mid").unlink()
    return folder


def test_tunes_are_rendered_with_their_next_note(prepare, nottingham, tmp_path, capsys):
    rows = {row["id"]: row for row in prepare(nottingham, tmp_path / "out")}
    assert len(rows) == 7 and "1 listed files are missing" in capsys.readouterr().out
    jig = rows["jigs1"]
    assert jig["notes"][:5] == ["start 12 0", "+2 12 12", "+2 24 24", "-4 12 48", "+0 12 60"]
    assert jig["notes"][5] == "+2 12 0", "a bar of 6/8 is 72 ticks"
    assert jig["type"] == "jig" and "type" not in rows["ashover1"]
    samples, rate = soundfile.read(tmp_path / "out" / jig["audio"])
    assert len(samples) == 6 * rate and jig["next"] in {"G", "A", "B"} and jig["last"] in {"G", "A", "B"}


def test_next_note_follows_the_tempo_of_the_clip(prepare, nottingham, tmp_path):
    clips = tmp_path / "rendered"
    (clips / "nottingham").mkdir(parents=True)
    speeds = {"jigs1": 100.0, "jigs2": 95.0, "jigs3": 300.0}
    with open(clips / "rendered.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["filename", "id", "bpm"])
        writer.writeheader()
        for name, speed in speeds.items():
            writer.writerow({"filename": f"nottingham/{name}.ogg", "id": name, "bpm": speed})
            soundfile.write(clips / "nottingham" / f"{name}.ogg", np.zeros(16000), 16000)
    rows = {row["id"]: row for row in prepare(nottingham, clips, tmp_path / "out")}
    # At 100 a minute six seconds are 240 ticks, that is four rounds of G A B G and no more; at 95 they are 228.
    assert (rows["jigs1"]["last"], rows["jigs1"]["next"]) == ("G", "G")
    assert (rows["jigs2"]["last"], rows["jigs2"]["next"]) == ("B", "G")
    assert "audio" in rows["jigs3"] and not {"last", "next"} & set(rows["jigs3"]), "the tune is over by then"
    assert "audio" not in rows["ashover1"] and "next" not in rows["ashover1"]


def test_stretches_are_extra_training_rows(prepare, nottingham, tmp_path):
    plain = prepare(nottingham, tmp_path / "out")
    rows = prepare(nottingham, tmp_path / "out2", "--stretches", "2")
    extra = [row for row in rows if "extra" in row]
    assert [row for row in rows if "extra" not in row] == plain
    assert len(extra) == 2 * sum(row["split"] == "train" for row in plain)
    assert {row["split"] for row in extra} == {"train"} and all("notes" not in row for row in extra)
    first, second = (soundfile.read(tmp_path / "out2" / row["audio"])[0] for row in extra[:2])
    assert len(first) == len(second) and abs(first - second).max() > 0.01


def test_baselines_of_the_next_note_are_printed(prepare, tmp_path, capsys):
    prepare(packed(tmp_path / "tunes", 20, 60), tmp_path / "out")
    output = capsys.readouterr().out.splitlines()[-1]
    assert (
        output.startswith("next pitch class in valid: the most frequent one 0.") and "the last one again 0." in output
    )


def packed(folder, count=60, length=24):
    """Jigs in threes and reels in twos, as one file with splits of its own."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with gzip.open(folder / "nottingham.jsonl.gz", "wt") as file:
        for number in range(count):
            jig, start, notes = number % 2, 0, []
            for _ in range(length):
                ticks = 12 if jig else int(rng.choice([24, 6]))
                notes.append([start, ticks, 60 + int(rng.integers(12)), 0])
                start += ticks
            tune = {"id": f"t{number}", "type": "jig" if jig else "reel", "title": f"Tune {number * 7919}", "key": "G",
                    "meter": "6/8" if jig else "4/4", "split": "valid" if number % 5 == 0 else "train",
                    "notes": notes}  # fmt: skip
            file.write(json.dumps(tune) + "\n")
    return folder


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_frozen_embedding_is_compared_with_histograms(prepare, tmp_path, monkeypatch, capsys):
    clips = tmp_path / "rendered"
    clips.mkdir()
    (clips / "rendered.csv").write_text("filename,id,bpm\nnone.ogg,t0,100\n")
    rows = prepare(packed(tmp_path / "tunes"), clips, tmp_path / "out")
    assert Counter(row["split"] for row in rows) == {"valid": 12, "train": 43, "dev": 5}
    lightning.seed_everything(0)
    model = JointEmbedding(
        16, {"notes": EmbeddingBag(Category())}, [NextItem("notes", "all")], pools={"notes": GRU(32, mean=True)}
    )
    trainer = lightning.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(model, TableData(rows, batch_size=16))
    model.save(tmp_path / "run.ckpt")
    monkeypatch.setattr(sys, "argv", ["frozen.py", str(tmp_path / "run.ckpt"), str(tmp_path / "out")])
    capsys.readouterr()
    runpy.run_path(str(RECIPE / "experiments" / "frozen.py"), run_name="__main__")
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "12 tunes of valid; always jig: 0.500" and len(output) == 9
    assert "histograms of intervals and durations, SVM: accuracy 1.000 (1.000 - 1.000)" in output
    assert sum("frozen embedding, 5-NN: balanced" in line for line in output) == 1


def test_missing_notes_are_reported_with_what_to_fetch(prepare, tmp_path, capsys):
    for arguments in ([], [tmp_path, tmp_path / "out"]):
        with pytest.raises(SystemExit) as stop:
            prepare(*arguments)
        output = capsys.readouterr().err
        assert stop.value.code == 2 and output.count("\n") == 1
        assert "jsb-chorales-quarter.json" in output and "MB" in output and "data/" in output and "GPL" in output
    (tmp_path / "jsb-chorales-quarter.json").write_text('{"train": [')
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path, tmp_path / "out")
    output = capsys.readouterr().err
    assert stop.value.code == 5 and output.count("\n") == 1 and "fetch it again" in output
