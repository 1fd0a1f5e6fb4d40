"""Injects faults into a process: python faults.py PLAN@N KIND FOLDER INDEX scans a folder as scan_stub.py does.

The Nth operation of the KIND fails: `files` counts writes, flushes and renames of whole files, `sql` the statements
that change an index. PLAN is kill, eio, enospc or short (a write that stops half-way). INDEX.fired tells that the fault
was reached.
"""

import builtins
import errno
import io
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

SQLITE_CODES = {"eio": sqlite3.SQLITE_IOERR, "enospc": sqlite3.SQLITE_FULL}
ERRNOS = {"eio": errno.EIO, "enospc": errno.ENOSPC, "short": errno.EIO}


class Fault:
    """Counts operations and reaches its plan at the Nth."""

    def __init__(self, plan, nth, fired):
        self.plan, self.nth, self.fired, self.count = plan, nth, fired, 0

    def is_due(self):
        self.count += 1
        if self.count != self.nth:
            return False
        Path(self.fired).touch()
        if self.plan == "kill":
            os.kill(os.getpid(), 9)
        return True

    def error(self):
        code = ERRNOS[self.plan]
        return OSError(code, os.strerror(code))


class ShortFile(io.FileIO):
    """A file whose first write stops half-way."""

    def __init__(self, path, fault):
        super().__init__(path, "w")
        self.fault = fault

    def write(self, content):
        super().write(bytes(content)[: len(content) // 2])
        raise self.fault.error()


def fail_files(fault):
    def failing(function):
        def call(*args, **more):
            if fault.plan != "short" and fault.is_due():
                raise fault.error()
            return function(*args, **more)

        return call

    def open_file(path, mode="r", *args, **more):
        if mode == "wb" and fault.is_due():
            if fault.plan == "short":
                return ShortFile(path, fault)
            raise fault.error()
        return plain_open(path, mode, *args, **more)

    plain_open = builtins.open
    os.fsync, os.replace, builtins.open = failing(os.fsync), failing(os.replace), open_file


def fail_sql(fault):
    class Connection(sqlite3.Connection):
        def execute(self, sql, *more):
            if not sql.startswith(("SELECT", "PRAGMA")) and fault.is_due():
                error = sqlite3.OperationalError("planned")
                error.sqlite_errorcode = SQLITE_CODES[fault.plan]
                raise error
            return super().execute(sql, *more)

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **more: connect(*args, **more, factory=Connection)


def scan_with_fault(plan, nth, kind, root, place):
    """The finished process, and whether the fault was reached."""
    fired = place.with_name(place.name + ".fired")
    fired.unlink(missing_ok=True)
    words = [sys.executable, __file__, f"{plan}@{nth}", kind, str(root), str(place)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    return done, fired.exists()


if __name__ == "__main__":
    import scan_stub

    plan, _, nth = sys.argv[1].partition("@")
    fault = Fault(plan, int(nth), f"{sys.argv[4]}.fired")
    {"files": fail_files, "sql": fail_sql}[sys.argv[2]](fault)
    scan_stub.run_command(sys.argv[3], sys.argv[4])
