"""Embedding with Ray: no row is lost or doubled by kills, and vectors have the bits of one process."""

import json
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import dataset, parquet

from jointembed import ConvNet, Index, LogMel, Space

SCRIPT = Path(__file__).parents[2] / "recipes/scale/embed_ray.py"
RATE, SONGS = 8000, 1000


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A folder with a model, songs, and a table of them with a damaged file, a missing file and an empty cell."""
    folder = tmp_path_factory.mktemp("scale")
    (folder / "audio").mkdir()
    random_sounds = np.random.default_rng(0)
    reader = LogMel(sample_rate=RATE, seconds=2.0, n_mels=32, n_fft=256, hop_length=128)
    reader.fit([random_sounds.normal(0, 0.1, 2 * RATE).astype(np.float32)])
    space = Space(16, {"audio": ConvNet(reader, [32, 64, 128], 16)})
    space.build()
    space.eval().save(folder / "model.ckpt")
    paths = [f"audio/{number}.wav" for number in range(SONGS)]
    for number, path in enumerate(paths):
        samples = 0.1 * random_sounds.normal(size=RATE * (1 + number % 9))
        soundfile.write(folder / path, samples.astype(np.float32), RATE)
    (folder / "audio/7.wav").write_bytes(b"not a sound")
    paths[9], paths[11] = None, "audio/missing.wav"
    ids = [f"song {number}" for number in range(SONGS)]
    parquet.write_table(pa.table({"id": ids, "audio": pa.array(paths, pa.string())}), folder / "songs.parquet")
    return folder


def command(out, *options, table="songs.parquet", model="model.ckpt"):
    return [sys.executable, str(SCRIPT), model, str(table), str(out), *options]


def check_vectors(vectors, folder):
    """Check that each row of the table is there once, with the vector of one process or the reason why it has none."""
    rows = vectors.to_table().to_pylist()
    assert sorted(row["id"] for row in rows) == sorted(f"song {number}" for number in range(SONGS))
    by_id = {row["id"]: row for row in rows}
    assert {id for id, row in by_id.items() if row["vector"] is None} == {"song 7", "song 9", "song 11"}
    assert "7.wav" in by_id["song 7"]["error"] and "missing.wav" in by_id["song 11"]["error"]
    embedded = [number for number in range(SONGS) if number not in (7, 9, 11)]
    cells = [str(folder / f"audio/{number}.wav") for number in embedded]
    expected = Space.load(folder / "model.ckpt").embed("audio", cells)
    assert np.array_equal(np.array([by_id[f"song {number}"]["vector"] for number in embedded], np.float32), expected)


def run_here(arguments, folder, monkeypatch):
    """The exit code of the script in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", arguments[1:])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return ended.value.code


def read_sound(folder, path):
    """A sound as tables hold it, by its bytes; by its path alone if the file is missing."""
    return {"bytes": (folder / path).read_bytes() if (folder / path).exists() else None, "path": path}


def find_processes(title):
    """The running processes whose command begins with a title."""
    numbers = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(title.encode()):
                numbers.append(int(entry.name))
        except OSError:
            continue
    return numbers


@pytest.mark.slow
def test_ten_kills_of_the_script_and_of_its_actors_lose_and_double_no_row(catalogue, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs ray[data]")
    out, chance, kills = tmp_path / "vectors", random.Random(0), 0
    while kills < 10:
        process = subprocess.Popen(
            command(out, "--actors", "2", "--rows", "32"),
            cwd=catalogue,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        before, deadline = len(list(out.glob("done/*"))), time.monotonic() + 180
        while process.poll() is None and len(list(out.glob("done/*"))) < before + 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        for actor in find_processes("ray::MapWorker(MapBatches(Embed))")[:1]:  # Ray starts another
            os.kill(actor, signal.SIGKILL)
            kills += 1
        time.sleep(chance.uniform(0, 2))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
    finished = subprocess.run(command(out, "--rows", "32"), cwd=catalogue, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0 and f"{SONGS - 3} vectors of audio" in finished.stdout, finished.stderr
    check_vectors(dataset.dataset(out / "vectors"), catalogue)
    monkeypatch.chdir(tmp_path)
    index_code, _ = re.findall(r"```python\n(.*?)```", (SCRIPT.parent / "README.md").read_text("utf-8"), re.DOTALL)
    exec(compile(index_code, "README.md", "exec"), {})
    with Index.open("songs.index") as index:
        assert len(index) == SONGS - 3 and index.similar("song 0", 1)


@pytest.mark.slow
def test_a_table_and_vectors_in_an_object_store(catalogue, monkeypatch):
    pytest.importorskip("ray", reason="needs ray[data]")
    server = pytest.importorskip("moto.server", reason="needs moto[server]").ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"?scheme=http&endpoint_override=127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        from pyarrow import fs

        store = fs.S3FileSystem(
            scheme="http", endpoint_override=f"127.0.0.1:{port}", allow_bucket_creation=True, region="us-east-1"
        )
        store.create_dir("bucket")
        table = parquet.read_table(catalogue / "songs.parquet")
        sounds = [path and read_sound(catalogue, path) for path in table["audio"].to_pylist()]
        parquet.write_table(table.set_column(1, "audio", pa.array(sounds)), "bucket/songs/0.parquet", filesystem=store)
        for _ in range(2):
            finished = subprocess.run(
                command(f"s3://bucket/vectors{endpoint}", table=f"s3://bucket/songs{endpoint}"),
                cwd=catalogue, capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert finished.returncode == 0, finished.stderr
        rows = dataset.dataset("bucket/vectors/vectors", filesystem=store).to_table()
        assert rows.num_rows == SONGS and rows["vector"].null_count == 3
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (command("out", table="none.parquet"), "none.parquet"),
        (command("out", "--actors", "0"), "--actors"),
        (command("out", "--max-windows", "-1"), "--max-windows"),
        (command("out", "--column", "video"), "video"),
        (command("out", model="none.ckpt"), "none.ckpt"),
    ],
)
def test_wrong_arguments_end_in_one_line(catalogue, monkeypatch, capsys, arguments, message):
    assert run_here(arguments, catalogue, monkeypatch) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and message in err


def test_a_folder_of_vectors_of_another_model_is_left_alone(catalogue, tmp_path, monkeypatch, capsys):
    settings = {"column": "audio", "model": "0" * 16, "metric": "cosine", "dim": 16, "max_windows": None}
    (tmp_path / "vectors.json").write_text(json.dumps(settings))
    assert run_here(command(tmp_path), catalogue, monkeypatch) == 4
    assert "have the model 0000000000000000" in capsys.readouterr().err
    assert json.loads((tmp_path / "vectors.json").read_text()) == settings


def test_without_ray_it_says_what_to_install(catalogue, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_here(command(tmp_path), catalogue, monkeypatch) == 2
    assert 'pip install "ray[data]"' in capsys.readouterr().err
