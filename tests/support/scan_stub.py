"""A decoder and an embedder that take no time, and a scan with them as a process: python scan_stub.py FOLDER INDEX.

The process appends each file that it decodes to INDEX.calls. At its end it searches the index, so that it also writes
what a search caches.
"""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jointembed.errors import UserError, from_oserror
from jointembed.index.index import Index
from jointembed.ingest import exclusive_lock, scan

DIM = 8
STUB = str(Path(__file__))


@dataclass(frozen=True)
class Sound:
    path: bytes
    samples: np.ndarray | None
    reason: str = ""
    problem: str = ""
    fix: str = ""
    partial: bool = False
    seconds: float = 0.0
    tags: dict = field(default_factory=dict)
    times: dict = field(default_factory=dict)


class Decoder:
    """Bytes are samples; a file that begins with BAD is corrupt. Files are drawn ahead, as workers would."""

    def __init__(self, ahead=4, each=lambda path: None):
        self.paths, self.ahead, self.each = [], ahead, each

    def __call__(self, paths):
        waiting = []
        for path in paths:
            waiting.append(path)
            if len(waiting) > self.ahead:
                yield self.decode(waiting.pop(0))
        while waiting:
            yield self.decode(waiting.pop(0))

    def decode(self, path):
        self.paths.append(path)
        self.each(path)
        try:
            content = Path(os.fsdecode(path)).read_bytes()
        except OSError:
            return Sound(path, None, "unreadable", "it is gone", "put it back")
        if content.startswith(b"BAD"):
            return Sound(path, None, "no-audio", "it holds no sound", "leave it out")
        tags = {"title": "A title", "genre": "waltz"} if content.startswith(b"TAG") else {}
        return Sound(path, np.frombuffer(content, np.uint8).astype(np.float32), seconds=len(content) / 100, tags=tags)


class Embedder:
    """Samples are drawn ahead, as a model would that computes them in batches."""

    def __init__(self, ahead=3):
        self.ahead = ahead

    def __call__(self, sounds):
        waiting = []
        for sound in sounds:
            waiting.append(sound)
            if len(waiting) > self.ahead:
                yield self.embed(waiting.pop(0))
        while waiting:
            yield self.embed(waiting.pop(0))

    def embed(self, sound):
        return vector(sound.astype(np.uint8).tobytes())


def vector(content):
    seed = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    values = np.random.default_rng(seed).standard_normal(DIM)
    if content.startswith(b"NAN"):
        values[0] = np.nan
    return (values / np.linalg.norm(values)).astype(np.float32)


def opened(path):
    return Index.open(path) if path.exists() else Index.create(path, DIM, "cosine", "model", "f1")


def state(path):
    """Everything that an index holds but the numbers and the order of its rows: {id: (vector, paths, cells)}."""
    with Index.open(path) as index:
        if not index.fields:
            return {}
        ids, vectors = index.vectors("audio")
        paths = {}
        with index.backend.read() as view:
            for id, path in view.db.execute("SELECT id, path FROM rows JOIN paths USING(content) ORDER BY path"):
                paths.setdefault(id, []).append(path)
        return {
            id: (values.tobytes(), paths.get(id, []), index.row(id)) for id, values in zip(ids, vectors, strict=True)
        }


def fill(root, count, prefix=""):
    for number in range(count):
        folder = root / f"{prefix}album {number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.wav").write_bytes(f"song {prefix}{number}".encode() * 5)


def run(root, place, **more):
    """One scan: its report, and how many files were decoded."""
    decoder = Decoder()
    with opened(place) as index:
        report = scan(index, root, decoder, Embedder(), **more)
    return report, len(decoder.paths)


def process(root, place, *words, **more):
    return subprocess.Popen(
        [sys.executable, STUB, str(root), str(place), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def wait_until(condition, seconds=30.0):
    """Wait for a condition; fail if it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


def ids_of(place):
    with Index.open(place) as index:
        return index.ids()


def main(root, place, slow):
    place = Path(place)
    calls = os.open(f"{place}.calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def record(path):
        os.write(calls, path.hex().encode() + b"\n")
        time.sleep(slow)

    with exclusive_lock(place), opened(place) as index:
        print(scan(index, root, Decoder(each=record), Embedder()))
        index.search(np.ones(DIM), 3)
        index.search_text("song", 3)


def run_command(root, place, slow=0.0):
    """Scan, and report an error as `jointembed index` does."""
    try:
        main(root, place, slow)
    except (UserError, OSError) as error:
        failure = error if isinstance(error, UserError) else from_oserror(error)
        if failure is None:
            raise
        print(failure, file=sys.stderr)
        sys.exit(failure.code)


if __name__ == "__main__":
    run_command(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
