"""Files that crash, hang or flood a decoder cost only themselves, and nothing is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread, Timer

import numpy as np
import pytest
import sound_files
from sound_files import melody, pack
from worker_pools import check

from jointembed import audio
from jointembed.audio.workers import Decoders
from jointembed.errors import UserError

HOSTILE = "sound_files:hostile"


def has_ended(pid, seconds=5.0):
    """Whether a process ends in time; a zombie that its new parent has not yet reaped has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")  # on Linux
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def write(folder, names, seconds=0.6):
    data = pack(melody(seconds, 8000), rate=8000)
    for name in names:
        (folder / name).write_bytes(data)
    return [os.fsencode(folder / name) for name in names]


def test_workers_decode_as_this_process_does_and_in_order(tmp_path):
    paths = []
    for number, format in enumerate(["WAV", "FLAC", "OGG", "MP3"] * 3):
        paths.append(os.fsencode(tmp_path / f"{number}.x"))
        Path(os.fsdecode(paths[-1])).write_bytes(pack(melody(0.6 + number / 4), format))
    with Decoders(16000) as decoders:
        results = list(decoders.map(iter(paths)))
    assert [decoded.path for decoded in results] == paths
    for decoded in results:
        check(decoded)
        sound = audio.decode(decoded.path, 16000)
        assert np.array_equal(decoded.samples, sound.samples) and decoded.seconds == sound.seconds
        assert set(decoded.times) == {"read", "decode", "mono", "resample"}


def child_processes():
    """The processes that this one has started, zombies included; other tests may have left some."""
    children = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children |= {stat.parent.name} if parent == os.getpid() else set()
    return children


def test_hostile_files_cost_only_themselves(tmp_path, hook):
    kinds = {
        "segfault": "decoder-crash", "abort": "decoder-crash", "exit": "decoder-crash", "raises": "decoder-crash",
        "forks": "decoder-crash", "garbage": "decoder-crash", "endless": "decoder-crash",
        "large": "memory", "loop": "timeout", "sleep": "timeout", "prints": "",
    }  # fmt: skip
    names = [f"{number}.wav" for number in range(100)]
    for number, kind in enumerate(kinds):
        names.insert(9 * number + 3, f"{kind}-{number}.wav")
    paths, before = write(tmp_path, names), child_processes()
    with Decoders(8000, seconds=1.0, function=HOSTILE) as decoders:
        results = {os.path.basename(decoded.path).decode(): decoded for decoded in decoders.map(paths)}
        process = [worker.process.pid for worker in decoders.workers if worker.process]
    for name, decoded in results.items():
        check(decoded)
        assert decoded.reason == kinds.get(name.partition("-")[0], ""), (name, decoded.reason, decoded.problem)
    assert len(results) == 111
    for pid in process + [int(path.read_text()) for path in tmp_path.glob("*.pid")]:
        assert has_ended(pid), "a process was left behind"
    assert child_processes() <= before  # no zombies


def test_paths_are_drawn_as_needed_and_a_closed_generator_leaves_a_working_pool(tmp_path):
    paths = write(tmp_path, [f"{number}.wav" for number in range(30)])
    drawn_paths = []

    def draw():
        for path in paths:
            drawn_paths.append(path)
            yield path

    with Decoders(8000) as decoders:
        half = decoders.map(draw(), ahead=3)
        assert not drawn_paths
        for number in range(5):
            assert next(half).path == paths[number]
            assert len(drawn_paths) <= number + 3
        half.close()
        assert [decoded.path for decoded in decoders.map(paths[:4])] == paths[:4]
        running = [worker.process.pid for worker in decoders.workers if worker.process]
        assert running
    assert all(has_ended(pid) for pid in running)


def test_workers_are_replaced_after_a_number_of_files(tmp_path):
    paths = write(tmp_path, [f"{number}.wav" for number in range(7)])
    pids = []
    with Decoders(8000, workers=1, recycle=3) as decoders:
        for decoded in decoders.map(paths, ahead=1):
            check(decoded)
            pids.append(decoders.workers[0].process and decoders.workers[0].process.pid)
    assert pids[2] is None and pids[5] is None and pids[0] == pids[1] != pids[3] == pids[4]


def close_while_decoding(decoders, folder):
    end = time.monotonic() + 60
    while len(list(folder.glob("*.pid"))) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    decoders.close()


def test_a_pool_that_is_closed_while_its_workers_start_loses_their_files(tmp_path, hook):
    decoders = Decoders(8000, seconds=100, function=HOSTILE)
    results = decoders.map(write(tmp_path, ["sleep-1.wav", "sleep-2.wav"]), ahead=2)
    Timer(0.01, decoders.close).start()
    assert next(results).reason == "decoder-crash"


def test_closing_a_pool_kills_workers_that_are_decoding(tmp_path, hook):
    paths = write(tmp_path, ["sleep-1.wav", "sleep-2.wav", "good.wav"])
    decoders = Decoders(8000, seconds=100, function=HOSTILE)
    results = decoders.map(paths, ahead=3)
    Thread(target=close_while_decoding, args=(decoders, tmp_path)).start()
    try:
        assert next(results).reason == "decoder-crash", "a file that was waited for would be a timeout"
    finally:
        results.close()
        decoders.close()
    assert all(has_ended(int(path.read_text())) for path in tmp_path.glob("*.pid"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_die_with_their_parent(tmp_path, hook, number):
    (path,) = write(tmp_path, ["sleep-1.wav"])
    script = (
        "import os, signal, sys; from jointembed.audio.workers import Decoders\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a runner in the background ignores it
        "with Decoders(8000, seconds=100, function='sound_files:hostile') as decoders:\n"
        "    list(decoders.map([os.fsencode(sys.argv[1])]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, os.fsdecode(path)], stderr=subprocess.DEVNULL)
    note, end = tmp_path / "sleep-1.wav.pid", time.monotonic() + 20
    while not (note.exists() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    parent.send_signal(number)
    parent.wait(20)
    assert has_ended(int(note.read_text()))


def test_large_file_gets_more_time_and_memory_bounds_the_length(tmp_path, hook):
    small, large = write(tmp_path, ["slow-1.wav", "slow-2.wav"])
    os.truncate(large, 12_000_000)  # what follows the last chunk is ignored
    with Decoders(8000, seconds=1.0, function=HOSTILE) as decoders:
        assert [decoded.reason for decoded in decoders.map([small, large])] == ["timeout", ""]
    sound_files.rf64(tmp_path / "long.wav", 3)
    with Decoders(8000, memory=500 << 20) as decoders:
        (long,) = decoders.map([os.fsencode(tmp_path / "long.wav")])
    assert long.reason == "too-long"


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
        results = list(decoders.map(paths + missing))
    assert [decoded.reason for decoded in results] == [""] * 6 + ["unreadable"] * 2
    for decoded in results:
        check(decoded)


def test_worker_loads_nothing_heavy():
    code = "import jointembed.audio.workers.worker, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert not {"torch", "lightning", "scipy", "av", "pandas"} & set(loaded)
    own_modules = {name.split(".")[1] for name in loaded if name.startswith("jointembed.")}
    assert own_modules == {"errors", "audio", "values"}


def test_worker_that_cannot_start_is_an_error_of_one_line(tmp_path, hook):
    with (
        Decoders(8000, function="sound_files:nothing") as decoders,
        pytest.raises(UserError, match="does not start") as failure,
    ):
        next(decoders.map(write(tmp_path, ["a.wav"])))
    assert "\n" not in str(failure.value)
