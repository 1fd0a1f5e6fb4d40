"""`jointembed embed` goes on where it was stopped."""

import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from pyarrow import parquet

from jointembed import ConvNet, LogMel, Space
from jointembed.cli.embed import ROWS_IN_PART_OF_SOUNDS

RATE, SONGS = 8000, ROWS_IN_PART_OF_SOUNDS + 60


@pytest.mark.slow
def test_a_killed_run_keeps_its_finished_parts(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    reader = LogMel(sample_rate=RATE, seconds=2.0, n_mels=32, n_fft=256, hop_length=128)
    reader.fit([noise])
    space = Space(8, {"audio": ConvNet(reader, [16, 32], 16)})
    space.build()
    space.eval().save(tmp_path / "model.ckpt")
    rows = []
    for number in range(SONGS):
        soundfile.write(tmp_path / f"{number}.wav", noise[number:], RATE)
        rows.append(f'{{"id": "{number}", "audio": "{number}.wav"}}\n')
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    (tmp_path / "5.wav").write_bytes(b"not a sound")
    command = [sys.executable, "-m", "jointembed", "embed", "model.ckpt", "rows.jsonl", "out.parquet"]

    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.glob("out.parquet.*.parts/*.parquet")):
        time.sleep(0.002)
    process.kill()
    process.wait()
    (part,) = tmp_path.glob("out.parquet.*.parts/*.parquet")
    marked = parquet.read_table(part)
    marked = marked.set_column(0, "id", [[f"part {id}" for id in marked["id"].to_pylist()]])
    parquet.write_table(marked, part)  # so that the part is recognized in the result

    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0 and f"{SONGS - 1} vectors" in finished.stdout, finished.stderr
    expected = [f"part {n}" for n in range(ROWS_IN_PART_OF_SOUNDS) if n != 5]
    result = parquet.read_table(tmp_path / "out.parquet")
    assert result["id"].to_pylist() == [*expected, *(str(n) for n in range(ROWS_IN_PART_OF_SOUNDS, SONGS))]
    cells = [str(tmp_path / f"{n}.wav") for n in range(SONGS) if n != 5]
    vectors = result["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 8)
    assert np.array_equal(vectors, Space.load(tmp_path / "model.ckpt").embed("audio", cells))
    assert not list(tmp_path.glob("out.parquet.*"))
