"""Whether a folder is on a network file system, where SQLite's locks and its log are not reliable."""

from __future__ import annotations

import re
from pathlib import Path

NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "cifs", "smb", "smbfs", "smb3", "9p", "afs", "afpfs", "ncpfs", "ceph", "glusterfs", "davfs",
    "sshfs", "rclone", "s3fs", "smbnetfs",
}  # fmt: skip
MOUNTS = Path("/proc/self/mountinfo")


def network_file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the network file system that a folder is on; None for a local disk, or if it cannot be determined.

    Args:
        folder: the folder.
        mounts: the system's list of mounted file systems.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    nearest, file_system, place = "", "", folder.resolve()
    for line in lines:
        words = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])  # a space is written \040
        if len(point) >= len(nearest) and place.is_relative_to(point):
            nearest, file_system = point, words[words.index("-") + 1]
    return file_system if file_system.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS else None
