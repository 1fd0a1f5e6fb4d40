"""The server under load, with clients in another process: `python tests/benchmarks/bench_serve.py [SECONDS]`."""

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
    """Run closed-loop clients, and return the status and seconds of every answer after the first second."""
    answers, lock = [], threading.Lock()
    start = time.monotonic()

    def client(seed):
        rng, own = np.random.default_rng(seed), []
        with Client(port) as connection:
            while (now := time.monotonic()) < start + 1 + seconds:
                target = targets[rng.integers(len(targets))].format(n=rng.integers(COUNT))
                before = time.perf_counter()
                status, headers, _ = connection.ask(target)
                own.append((now - start, status, time.perf_counter() - before))
                if status == 503:
                    assert "retry-after" in headers
                    time.sleep(pause)
        with lock:
            answers.extend(own)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(status, seconds) for at, status, seconds in answers if at >= 1]


def run_clients(*arguments):
    """Run `clients` in another process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(clients, arguments)


def cpu_seconds(pid):
    """Return the CPU time of a process, which is more reliable than the clock on a busy machine."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure(name, pid, port, targets, count, pause=0.0):
    """Print a line about the answers to some clients, and return the 95th percentile in ms."""
    before = cpu_seconds(pid)
    answers = run_clients(port, targets, count, SECONDS, pause)
    cpu = (cpu_seconds(pid) - before) * SECONDS / (SECONDS + 1)
    good = np.array([seconds for status, seconds in answers if status == 200]) * 1000
    shed = np.array([seconds for status, seconds in answers if status == 503]) * 1000
    errors = sum(status not in (200, 503) for status, _ in answers)
    name = f"{name} ({1000 * cpu / max(1, len(answers)):.2f} ms CPU)"
    p50, p95, p99 = np.percentile(good, (50, 95, 99)) if len(good) else (np.nan,) * 3
    more = f"{len(shed):>7,}{np.percentile(shed, 95):>9.1f}" if len(shed) else f"{0:>7}{'':>9}"
    print(f"{name:<60}{len(good) / SECONDS:>9.0f}{p50:>8.1f}{p95:>8.1f}{p99:>8.1f}{more}{errors:>8}", flush=True)
    return p95


def rss(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def running_server(path, *options):
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(path), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
        bound = time.monotonic() - start
        until(lambda: ask(port, "/api/similar?id=s7")[0] == 200, 60)
        yield process.pid, port, bound, time.monotonic() - start
    finally:
        process.terminate()
        process.wait(10)


def slow_clients(port, count, stop):
    """Return threads with connections that send a byte a second, and start again when they are closed."""

    def connect():
        while not stop.is_set():
            with contextlib.suppress(OSError), Client(port, 2) as client:
                client.socket.sendall(b"GET / HTTP/1.1\r\nX: ")
                while not stop.wait(1):
                    client.socket.sendall(b"a")
            stop.wait(0.2)

    return [threading.Thread(target=connect, daemon=True) for _ in range(count)]


def main():
    print(f"{COUNT:,} x {WIDTH}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {SECONDS:.0f} s each")
    print(f"{'':<60}{'a second':>9}{'p50 ms':>8}{'p95':>8}{'p99':>8}{'503s':>7}{'p95 ms':>9}{'errors':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "a.index", COUNT, WIDTH)
        with running_server(path) as (_, port, bound, first):
            cold = bound, first
        with running_server(path) as (pid, port, bound, first):
            near = ["/api/similar?id=s{n}"]
            measure("health, 8 clients", pid, port, ["/healthz"], 8)
            measure("page, 8 clients", pid, port, ["/"], 8)
            measure("lookup by id, 1 client", pid, port, near, 1)
            measure("lookup by id, 8 clients", pid, port, near, 8)
            words = ["/api/search?q=" + word for word in ("waltz", "slow+sad", "fast", "polka+in+spring")]
            measure("text query, 1 client", pid, port, words, 1)
            measure("new text query, 1 client", pid, port, ["/api/search?q=w{n}"], 1)
            hard = ["/api/similar?id=s{n}&where=tempo+%3E+{n}&k=20", "/api/similar?id=s{n}"]
            first_condition = rss(pid)
            measure("lookup under a condition, 2 clients", pid, port, hard[:1], 2)
            before = rss(pid)
            measure("overload by lookups, 64 clients", pid, port, near, 64)
            measure("and conditions, 64 clients, 0.1 s after a 503", pid, port, hard, 64, 0.1)
            measure("and conditions, 64 clients, immediately after a 503", pid, port, hard, 64)
            grown = rss(pid) - before
            measure("lookup by id, 1 client, afterwards", pid, port, near, 1)
            idle = measure("lookup by id, 4 clients", pid, port, near, 4)
            stop = threading.Event()
            threads = slow_clients(port, 200, stop)
            for thread in threads:
                thread.start()
            busy = measure("the same beside 200 slow connections", pid, port, near, 4)
            stop.set()
            print(f"p95 beside slow connections: {busy / idle:.2f} times as long")
            conditions = f"{before - first_condition:+.0f} MB by the first conditions"
            print(f"memory: {rss(pid):.0f} MB, {conditions}, {grown:+.0f} MB by the overload")
        print(
            f"start: bound after {cold[0]:.2f} s, first lookup after {cold[1]:.2f} s; again {bound:.2f}, {first:.2f} s"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(
            sys.argv[2],
            on_ready=lambda line: print(line, flush=True),
            port=0,
            load=lambda path, field: Embedder(WIDTH),
        )
    else:
        main()
