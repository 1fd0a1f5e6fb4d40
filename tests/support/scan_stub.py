"""A decoder and an embedder that take no time, and a scan with them as a process: python stub.py FOLDER INDEX.

The process tells what it decodes in INDEX.calls, and of each commit in INDEX.acks, before it goes on.
"""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jointembed.errors import UserError
from jointembed.index.index import Index
from jointembed.ingest import hold, scan

DIM = 8
STUB = str(Path(__file__))


@dataclass(frozen=True)
class Sound:
    path: bytes
    samples: np.ndarray | None
    reason: str = ""
    wrong: str = ""
    fix: str = ""
    partial: bool = False
    seconds: float = 0.0
    tags: dict = field(default_factory=dict)
    times: dict = field(default_factory=dict)


class Decoder:
    """Bytes are samples; a file that begins with BAD is broken. Files are drawn ahead, as workers would have them."""

    def __init__(self, ahead=4, each=lambda path: None):
        self.paths, self.ahead, self.each = [], ahead, each

    def __call__(self, paths):
        waiting = []
        for path in paths:
            waiting.append(path)
            if len(waiting) > self.ahead:
                yield self.one(waiting.pop(0))
        while waiting:
            yield self.one(waiting.pop(0))

    def one(self, path):
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
        self.songs, self.ahead = 0, ahead

    def __call__(self, sounds):
        waiting = []
        for sound in sounds:
            waiting.append(sound)
            if len(waiting) > self.ahead:
                yield self.one(waiting.pop(0))
        while waiting:
            yield self.one(waiting.pop(0))

    def one(self, sound):
        self.songs += 1
        return vector(sound.astype(np.uint8).tobytes())


def vector(content):
    seed = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    one = np.random.default_rng(seed).standard_normal(DIM)
    if content.startswith(b"NAN"):
        one[0] = np.nan
    return (one / np.linalg.norm(one)).astype(np.float32)


def opened(path):
    return Index.open(path) if path.exists() else Index.create(path, DIM, "cosine", "model", "f1")


def state(path):
    """Everything that an index holds but the numbers and the order of its rows: {id: (vector, paths, cells)}."""
    with Index.open(path) as index:
        if not index.columns:
            return {}
        ids, vectors = index.vectors("audio")
        with index.reading() as db:
            sql = "SELECT id, path FROM rows JOIN paths USING(content) ORDER BY path"
            paths = {}
            for id, place in db.execute(sql):
                paths.setdefault(id, []).append(place)
        return {id: (one.tobytes(), paths.get(id, []), index.row(id)) for id, one in zip(ids, vectors, strict=True)}


def fill(root, count, prefix=""):
    for at in range(count):
        folder = root / f"{prefix}album {at % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{at}.wav").write_bytes(f"song {prefix}{at}".encode() * 5)


def run(root, place, **more):
    """One scan: its books, and how many files were decoded."""
    decoder, embedder = Decoder(), Embedder()
    with opened(place) as index:
        books = scan(index, root, decoder, embedder, **more)
    return books, len(decoder.paths)


def process(root, place, *words, **more):
    return subprocess.Popen(
        [sys.executable, STUB, str(root), str(place), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ids_of(place):
    with Index.open(place) as index:
        return index.ids()


def main(root, place, slow=0.0):
    place = Path(place)
    calls, acks = (os.open(f"{place}.{end}", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for end in ("calls", "acks"))

    def tell(path):
        os.write(calls, path.hex().encode() + b"\n")
        time.sleep(slow)

    def progress(books):
        os.write(acks, f"{books.indexed}\n".encode())

    with hold(place), opened(place) as index:
        print(scan(index, root, Decoder(each=tell), Embedder(), progress=progress))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
    except UserError as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.code)
