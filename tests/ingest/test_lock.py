"""One writer of an index, and none on a network file system."""

import pytest

from jointembed.errors import UsageError
from jointembed.ingest import exclusive_lock


def test_network_file_system_is_refused(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/x rw\n"
        f"2 1 0:5 / {tmp_path}/far\\040away rw,noatime shared:1 - nfs4 host:/x rw\n"
        f"3 1 0:6 / {tmp_path}/ssh rw - fuse.sshfs host:/x rw\n"
        f"4 2 0:7 / {tmp_path}/far\\040away/near rw - ext4 /dev/y rw\n"
    )
    for name, file_system in (("far away", "nfs4"), ("ssh/deep", "fuse.sshfs")):
        with pytest.raises(UsageError, match=f"network file system .{file_system}.*put the index on a disk"):
            with exclusive_lock(tmp_path / name / "a.index", mounts):
                pass
    with exclusive_lock(tmp_path / "far away" / "near" / "a.index", mounts):
        assert (tmp_path / "far away" / "near" / "a.index.lock").exists()
    with exclusive_lock(tmp_path / "far away" / "a.index", tmp_path / "none"):
        pass


def test_lock_may_be_taken_twice_by_one_process_and_is_gone_afterwards(tmp_path):
    with exclusive_lock(tmp_path / "a.index"), exclusive_lock(tmp_path / "a.index"):
        assert (tmp_path / "a.index.lock").read_text().startswith("pid ")
    assert not list(tmp_path.iterdir())
