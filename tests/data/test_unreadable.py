"""A file of a table that cannot be read costs its cell, and the rest of the table is trained on."""

import json
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch
from lightning.pytorch.trainer.states import TrainerFn

from jointembed import (
    Category,
    ConvNet,
    EmbeddingBag,
    Image,
    JointEmbedding,
    LogMel,
    Match,
    Space,
    SparseImage,
    TableData,
    from_checkpoint,
)
from jointembed.__main__ import main
from jointembed.errors import DamagedError, UserError

READERS = {
    "sound": lambda: ConvNet(LogMel(8000, 0.5, 16, 256, 80), [4], 8),
    "image": lambda: ConvNet(Image([8, 8]), [4], 8),
    "bitmap": lambda: EmbeddingBag(SparseImage([8, 8]), 8),
}


def write(path, kind, number):
    if kind == "sound":
        soundfile.write(path, 0.3 * np.sin(0.1 * (number + 1) * np.arange(6000)), 8000, format="WAV")
    else:
        grey = np.zeros((8, 8), np.uint8)
        grey[number % 8, ::2] = 200
        PIL.Image.fromarray(grey).save(path, "PNG")


def make_encoders(kind):
    torch.manual_seed(0)
    return {"file": READERS[kind](), "genre": EmbeddingBag(Category())}


def load(rows, encoders, **settings):
    """The batch of all rows, in the order of the table."""
    model = JointEmbedding(4, encoders, [Match("file", "genre")])
    data = TableData(rows, batch_size=len(rows), **settings)
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(lightning_module=model, ckpt_path=None, state=state, strategy=strategy)
    data.setup("fit")
    return next(iter(data.predict_dataloader()))


@pytest.mark.parametrize("kind", READERS)
def test_cells_of_unreadable_files_are_missing(kind, tmp_path, capsys):
    paths = [str(tmp_path / f"{number}.file") for number in range(10)]
    for number, path in enumerate(paths):
        write(path, kind, number)
    genres = [f"genre{number % 3}" for number in range(10)]
    damaged, absent = paths[0], paths[5]
    (tmp_path / "0.file").write_text("neither a sound nor an image")
    (tmp_path / "5.file").unlink()
    rows = [{"file": path, "genre": genre} for path, genre in zip(paths, genres, strict=True)]
    rows[7]["file"] = [paths[7], damaged]  # of a list, the others stay
    expected = [
        {"file": path if isinstance(path, list) or path not in (damaged, absent) else None, "genre": genre}
        for path, genre in zip(paths, genres, strict=True)
    ]
    batch, right = (
        load(rows, make_encoders(kind), cache=str(tmp_path / "a")),
        load(expected, make_encoders(kind), cache=str(tmp_path / "b")),
    )
    assert torch.equal(batch["file"].values, right["file"].values)
    assert torch.equal(batch["file"].rows, right["file"].rows) and 0 not in batch["file"].rows
    warning = capsys.readouterr().err
    assert "2 of 10 files of file cannot be read" in warning and damaged in warning and absent in warning
    with pytest.raises(UserError, match=r"0\.file|5\.file"):
        load(rows, make_encoders(kind), cache=str(tmp_path / "c"), strict=True)


@pytest.mark.parametrize("kind", READERS)
def test_a_column_without_any_readable_file_stops_the_training(kind, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.file").write_text("nothing")
    rows = [{"file": str(tmp_path / f"{number}.file"), "genre": "a"} for number in range(3)]
    with pytest.raises(DamagedError, match=r"0\.file"):
        load(rows, make_encoders(kind), cache=str(tmp_path / "cache"))


def test_vectors_of_a_frozen_encoder_are_those_of_the_readable_files(tmp_path, capsys):
    space = Space(4, {"file": READERS["sound"]()})
    paths = [str(tmp_path / f"{number}.wav") for number in range(9)]
    for number, path in enumerate(paths):
        write(path, "sound", number)
    space.reader("file").fit(paths)
    space.build()
    space.save(tmp_path / "source.ckpt")
    expected = {path: next(space.embed_pieces("file", [path])) for path in paths}
    (tmp_path / "0.wav").write_text("no sound")
    (tmp_path / "4.wav").write_text("no sound")
    (tmp_path / "8.wav").unlink()
    encoders = {"file": from_checkpoint(str(tmp_path / "source.ckpt"), "file"), "genre": EmbeddingBag(Category())}
    rows = [{"file": path, "genre": "ab"[number % 2]} for number, path in enumerate(paths)]
    batch = load(rows, encoders, cache=str(tmp_path / "cache"))["file"]
    right = [path for number, path in enumerate(paths) if number not in (0, 4, 8)]
    assert sorted(set(batch.rows.tolist())) == [1, 2, 3, 5, 6, 7]
    assert np.array_equal(batch.values.numpy(), np.concatenate([expected[path] for path in right]))
    assert "3 of 9 files" in capsys.readouterr().err


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "words",
    [
        ["embed", "m.ckpt", "rows.jsonl", "out.parquet"],
        ["evaluate", "m.ckpt", "rows.jsonl", "--query", "file", "--target", "genre", "--split", "all"],
        ["evaluate", "m.ckpt", "rows.jsonl", "--query", "genre", "--target", "file", "--split", "all"],
        ["index", "m.ckpt", "rows.jsonl", "out.index"],
    ],
    ids=lambda words: f"{words[0]} {words[4]}" if len(words) > 4 else words[0],
)
def test_commands_skip_and_report_the_files_that_fit_skips(kind, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"r{n}", "file": f"{n}.bin", "genre": "ab"[n % 2]} for n in range(6)]
    for n in range(5):  # the last one does not exist
        write(tmp_path / f"{n}.bin", kind, n)
    (tmp_path / "2.bin").write_bytes(b"neither sound nor image")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encoders = make_encoders(kind)
    for encoder in encoders.values():
        encoder.reader.fit([str(tmp_path / "0.bin")] if encoder.reader.reads_files else ["a", "b"])
    space = Space(4, encoders)
    space.build()
    space.save(tmp_path / "m.ckpt")
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: rows.jsonl: 2 of 6 files of file cannot be read, and are skipped:\n"), err
    assert "2.bin: " in err and "5.bin: " in err and "error" not in err
    assert {"embed": "4 vectors", "evaluate": " queries, ", "index": "4 rows"}[words[0]] in out
    if words[0] == "evaluate":
        options = [word for word in words[3:] if word not in ("m.ckpt", "rows.jsonl")]
        assert main(["dims", "rows.jsonl", "--model", "m.ckpt", *options]) == 0
        assert "2 of 6 files of file cannot be read, and are skipped" in capsys.readouterr().err
    assert main([*words, "--strict"]) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jointembed: ")]
    assert len(lines) == 1 and "error[E-SKIPPED]: rows.jsonl: 2 files cannot be read" in lines[0]
