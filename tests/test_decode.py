"""Files that crash, hang or flood a decoder cost only themselves, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import mutagen
import noises
import numpy as np
import pytest
from noises import melody, pack

from jointembed import sound
from jointembed.decode import Decoders
from jointembed.decode.process import Worker
from jointembed.decode.tags import clean, tags
from jointembed.errors import Failure

CODES = {
    "", "empty", "no-audio", "truncated", "bad-rate", "bad-channels", "bad-format", "too-long", "too-short", "silent",
    "non-finite", "format-change", "encrypted", "unreadable", "timeout", "decoder-crash", "memory",
}  # fmt: skip


class Hostile(Decoders):
    function = "noises:hostile"


class SlowTags(Decoders):
    function = "noises:slow_tags"


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def gone(pid, seconds=5.0):
    """Whether a process ends; a zombie that its new parent has not yet reaped has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def write(folder, names, seconds=0.6):
    data = pack(melody(seconds, 8000), rate=8000)
    for name in names:
        (folder / name).write_bytes(data)
    return [os.fsencode(folder / name) for name in names]


def check(decoded):
    """The promises of every answer."""
    assert decoded.reason in CODES, decoded
    if decoded.reason:
        assert decoded.samples is None and decoded.wrong and decoded.fix, decoded
        assert "\n" not in decoded.wrong
    else:
        assert decoded.samples.dtype == np.float32 and np.isfinite(decoded.samples).all()
        assert decoded.seconds >= 0.5


def test_a_worker_gives_what_decoding_here_gives_in_order(tmp_path):
    paths = []
    for number, format in enumerate(["WAV", "FLAC", "OGG", "MP3"] * 3):
        paths.append(os.fsencode(tmp_path / f"{number}.x"))
        Path(os.fsdecode(paths[-1])).write_bytes(pack(melody(0.6 + number / 4), format))
    with Decoders(16000) as decoders:
        found = list(decoders.map(iter(paths)))
    assert [one.path for one in found] == paths
    for one in found:
        check(one)
        here = sound.decode(one.path, 16000)
        assert np.array_equal(one.samples, here.samples) and one.seconds == here.seconds
        assert set(one.times) == {"read", "decode", "mono", "resample"}


def test_hostile_files_cost_only_themselves(tmp_path, hook):
    kinds = {
        "segfault": "decoder-crash", "abort": "decoder-crash", "exit": "decoder-crash", "raises": "decoder-crash",
        "forks": "decoder-crash", "garbage": "decoder-crash", "endless": "decoder-crash",
        "large": "memory", "loop": "timeout", "sleep": "timeout", "prints": "",
    }  # fmt: skip
    names = [f"{number}.wav" for number in range(100)]
    for number, kind in enumerate(kinds):
        names.insert(9 * number + 3, f"{kind}-{number}.wav")
    paths = write(tmp_path, names)
    start = time.monotonic()
    with Hostile(8000, seconds=1.0) as decoders:
        found = {os.path.basename(one.path).decode(): one for one in decoders.map(paths)}
        process = [worker.process.pid for worker in decoders.workers if worker.process]
    assert time.monotonic() - start < 40
    for name, one in found.items():
        check(one)
        assert one.reason == kinds.get(name.partition("-")[0], ""), (name, one.reason, one.wrong)
    assert len(found) == 111
    for pid in process + [int(path.read_text()) for path in tmp_path.glob("*.pid")]:
        assert gone(pid), "a process was left behind"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no zombies


def test_paths_are_taken_as_needed_and_a_closed_generator_leaves_a_working_pool(tmp_path):
    paths = write(tmp_path, [f"{number}.wav" for number in range(30)])
    taken = []

    def lazily():
        for path in paths:
            taken.append(path)
            yield path

    with Decoders(8000) as decoders:
        half = decoders.map(lazily(), ahead=3)
        assert not taken
        for number in range(5):
            assert next(half).path == paths[number]
            assert len(taken) <= number + 3
        half.close()
        assert [one.path for one in decoders.map(paths[:4])] == paths[:4]
        running = [worker.process.pid for worker in decoders.workers if worker.process]
        assert running
    assert all(gone(pid) for pid in running)


def test_workers_are_replaced_after_so_many_files(tmp_path):
    paths = write(tmp_path, [f"{number}.wav" for number in range(7)])
    pids = []
    with Decoders(8000, workers=1, recycle=3) as decoders:
        for one in decoders.map(paths, ahead=1):
            check(one)
            pids.append(decoders.workers[0].process and decoders.workers[0].process.pid)
    assert pids[2] is None and pids[5] is None and pids[0] == pids[1] != pids[3] == pids[4]


def test_a_pool_that_is_closed_at_work_ends_at_once(tmp_path, hook):
    paths = write(tmp_path, ["sleep-1.wav", "sleep-2.wav", "good.wav"])
    decoders = Hostile(8000, seconds=100)
    results = decoders.map(paths, ahead=3)
    Timer(1.0, decoders.close).start()
    start = time.monotonic()
    try:
        assert next(results).reason == "decoder-crash"
    finally:
        results.close()
        decoders.close()
    assert time.monotonic() - start < 10
    assert all(gone(int(path.read_text())) for path in tmp_path.glob("*.pid"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_die_with_their_parent(tmp_path, hook, how):
    (path,) = write(tmp_path, ["sleep-1.wav"])
    script = (
        "import sys, os; from jointembed.decode import Decoders; Decoders.function = 'noises:hostile'\n"
        "with Decoders(8000, seconds=100) as decoders: list(decoders.map([os.fsencode(sys.argv[1])]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, os.fsdecode(path)], stderr=subprocess.DEVNULL)
    note, end = tmp_path / "sleep-1.wav.pid", time.monotonic() + 20
    while not (note.exists() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    parent.send_signal(how)
    parent.wait(20)
    assert gone(int(note.read_text()))


def test_a_large_file_gets_more_time_and_memory_bounds_the_length(tmp_path, hook):
    small, large = write(tmp_path, ["slow-1.wav", "slow-2.wav"])
    os.truncate(large, 12_000_000)  # what follows the last chunk is ignored
    with Hostile(8000, seconds=1.0) as decoders:
        assert [one.reason for one in decoders.map([small, large])] == ["timeout", ""]
    noises.rf64(tmp_path / "long.wav", 3)
    with Decoders(8000, memory=500 << 20) as decoders:
        (long,) = decoders.map([os.fsencode(tmp_path / "long.wav")])
    assert long.reason == "too-long"


def test_bad_files_by_workers(tmp_path):
    expected = noises.bad()
    for name, (content, _) in expected.items():
        (tmp_path / name).write_bytes(content)
    with open(tmp_path / "big-tag.mp3", "wb") as file:  # 200 MB that take no room
        file.write(noises.id3(200 << 20))
        file.truncate((200 << 20) + 10)
        file.seek(0, 2)
        file.write(pack(melody(1), "MP3"))
    expected["big-tag.mp3"] = (b"", "")
    start = time.monotonic()
    with Decoders(16000, seconds=5.0) as decoders:
        for one in decoders.map(os.fsencode(tmp_path / name) for name in expected):
            check(one)
            allowed = expected[os.path.basename(one.path).decode()][1]
            got = one.reason or ("partial" if one.partial else "")
            assert got == allowed if isinstance(allowed, str) else got in allowed, (one.path, got, one.wrong)
        assert max(peak(worker) for worker in decoders.workers) < 600 << 10
    assert time.monotonic() - start < 30


def peak(worker):
    """The most memory that a worker ever had, in kB."""
    if worker.process is None:
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
    seeds += [noises.encode(tune, "mp3", "libmp3lame"), noises.encode(tune, "mp4", "aac")]
    seeds += [noises.encode(tune, "mp4", "alac"), noises.encode(tune, "ogg", "libopus")]
    seeds += [noises.encode(tune, "webm", "libopus"), noises.encode(tune, "asf", "wmav2")]
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
                    other = seeds[int(rng.integers(len(seeds)))]
                    data[place:] = other[int(rng.integers(len(other))) :]
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
        for one in decoders.map(paths()):
            check(one)
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
    assert sum(reasons.values()) == 20 * each
    assert "timeout" not in reasons, reasons
    return reasons


def test_damaged_bytes_never_end_the_run(tmp_path):
    reasons = fuzz(tmp_path, 50, 0)
    assert len(reasons) > 4, reasons


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    reasons = fuzz(tmp_path, 500, 1)
    assert "decoder-crash" not in reasons, reasons  # it did so once, by our own exceptions


def test_hours_of_silence_take_neither_time_nor_memory(tmp_path):
    import soundfile

    with soundfile.SoundFile(tmp_path / "silence.flac", "w", 8000, 1) as file:
        block = np.zeros(8000 * 600, np.int16)
        for _ in range(12):
            file.write(block)
    assert (tmp_path / "silence.flac").stat().st_size < 300_000
    start = time.monotonic()
    with Decoders(8000, workers=1) as decoders:
        (one,) = decoders.map([os.fsencode(tmp_path / "silence.flac")])
        assert peak(decoders.workers[0]) < 600 << 10
    assert one.reason == "silent" and time.monotonic() - start < 10


def test_names_may_be_any_bytes(tmp_path):
    data = pack(melody(0.6))
    names = [
        b"\xff\xfe.wav",
        b"new\nline.wav",
        "\u202egnos.wav".encode(),
        b"-rf.wav",
        b"a" * 250 + b".wav",
        b"concat:a|b",
    ]
    paths = [os.fsencode(tmp_path) + b"/" + name for name in names]
    for path in paths:
        Path(os.fsdecode(path)).write_bytes(data)
    missing = [os.fsencode(tmp_path) + b"/\xff\xff\n", b"a\0b"]
    with Decoders(8000) as decoders:
        found = list(decoders.map(paths + missing))
    assert [one.reason for one in found] == [""] * 6 + ["unreadable"] * 2
    for one in found:
        check(one)


def test_tags_are_short_clean_text(tmp_path):
    for name, data in {
        "a.mp3": pack(melody(0.6), "MP3"), "a.flac": pack(melody(0.6), "FLAC"), "a.ogg": pack(melody(0.6), "OGG"),
        "a.m4a": noises.encode(melody(0.6), "mp4", "aac"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        file = mutagen.File(tmp_path / name, easy=True)
        file["title"], file["artist"] = ["One\n\x07two\u202e<script>", "second"], ["\u200f  A  \u2028 B "]
        file["album"], file["genre"], file["date"] = ["x" * 5000], ["Folk"], ["2011-03-04"]
        file.save()
        found = tags(os.fsencode(tmp_path / name))
        expected = {"title": "One two<script>", "artist": "A B", "album": "x" * 1000, "genre": "Folk", "year": "2011"}
        assert found == expected, name
    with Decoders(8000) as decoders:
        assert next(decoders.map([os.fsencode(tmp_path / "a.mp3")])).tags == expected


@pytest.mark.parametrize(
    "text", ["\0", "\ud800", "\u2066a\u2069", "a\x1b[31mb", "\r\n", "\x85", "\u2029", "x" * 10**6, "\u202e" * 3000]
)
def test_hostile_text(text):
    got = clean(text)
    got.encode()
    assert len(got) <= 1000 and got.isprintable() and not set(got) & set("\u202e\u2066\u2069")
    assert clean("Sk\u00e5n \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 <b>&amp;") == (
        "Sk\u00e5n \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 <b>&amp;"
    )


def test_a_broken_tag_never_costs_the_sound(tmp_path, hook):
    path = tmp_path / "a.mp3"
    rng = np.random.default_rng(0)
    good = pack(melody(0.6), "MP3")
    for number in range(40):
        body = rng.bytes(200) if number % 2 else b"TIT2\x7f\x7f\x7f\x7f\0\0\x01\xff\xfe" + rng.bytes(100)
        path.write_bytes(noises.id3(len(body), body, 2 + number % 3) + good)
        found = tags(os.fsencode(path))
        assert all(text == clean(text) for text in found.values())
    with SlowTags(8000, workers=1) as decoders:
        start = time.monotonic()
        one = next(decoders.map([os.fsencode(path)]))
    assert not one.reason and not one.tags and len(one.samples) and time.monotonic() - start < 10


def test_a_worker_loads_nothing_heavy_and_starts_quickly(tmp_path):
    code = "import jointembed.decode.worker, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert not {"torch", "lightning", "scipy", "av", "pandas"} & set(loaded)
    ours = {name.split(".")[1] for name in loaded if name.startswith("jointembed.")}
    assert ours == {"errors", "sound", "decode"}
    worker = Worker(8000, 5.0, 2 << 30, 200, Decoders.function)
    start = time.monotonic()
    (path,) = write(tmp_path, ["a.wav"])
    try:
        check(worker.decode(path))
        assert time.monotonic() - start < 3
    finally:
        worker.kill()


class Absent(Decoders):
    function = "noises:nothing"


def test_a_worker_that_cannot_start_is_named_in_one_line(tmp_path, hook):
    with Absent(8000) as decoders, pytest.raises(Failure, match="does not start") as failure:
        next(decoders.map(write(tmp_path, ["a.wav"])))
    assert "\n" not in str(failure.value)
