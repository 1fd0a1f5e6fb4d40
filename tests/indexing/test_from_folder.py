"""A folder of sound files and a table as an index, through the command, with real decoders and a small model."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from jointembed import BagOfWords, ConvNet, EmbeddingBag, Index, LogMel, Space
from jointembed.__main__ import main
from jointembed.cli.progress import FolderProgress, format_duration
from jointembed.indexing.from_folder import index_folder
from jointembed.indexing.index_encoder import IndexEncoder

RATE = 8000


def tone(seconds, seed):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * rng.uniform(100, 3000) * time) + rng.normal(0, 0.02, len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model of sounds and words: a vector is decided by the file alone, which is what is tested here."""
    torch.manual_seed(0)
    reader = LogMel(sample_rate=RATE, seconds=1.0, n_mels=16, n_fft=256, hop_length=80)
    words = BagOfWords()
    reader.fit([tone(2, 0)])
    words.fit(["slow waltz", "fast reel"])
    space = Space(8, {"audio": ConvNet(reader, [8, 16], 16), "caption": EmbeddingBag(words)})
    space.build()
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    space.save(path)
    return str(path)


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    (folder / "b").mkdir(parents=True)
    for number in range(6):
        end = ("wav", "flac", "ogg")[number % 3]
        soundfile.write(folder / ("b" if number > 3 else ".") / f"{number}.{end}", tone(1.5 + number, number), RATE)
    (folder / "cover.jpg").write_bytes(b"no sound")
    (folder / "broken.mp3").write_bytes(b"no sound either")
    (folder / "copy.wav").write_bytes((folder / "0.wav").read_bytes())
    return folder


def run(*words):
    """The command in this process: its exit code."""
    return main([str(word) for word in words])


def indexed(path):
    with Index.open(path) as index:
        ids, vectors = index.vectors()
        return dict(zip(ids, np.array(vectors), strict=True))


def test_folder_becomes_an_index_and_the_counts_add_up(model, music, tmp_path, capsys):
    index = tmp_path / "songs.index"
    assert run("index", model, music, index) == 0
    printed = capsys.readouterr().out
    assert "9 files = 6 indexed + 0 unchanged + 1 skipped + 1 duplicate + 1 unsupported" in printed
    assert f"jointembed skips {index}" in printed
    assert set(indexed(index)) == {"0.wav", "1.flac", "2.ogg", "3.wav", "b/4.flac", "b/5.ogg"}
    space = Space.load(model)
    for id, vector in indexed(index).items():
        cosine = float(vector @ space.embed("audio", [str(music / id)])[0])
        assert cosine >= 0.999, id  # not always the same bits: an index may be computed in int8 or bfloat16
    assert run("skips", index) == 0 and "broken.mp3" in capsys.readouterr().out
    assert run("verify", index) == 0
    assert run("index", model, music, index, "--strict") == 3


def test_several_folders_become_one_index(model, music, tmp_path, capsys):
    index, more, third = tmp_path / "songs.index", tmp_path / "more", tmp_path / "third"
    for number, folder in enumerate((more, third)):
        folder.mkdir()
        soundfile.write(folder / "0.wav", tone(2.0, 10 + number), RATE)
    assert run("index", model, music, more, index) == 0
    assert f"{index}: {more}: 1 files = 1 indexed" in capsys.readouterr().out
    assert run("index", model, third, index) == 0 and run("index", model, more, index) == 0
    assert {"0.wav", "more//0.wav", "third//0.wav", "b/5.ogg"} <= set(indexed(index))
    assert run("similar", index, "more//0.wav", "-k", 20, "--m3u", tmp_path / "a.m3u8") == 0
    assert {"third/0.wav", "music/0.wav"} <= set((tmp_path / "a.m3u8").read_text().splitlines())
    capsys.readouterr()
    assert run("index", model, music, more, music / "b", index) == 2
    assert "overlap" in capsys.readouterr().err
    assert run("index", model, music, tmp_path / "a.m3u8", index) == 2
    assert "one table, or of folders" in capsys.readouterr().err


@pytest.mark.parametrize("wordless", [False, True])
def test_a_second_run_loads_neither_model_nor_torch_and_decodes_nothing(model, wordless, music, tmp_path):
    index = tmp_path / "songs.index"
    if wordless:  # nor does it ask again for words that the model has not
        reader = Space.load(model).reader("audio")
        space = Space(8, {"audio": ConvNet(reader, [8, 16], 16)})
        space.build()
        model = str(tmp_path / "wordless.ckpt")
        space.save(model)
    assert run("index", model, music, index) == 0
    script = (
        "import sys; from jointembed.__main__ import main; code = main(sys.argv[1:]); "
        "print(code, 'torch' in sys.modules)"
    )
    words = [sys.executable, "-c", script, "index", model, str(music), str(index), "--profile"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "6 unchanged + 1 skipped + 1 duplicate" in done.stdout or "7 unchanged + 1 skipped" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 False")
    assert "decode" not in done.stdout.splitlines()[-2]


def count_embedded(monkeypatch):
    """A list that grows by an entry for each sound that a model reads."""
    embedded, read = [], LogMel.windows
    monkeypatch.setattr(LogMel, "windows", lambda *args: embedded.append(1) or read(*args))
    return embedded


def test_second_run_embeds_new_and_changed_files_only(model, music, tmp_path, capsys, monkeypatch):
    index = tmp_path / "songs.index"
    assert run("index", model, music, index) == 0
    before = indexed(index)
    (music / "3.wav").rename(music / "b" / "three.wav")
    soundfile.write(music / "1.flac", tone(2, 77), RATE)
    soundfile.write(music / "new.wav", tone(2, 78), RATE)
    embedded = count_embedded(monkeypatch)
    assert run("index", model, music, index) == 0
    assert sum(embedded) == 2 and "(1 moved)" in capsys.readouterr().out
    after = indexed(index)
    assert set(after) == {*before, "new.wav"}
    assert not np.array_equal(after["1.flac"], before["1.flac"])
    assert all(np.array_equal(after[id], before[id]) for id in before if id != "1.flac")
    assert run("similar", index, "b/three.wav", "-k", "2", "--json") == 0


def test_index_remembers_its_number_of_windows(model, music, tmp_path, capsys):
    index = tmp_path / "few.index"
    assert run("index", model, music, index, "--max-windows", 2) == 0
    space = Space.load(model)
    for id, vector in indexed(index).items():
        assert vector @ space.embed("audio", [str(music / id)], max_windows=2)[0] >= 0.999
    capsys.readouterr()
    assert run("index", model, music, index) == 0  # it goes on as it was begun
    assert run("index", model, music, index, "--max-windows", 3) == 4
    assert "--max-windows" in capsys.readouterr().err
    # A file that is asked about is embedded as those of the index are: it finds itself.
    second = tmp_path / "elsewhere.ogg"
    second.write_bytes((music / "b" / "5.ogg").read_bytes())
    assert run("search", index, second, "-k", 2, "--json") == 0
    hit, following = json.loads(capsys.readouterr().out)
    assert hit["id"] == "b/5.ogg" and hit["score"] > 1 - 1e-6
    # A copy of an indexed file is this item, and not similar to itself.
    assert run("similar", index, second, "-k", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == following["id"]


def test_the_duration_of_a_long_run_is_estimated_first(model, music, tmp_path, capsys):
    encoder, progress = IndexEncoder(model), FolderProgress()
    index_folder(encoder, str(music), str(tmp_path / "songs.index"), progress, min_files_to_estimate=5)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("8 files, about ") and "; with --max-windows 3 about " in first
    assert [format_duration(seconds) for seconds in (0.2, 40, 540, 31 * 3600)] == ["1 s", "40 s", "9 min", "31 h"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--column", "caption"], 2, "no such column of sounds"),
        (["--column", "audi"], 2, "did you mean audio"),
        (["--split", "test"], 2, "applies only to a table"),
        (["--max-windows", "0"], 2, "positive integer"),
    ],
)
def test_options_that_a_folder_cannot_take_are_refused(words, code, says, model, music, tmp_path, capsys):
    assert run("index", model, music, tmp_path / "songs.index", *words) == code
    line = capsys.readouterr().err.strip()
    assert says in line and "Fix:" in line and "\n" not in line


def test_index_of_a_table_refuses_a_folder(model, music, tmp_path, capsys):
    table = tmp_path / "rows.jsonl"
    table.write_text(json.dumps({"id": "a", "audio": str(music / "0.wav")}) + "\n")
    assert run("index", model, table, tmp_path / "table.index") == 0
    assert run("index", model, music, tmp_path / "table.index") == 2
    assert run("index", model, tmp_path / "nothing", tmp_path / "no.index") == 2
    assert not (tmp_path / "no.index").exists()


def test_second_run_of_a_table_embeds_changed_rows_only(model, music, tmp_path, capsys, monkeypatch):
    table, index = tmp_path / "rows.jsonl", tmp_path / "table.index"
    rows = [{"id": str(n), "audio": str(music / name), "genre": "waltz"} for n, name in enumerate(["0.wav", "1.flac"])]

    def write():
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run("index", model, table, index)

    assert write() == 0
    before = indexed(index)
    embedded = count_embedded(monkeypatch)
    rows[0]["genre"] = "reel"  # a cell that is not embedded
    assert write() == 0 and embedded == []
    with Index.open(index) as opened:
        assert opened.row("0")["genre"] == "reel"
    rows.append({"id": "2", "audio": str(music / "3.wav")})
    rows[1]["audio"] = str(music / "b" / "4.flac")
    assert write() == 0 and sum(embedded) == 2
    soundfile.write(music / "0.wav", tone(3, 99), RATE)  # the same name, other bytes
    os.utime(music / "0.wav", ns=(1, 1))
    assert write() == 0 and sum(embedded) == 3
    assert not np.array_equal(indexed(index)["0"], before["0"])


def test_a_folder_may_be_indexed_by_a_second_model_beside_the_first(model, music, tmp_path, capsys):
    place, second = tmp_path / "songs.index", tmp_path / "other.ckpt"
    space = Space.load(model)
    with torch.no_grad():
        for weight in space.parameters():
            weight.add_(0.05 * torch.sin(torch.arange(weight.numel()).reshape(weight.shape)))
    space.save(second)
    assert run("index", model, music, place) == 0
    assert run("index", second, music, place) == 4
    assert run("index", second, music, place, "--field", "second") == 0
    capsys.readouterr()
    assert run("index", second, music, place, "--field", "second") == 0
    assert "0 indexed" in capsys.readouterr().out
    assert run("index", model, music, place) == 0
    assert "0 indexed" in capsys.readouterr().out
    with Index.open(place) as index:
        (ids, weight), (again, two) = index.vectors("audio"), index.vectors("second")
        assert ids == again and len(ids) > 1
        assert not np.allclose(weight, two, atol=1e-4)
        again = Space.load(second).embed("audio", [music / id for id in ids])
        assert (again * two).sum(1).min() >= 0.999  # the index may be computed in int8 or bfloat16
    (music / ids[0]).unlink()
    assert run("index", second, music, place, "--field", "second") == 0
    assert run("verify", place) == 0
