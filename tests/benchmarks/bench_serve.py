"""What the server bears, with clients in a process of their own: `python tests/benchmarks/bench_serve.py [SECONDS]`."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from web_server import Client, Embedder, ask, filled, until  # noqa: E402

from jointembed.serve import serve  # noqa: E402

COUNT, WIDTH = 100_000, 128
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].replace(".", "").isdigit() else 10.0


def clients(port, targets, count, seconds, pause=0.0):
    """Closed-loop clients: of every answer its status and seconds, those of the first second left out."""
    found, lock = [], threading.Lock()
    start = time.monotonic()

    def client(seed):
        rng, mine = np.random.default_rng(seed), []
        with Client(port) as one:
            while (now := time.monotonic()) < start + 1 + seconds:
                target = targets[rng.integers(len(targets))].format(n=rng.integers(COUNT))
                begun = time.perf_counter()
                status, headers, _ = one.ask(target)
                mine.append((now - start, status, time.perf_counter() - begun))
                if status == 503:
                    assert "retry-after" in headers
                    time.sleep(pause)
        with lock:
            found.extend(mine)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return [(status, took) for at, status, took in found if at >= 1]


def apart(*what):
    """`clients` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(clients, what)


def spent(pid):
    """The seconds of CPU time that a process has taken: they tell more than the clock where others work too."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measured(name, pid, port, targets, count, pause=0.0):
    before = spent(pid)
    found = apart(port, targets, count, SECONDS, pause)
    taken = (spent(pid) - before) * SECONDS / (SECONDS + 1)
    return told(f"{name} ({1000 * taken / max(1, len(found)):.2f} ms CPU)", found, SECONDS)


def told(name, found, seconds):
    good = np.array([took for status, took in found if status == 200]) * 1000
    shed = np.array([took for status, took in found if status == 503]) * 1000
    other = sum(status not in (200, 503) for status, _ in found)
    p50, p95, p99 = np.percentile(good, (50, 95, 99)) if len(good) else (np.nan,) * 3
    more = f"{len(shed):>7,}{np.percentile(shed, 95):>9.1f}" if len(shed) else f"{0:>7}{'':>9}"
    print(f"{name:<60}{len(good) / seconds:>9.0f}{p50:>8.1f}{p95:>8.1f}{p99:>8.1f}{more}{other:>8}", flush=True)
    return p95


def rss(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def served(path, *words):
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(path), *words], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
        bound = time.monotonic() - begun
        until(lambda: ask(port, "/api/similar?id=s7")[0] == 200, 60)
        yield process.pid, port, bound, time.monotonic() - begun
    finally:
        process.terminate()
        process.wait(10)


def slow(port, count, stop):
    """Connections that send a byte a second and begin again when they are closed."""

    def one():
        while not stop.is_set():
            with contextlib.suppress(OSError), Client(port, 2) as client:
                client.socket.sendall(b"GET / HTTP/1.1\r\nX: ")
                while not stop.wait(1):
                    client.socket.sendall(b"a")
            stop.wait(0.2)

    return [threading.Thread(target=one, daemon=True) for _ in range(count)]


def main():
    print(f"{COUNT:,} x {WIDTH}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {SECONDS:.0f} s each")
    print(f"{'':<60}{'a second':>9}{'p50 ms':>8}{'p95':>8}{'p99':>8}{'503s':>7}{'p95 ms':>9}{'others':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "a.index", COUNT, WIDTH)
        with served(path) as (_, port, bound, first):
            cold = bound, first
        with served(path) as (pid, port, bound, first):
            near = ["/api/similar?id=s{n}"]
            measured("health, 8 clients", pid, port, ["/healthz"], 8)
            measured("page, 8 clients", pid, port, ["/"], 8)
            measured("look-up by id, 1 client", pid, port, near, 1)
            measured("look-up by id, 8 clients", pid, port, near, 8)
            words = ["/api/search?q=" + word for word in ("waltz", "slow+sad", "fast", "polka+in+spring")]
            measured("words by the model, 1 client", pid, port, words, 1)
            measured("words that are new, 1 client", pid, port, ["/api/search?q=w{n}"], 1)
            hard = ["/api/similar?id=s{n}&where=tempo+%3E+{n}&k=20", "/api/similar?id=s{n}"]
            first_condition = rss(pid)
            measured("look-up under a condition, 2 clients", pid, port, hard[:1], 2)
            before = rss(pid)
            measured("overload by look-ups, 64 clients", pid, port, near, 64)
            measured("and conditions, 64 clients, 0.1 s after a 503", pid, port, hard, 64, 0.1)
            measured("and conditions, 64 clients, at once after a 503", pid, port, hard, 64)
            grown = rss(pid) - before
            measured("look-up by id, 1 client, afterwards", pid, port, near, 1)
            idle = measured("look-up by id, 4 clients", pid, port, near, 4)
            stop = threading.Event()
            threads = slow(port, 200, stop)
            for one in threads:
                one.start()
            busy = measured("the same beside 200 slow connections", pid, port, near, 4)
            stop.set()
            print(f"p95 beside slow connections: {busy / idle:.2f} times as much")
            asked = f"{before - first_condition:+.0f} MB by the first conditions"
            print(f"memory: {rss(pid):.0f} MB, {asked}, {grown:+.0f} MB by the overload")
        print(
            f"start: bound after {cold[0]:.2f} s, first look-up after {cold[1]:.2f} s; again {bound:.2f}, {first:.2f} s"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        said = {"say": lambda line: print(line, flush=True), "load": lambda path, column: Embedder(WIDTH)}
        serve(sys.argv[2], port=0, **said)
    else:
        main()
