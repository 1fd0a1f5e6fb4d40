"""Damaged files of all formats cost neither the run, nor much time or memory."""

import os
from pathlib import Path

import numpy as np
import pytest
import sound_files
from sound_files import melody, pack
from worker_pools import check

from jointembed.audio.workers import Decoders


def peak(worker):
    """The peak memory of a worker in kB; 0 where the system has no /proc."""
    if worker.process is None or not Path("/proc/self/status").exists():
        return 0
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def mutants(each, seed=0):
    """Damaged files: flipped bits, cuts, splices, wrong lengths and repeated parts of good ones of all formats."""
    tune = melody(0.8)
    seeds = [pack(tune, "WAV"), pack(tune, "WAV", subtype="FLOAT"), pack(tune, "WAV", subtype="IMA_ADPCM")]
    seeds += [pack(tune, "WAV", subtype=name) for name in ("MS_ADPCM", "ULAW", "PCM_24")]
    seeds += [pack(tune, "FLAC"), pack(tune, "FLAC", subtype="PCM_24"), pack(tune, "OGG"), pack(tune, "MP3")]
    seeds += [pack(tune, "AIFF"), pack(tune, "AU"), pack(tune, "CAF"), pack(tune, "W64")]
    seeds += [sound_files.encode(tune, "mp3", "libmp3lame"), sound_files.encode(tune, "mp4", "aac")]
    seeds += [sound_files.encode(tune, "mp4", "alac"), sound_files.encode(tune, "ogg", "libopus")]
    seeds += [sound_files.encode(tune, "webm", "libopus"), sound_files.encode(tune, "asf", "wmav2")]
    rng = np.random.default_rng(seed)
    for number, good in enumerate(seeds):
        for _ in range(each):
            data = bytearray(good)
            for _ in range(int(rng.integers(1, 4))):
                place = int(rng.integers(len(data))) if rng.random() < 0.5 else int(rng.integers(min(200, len(data))))
                kind = rng.integers(5)
                if kind == 0:
                    data[place] ^= 1 << int(rng.integers(8))
                elif kind == 1:
                    del data[max(1, place) :]
                elif kind == 2:
                    donor = seeds[int(rng.integers(len(seeds)))]
                    data[place:] = donor[int(rng.integers(len(donor))) :]
                elif kind == 3:
                    data[place : place + 4] = [b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"][rng.integers(3)]
                else:
                    data[place:place] = data[place : place + int(rng.integers(2000))]
                data = data or bytearray(b"\0")
            yield number, bytes(data)


def fuzz(folder, each, seed):
    def paths():
        for count, (number, data) in enumerate(mutants(each, seed)):
            path = folder / f"{number}-{count % 64}"  # the last ones stay, for whoever looks for the cause
            path.write_bytes(data)
            yield os.fsencode(path)

    reasons = {}
    with Decoders(16000, seconds=10.0) as decoders:
        for decoded in decoders.map(paths()):
            check(decoded)
            reasons[decoded.reason] = reasons.get(decoded.reason, 0) + 1
    assert sum(reasons.values()) == 20 * each
    assert "timeout" not in reasons, reasons
    return reasons


def test_bad_files_by_workers(tmp_path):
    expected = sound_files.bad()
    for name, (content, _) in expected.items():
        (tmp_path / name).write_bytes(content)
    with open(tmp_path / "big-tag.mp3", "wb") as file:  # 200 MB that take no room
        file.write(sound_files.id3(200 << 20))
        file.truncate((200 << 20) + 10)
        file.seek(0, 2)
        file.write(pack(melody(1), "MP3"))
    expected["big-tag.mp3"] = (b"", "")
    with Decoders(16000, seconds=5.0) as decoders:
        for decoded in decoders.map(os.fsencode(tmp_path / name) for name in expected):
            check(decoded)
            allowed = expected[os.path.basename(decoded.path).decode()][1]
            result = decoded.reason or ("partial" if decoded.partial else "")
            assert result == allowed if isinstance(allowed, str) else result in allowed, decoded
        assert max(peak(worker) for worker in decoders.workers) < 600 << 10


def test_damaged_bytes_never_end_the_run(tmp_path):
    reasons = fuzz(tmp_path, 50, 0)
    assert len(reasons) > 4, reasons


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    reasons = fuzz(tmp_path, 500, 1)
    assert "decoder-crash" not in reasons, reasons  # our own exceptions once caused it


def test_hours_of_silence_are_given_up_after_one(tmp_path):
    import soundfile

    with soundfile.SoundFile(tmp_path / "silence.flac", "w", 8000, 1) as file:
        block = np.zeros(8000 * 600, np.int16)
        for _ in range(12):
            file.write(block)
    assert (tmp_path / "silence.flac").stat().st_size < 300_000
    with Decoders(8000, workers=1) as decoders:
        (decoded,) = decoders.map([os.fsencode(tmp_path / "silence.flac")])
        assert peak(decoders.workers[0]) < 600 << 10
    assert decoded.reason == "silent" and decoded.problem == "it begins with an hour of silence"
