"""Takes away what Windows does not have from each Python process that finds this folder on its PYTHONPATH."""

import contextlib
import fcntl
import mmap
import multiprocessing
import os
import select
import signal
import subprocess  # before there is a module msvcrt, by which it knows Windows
import sys
import types

with contextlib.suppress(ImportError):
    import psutil  # noqa: F401  (its half for Linux needs the module resource)

ABSENT_MODULES = ["crypt", "fcntl", "grp", "posix_ipc", "pty", "pwd", "resource", "syslog", "termios", "tty"]
ABSENT_NAMES = {
    os: (
        "fork forkpty getuid geteuid getgid getegid getpgid setsid killpg waitid wait3 wait4 nice pread preadv pwrite "
        "readv writev chown lchown fchown chroot mkfifo mknod statvfs fstatvfs sched_getaffinity sched_setaffinity "
        "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK P_PID WEXITED WNOWAIT posix_fadvise posix_fallocate sendfile "
        "memfd_create getloadavg sysconf"
    ),
    select: "poll epoll POLLIN",
    signal: "SIGUSR2 SIGHUP SIGXCPU SIGALRM alarm setitimer pthread_kill pthread_sigmask sigwait sigwaitinfo",
    mmap: "MADV_DONTNEED MADV_SEQUENTIAL MADV_RANDOM",
}


def _locking(descriptor, mode, count):
    try:
        flock(descriptor, LOCK)
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error


flock, LOCK = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB
assert subprocess  # it is imported
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
sys.modules["msvcrt"].locking, sys.modules["msvcrt"].LK_NBLCK = _locking, 2
sys.modules.update(dict.fromkeys(ABSENT_MODULES))  # whose import then raises ImportError
for module, names in ABSENT_NAMES.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
multiprocessing.set_start_method("spawn")
