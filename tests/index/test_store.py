import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from jointembed.errors import DamagedError, MismatchError, UsageError, UserError
from jointembed.index.backends.connection import translate_errors
from jointembed.index.backends.schema import (
    APPLICATION_ID,
    MAX_COMMITS_IN_HISTORY,
    OLDEST_SCHEMA_VERSION,
    OLDEST_TEXT_TABLE,
    SCHEMA_VERSION,
)
from jointembed.index.backends.sqlite import SQLiteBackend
from jointembed.index.index import Index
from jointembed.index.verify import verify

EYE = np.eye(3, dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "songs.index"
    with_rows(path)
    return path


def with_rows(path, count=3):
    store = Index.create(path, 3, "cosine", model="runs/a", fingerprint="f")
    store.add([{"id": f"s{at}", "title": f"t{at}"} for at in range(count)], np.tile(EYE, (count, 1))[:count], "audio")
    store.close()


def query(path, sql):
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def change(path, *statements):
    db = sqlite3.connect(path)
    try:
        for sql in statements:
            db.execute(sql)
        db.commit()
    finally:
        db.close()


def change_default(path, old, new):
    change(path, f"UPDATE meta SET value = replace(value, '{old}', '{new}') WHERE key = 'default'")


def test_file_declares_its_format_and_holds_the_vectors(path):
    assert query(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "SELECT count(*) FROM rows JOIN vectors ON row = number") == [(3,)]
    [(blob,)] = query(path, "SELECT blob FROM vectors WHERE row = 1")
    assert np.frombuffer(blob, "<f4").tolist() == [1, 0, 0]
    store = Index(path)
    info = store.field_info()
    assert (info.model, info.fingerprint, info.metric, info.dim) == ("runs/a", "f", "cosine", 3)
    assert (store.fields, store.columns, store.info.generation) == (["audio"], ["title"], 1)
    store.close()


def test_a_clean_close_leaves_one_file(path):
    assert [first.name for first in path.parent.iterdir()] == ["songs.index"]


def truncated(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(20_000)),
    "text": lambda path: path.write_text("id,title\n" * 1000),
    "head only": lambda path: truncated(path, 0.001),
    "cut in half": lambda path: truncated(path, 0.5),
    "last bytes cut": lambda path: truncated(path, 0.9999),
    "another program's": lambda path: (path.unlink(), change(path, "CREATE TABLE songs(id)")),
    "a trigger": lambda path: change(path, "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM paths; END"),
    "a view": lambda path: change(path, "CREATE VIEW v AS SELECT 1"),
    "a table less": lambda path: change(path, "DROP TABLE paths"),
    "metric": lambda path: change(
        path, "UPDATE meta SET value = replace(value, 'cosine', 'manhattan') WHERE key = 'default'"
    ),
    "huge dimension": lambda path: change(
        path, "UPDATE meta SET value = replace(value, '3', '2147483648') WHERE key = 'default'"
    ),
    "no dimension": lambda path: change(path, "DELETE FROM meta WHERE key = 'default'"),
    "columns": lambda path: change(path, "UPDATE meta SET value = '{' WHERE key = 'columns'"),
    "a way out": lambda path: change(path, "UPDATE meta SET value = '\"../../xy\"' WHERE key = 'identity'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line_with_the_command_that_mends_it(path, damage):
    DAMAGES[damage](path)
    with pytest.raises(DamagedError) as failure:
        store = Index(path)
        try:
            len(store.fields)
        finally:
            store.close()
    assert failure.value.code == 5
    assert str(path) in str(failure.value) and f"jointembed index MODEL SOURCE {path}" in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("version, fix", [(SCHEMA_VERSION + 1, "pip install -U jointembed"), (0, "jointembed index")])
def test_another_version_is_a_mismatch(path, version, fix):
    change(path, f"PRAGMA user_version={version}")
    with pytest.raises(MismatchError, match=fix):
        Index(path)


def test_an_index_of_the_version_before_is_read_and_its_words_are_split_anew_when_it_is_written(path):
    change(
        path,
        "DROP TABLE text",
        OLDEST_TEXT_TABLE,
        "INSERT INTO text(rowid, title, rest) VALUES(1, 't0', 's0'), (2, 't1', 's1'), (3, 't2', 's2')",
        f"PRAGMA user_version={OLDEST_SCHEMA_VERSION}",
    )
    with Index.open(path) as index:
        assert [hit.id for hit in index.search_text("t1")] == ["s1"] and index.field_info().dim == 3
    assert verify(path).rows == 3 and query(path, "PRAGMA user_version") == [(OLDEST_SCHEMA_VERSION,)]
    with Index.open(path) as index:
        index.add([{"id": "s3", "title": "दिल"}, {"id": "s1", "title": "polka"}], EYE[:2], "audio")
        assert [hit.id for hit in index.search_text("दिल")] == ["s3"] and index.search_text("दाल") == []
        assert [hit.id for hit in index.search_text("polka")] == ["s1"] and index.search_text("t1") == []
        assert [hit.id for hit in index.search_text("t2")] == ["s2"]
    assert verify(path).rows == 4 and query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_pages_of_garbage_are_damage_and_no_crash(path):
    data = bytearray(path.read_bytes())
    data[4096:] = np.random.default_rng(1).bytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(DamagedError):
        store = Index(path)
        try:
            with store.backend.read() as view:
                view.db.execute("SELECT * FROM rows, vectors, meta").fetchall()
        finally:
            store.close()


def test_no_file_is_usage(tmp_path):
    with pytest.raises(UsageError, match="index not found"):
        Index(tmp_path / "none")
    with pytest.raises(UsageError, match="this is a folder, not an index"):
        Index(tmp_path)


def test_a_misspelt_path_is_corrected(tmp_path, monkeypatch):
    Index.create(tmp_path / "songs.index", 4, "cosine").close()
    monkeypatch.chdir(tmp_path)
    for path, right in ((tmp_path / "songs.indx", tmp_path / "songs.index"), ("song.index", "songs.index")):
        with pytest.raises(UsageError) as error:
            Index.open(path)
        assert error.value.fix == f"did you mean {right}?"
    with pytest.raises(UsageError) as error:
        Index.open("pictures")
    assert error.value.fix.startswith("make it with: ")


def test_create_replaces_an_index_but_nothing_else(path, tmp_path):
    Index.create(path, 2, "euclidean").close()
    assert query(path, "SELECT count(*) FROM rows") == [(0,)]
    second = tmp_path / "notes.txt"
    second.write_text("keep me")
    with pytest.raises(UsageError, match="not an index"):
        Index.create(second, 2, "cosine")
    assert second.read_text() == "keep me"
    with pytest.raises(UsageError):
        Index.create(tmp_path, 2, "cosine")
    second.write_text("")
    Index.create(second, 2, "cosine").close()


def test_create_does_not_replay_the_log_of_the_old_file(path):
    old = Index(path)
    old.add([{"id": "late"}], EYE[:1], "audio")
    assert path.with_name("songs.index-wal").stat().st_size
    new = Index.create(path, 3, "cosine")
    assert new.info.generation == 0
    assert query(path, "SELECT count(*) FROM rows") == [(0,)]
    new.close()
    old.close()


@pytest.mark.parametrize("dim, metric", [(0, "cosine"), (-1, "cosine"), (2**31, "cosine"), (3, "manhattan")])
def test_create_refuses_what_no_index_can_be(tmp_path, dim, metric):
    with pytest.raises(UsageError):
        Index.create(tmp_path / "a.index", dim, metric)
    assert not list(tmp_path.iterdir())


BAD = {
    "nan": ("cosine", [[np.nan, 0, 0]]),
    "infinity": ("euclidean", [[np.inf, 0, 0]]),
    "nan, euclidean": ("euclidean", [[0, np.nan, 0]]),
    "overflow": ("euclidean", [[1e30, 0, 0]]),
    "zero": ("cosine", [[0, 0, 0]]),
    "long": ("cosine", [[1.01, 0, 0]]),
    "short": ("cosine", [[0.99, 0, 0]]),
}


@pytest.mark.parametrize("bad", BAD)
def test_vectors_that_may_not_be_stored(tmp_path, bad):
    metric, vectors = BAD[bad]
    store = Index.create(tmp_path / "a.index", 3, metric)
    with pytest.raises(UserError, match="vector 1 of 2"):
        store.add([{"id": "a"}, {"id": "b"}], np.concatenate([EYE[:1], np.array(vectors, np.float32)]), "audio")
    assert store.info.generation == 0
    store.close()
    assert query(tmp_path / "a.index", "SELECT count(*) FROM rows") == [(0,)]


def test_shapes_and_ids_are_checked(path):
    store = Index(path)
    with pytest.raises(MismatchError, match="3 dimensions"):
        store.add([{"id": "a"}], np.ones((1, 2), np.float32), "audio")
    with pytest.raises(MismatchError):
        store.add([{"id": "a"}], EYE, "audio")
    for bad in (None, 3, "", "\ud800"):
        with pytest.raises(UsageError, match="must be Unicode text"):
            store.add([{"id": bad}], EYE[:1], "audio")
    with pytest.raises(UsageError, match="two rows"):
        store.add([{"id": "x"}, {"id": "y"}, {"id": "x"}], EYE, "audio")
    assert store.info.generation == 1
    store.close()


def test_a_write_that_fails_leaves_nothing(path):
    store = Index(path)
    with pytest.raises(KeyError), store.backend.write() as transaction:
        transaction.db.execute("DELETE FROM rows")
        raise KeyError
    assert store.info.generation == 1
    with store.backend.read() as view:
        assert view.db.execute("SELECT count(*) FROM rows").fetchall() == [(3,)]
    store.close()


def test_readers_cannot_write_nor_call_what_they_need_not(path):
    store = Index(path)
    hostile = [
        "DELETE FROM rows",
        "PRAGMA query_only=OFF",
        "ATTACH ':memory:' AS x",
        "SELECT load_extension('x')",
        "CREATE TEMP TABLE x(y)",
        "SELECT randomblob(9)",
        "SELECT writefile('x', 'y')",
    ]
    for sql in hostile:
        with pytest.raises(sqlite3.DatabaseError), store.backend.read() as view:
            view.db.execute(sql)
    with store.backend.read() as view:
        assert view.db.execute("SELECT count(*) FROM rows").fetchall() == [(3,)]
    store.close()


def test_a_second_writer_is_told_so(path, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **more, timeout=0.05))
    first, second = Index(path), Index(path)
    with first.backend.write(), pytest.raises(UsageError, match="another process is writing"), second.backend.write():
        pass
    second.close()
    first.close()


def test_files_and_their_content_follow_the_rows(path):
    store = Index(path)
    store.add(
        [{"id": "a", "_file": "x/a.wav", "_hash": "1"}, {"id": "b", "_file": b"x/\xff.wav", "_hash": "1"}],
        EYE[:2],
        "audio",
    )
    assert query(path, "SELECT hash FROM content") == [("1",)]
    assert query(path, "SELECT path FROM paths ORDER BY 1") == [(b"x/a.wav",), (b"x/\xff.wav",)]
    store.add([{"id": "a", "_file": "x/a.wav", "_hash": "2"}], EYE[:1], "audio")
    assert query(path, "SELECT hash, path FROM content JOIN paths ON content = number ORDER BY 1") == [
        ("1", b"x/\xff.wav"),
        ("2", b"x/a.wav"),
    ]
    store.add([{"id": "a"}], EYE[:1], "text")
    assert query(path, "SELECT hash FROM rows JOIN content ON content = content.number WHERE id = 'a'") == [("2",)]
    store.remove(["b"])
    assert query(path, "SELECT hash, path FROM content JOIN paths ON content = number") == [("2", b"x/a.wav")]
    assert store.remove(["a", "a", "unknown"]) == 1
    assert query(path, "SELECT (SELECT count(*) FROM content), (SELECT count(*) FROM paths)") == [(0, 0)]
    assert query(path, "PRAGMA foreign_key_check") == []
    store.close()


def test_a_crash_while_writing_leaves_the_last_commit(path):
    code = (
        "import os, sys, numpy as np\nfrom jointembed.index.index import Index\n"
        f"store = Index({str(path)!r})\nstore.add([{{'id': 'kept'}}], np.eye(3, dtype=np.float32)[:1], 'audio')\n"
        "with store.backend.write() as transaction:\n    transaction.db.execute('DELETE FROM rows')\n    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    store = Index(path)
    with store.backend.read() as view:
        assert [id for (id,) in view.db.execute("SELECT id FROM rows ORDER BY number")] == ["s0", "s1", "s2", "kept"]
    assert store.info.generation == 2
    store.close()


def add_elsewhere(path, name):
    """Add a row in another process."""
    code = (
        "import sys, numpy as np\nfrom jointembed.index.index import Index\nwith Index(sys.argv[1]) as index:\n"
        "    index.add([{'id': sys.argv[2]}], np.eye(3, dtype=np.float32)[:1], 'audio')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path), name], check=True)


def test_an_open_index_sees_each_commit_of_another_process(path):
    """Opening the file beside SQLite would release its lock, and the other process would then delete the log."""
    with Index(path) as index:
        assert len(index) == 3
        for count, name in enumerate("abc", 4):
            add_elsewhere(path, name)
            assert len(index) == count and [hit.id for hit in index.search(EYE[0], count)][-1] != name
            with Index(path) as second:  # which is opened and closed meanwhile
                assert second.version == index.version


def test_a_writer_leaves_all_in_the_file_even_if_others_read_it(path, tmp_path):
    """A file that takes its place then, or a copy of it alone, has nothing to do with its log."""
    with Index(path) as index:
        assert len(index) == 3
        add_elsewhere(path, "new")
        shutil.copy(path, tmp_path / "copy.index")
        with Index(tmp_path / "copy.index") as copy:
            assert copy.ids() == index.ids() and len(copy) == 4


def test_on_a_network_file_system_the_file_is_read_as_it_is(path, tmp_path):
    """Processes of two computers cannot share a log: a reader makes none and reads none."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:5 / {tmp_path} rw shared:1 - cifs //nas/x rw\n")
    with Index(SQLiteBackend(path, mounts)) as remote, Index(SQLiteBackend(path, mounts)) as writer:
        assert [hit.id for hit in remote.similar("s0", 2)] == ["s1", "s2"]
        assert [name for name in os.listdir(tmp_path) if name.endswith(("-wal", "-shm"))] == []
        writer.add([{"id": "mine"}], EYE[:1], "audio")  # as a script of this computer does
        assert len(writer) == 4 and writer.ids()[-1] == "mine"
        with pytest.raises(UsageError, match=r"another computer may be writing .* \(cifs\)"):
            SQLiteBackend(path, mounts)
        assert len(remote) == 3  # the last version that is whole in the file
        writer.close()
        assert len(remote) == 4 and [hit.id for hit in remote.search(EYE[0], 9)][-1] == "s2"


@pytest.mark.parametrize("code, message", [
    (sqlite3.SQLITE_IOERR_READ, "check its disk or its network mount, then run: jointembed verify"),
    (sqlite3.SQLITE_IOERR_SHMMAP, "check its disk or its network mount"),
    (sqlite3.SQLITE_IOERR_SHORT_READ, "this index is broken. Fix: delete it"),
])  # fmt: skip
def test_a_disk_that_fails_is_no_reason_to_delete_the_index(path, code, message):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with pytest.raises(DamagedError) as failure, translate_errors(path):
        raise error
    assert message in str(failure.value)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_may_not_be_written_can_be_searched(path):
    import tempfile

    folder = tempfile.mkdtemp()
    place = f"{folder}/songs.index"
    shutil.copy(path, place)
    os.chmod(place, 0o444)
    os.chmod(folder, 0o555)
    code = (
        "import numpy as np\nfrom jointembed.errors import UsageError\nfrom jointembed.index.index import Index\n"
        f"with Index.open({place!r}) as index:\n    assert len(index.similar('s0', 5)) == 2\n"
        "    try:\n        index.remove(['s0'])\n    except UsageError as error:\n        print(error)\n"
    )
    drop = f"import os\nos.setgid(65534), os.setuid(65534)\n{code}" if os.geteuid() == 0 else code
    load = "import jointembed.index.index, jointembed.errors, difflib\n"  # before the rights to read them may go
    try:
        done = subprocess.run([sys.executable, "-c", load + drop], capture_output=True, text=True, check=False)
        assert "may not be opened or written" in done.stdout, done.stderr
        assert os.listdir(folder) == ["songs.index"]
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)


def test_columns_of_two_models_lie_in_one_index_and_are_kept_apart(path):
    wide = np.eye(5, dtype=np.float32)[:3]
    with Index.open(path) as index:
        index.add_field("words", 5, "euclidean", "runs/b", "g", model_signature="now")
        index.add([{"id": f"s{at}"} for at in range(3)], 2 * wide, "words")
        assert index.fields == ["audio", "words"]
        assert [hit.id for hit in index.search(2 * wide[2], 1, "words")] == ["s2"]
        assert [hit.id for hit in index.search(EYE[1], 1)] == ["s1"]
        assert (index.field_info("words").dim, index.field_info("audio").dim) == (5, 3)
        index.check_model("g", "words")
        index.check_model("f", "audio")
        index.set_field_info("words", model_signature="later")
        assert (index.field_info("words").model_signature, index.field_info("audio").model_signature) == ("later", "")
        with pytest.raises(MismatchError, match="another model made"):
            index.check_model("g", "audio")
        with pytest.raises(MismatchError, match="5 dimensions"):
            index.add([{"id": "s0"}], EYE[:1], "words")
        for column in ("audio", "words"):
            with pytest.raises(UsageError, match="this field already"):
                index.add_field(column, 4, "cosine")
        with pytest.raises(UsageError, match="manhattan"):
            index.add_field("other", 4, "manhattan")
    assert verify(path).vectors == {"audio": 3, "words": 3}
    change(path, """UPDATE meta SET value = '{"words": {"dim": 0}}' WHERE key = 'declared'""")
    with pytest.raises(DamagedError, match="description"), Index.open(path) as index:
        index.search(EYE[0], 1)


def test_words_of_the_models_own_space_are_kept_with_a_column(path):
    with Index.open(path) as index:
        assert index.vocabulary() == ([], pytest.approx(np.empty((0, 3))))
        index.set_vocabulary(["waltz", "reel"], EYE[:2], "audio")
        index.set_vocabulary(["reel", "jig"], EYE[1:], "audio")
        words, vectors = index.vocabulary()
        assert (words, vectors.tolist()) == (["reel", "jig"], EYE[1:].tolist())
        assert index.vocabulary("none")[0] == []
        with pytest.raises(UserError, match="of length 1"):
            index.set_vocabulary(["polka"], 2 * EYE[:1], "audio")
    verify(path)
    change(path, "UPDATE terms SET word = 'jug' WHERE word = 'jig'")
    with pytest.raises(DamagedError, match="terms has changed"):
        verify(path)


def test_failed_write_of_clusters_changes_nothing(path):
    with Index.open(path) as index:
        index.write_clusters("cluster", {"s0": "1 slow"}, ["1 slow"])
        index.update([{"id": "s2", "cluster": "mine"}])
        version, rows = index.version, [index.row(id) for id in index.ids()]
        with pytest.raises(UsageError, match="already have a column"):  # at the last row, after the others are written
            index.write_clusters("cluster", {"s0": "1 fast", "s1": "1 fast"}, ["1 fast"])
        assert index.version == version and [index.row(id) for id in index.ids()] == rows
        assert index.info.clusters == {"cluster": ["1 slow"]} and index.search_text("fast") == []
        index.update([{"id": "s2", "cluster": None}])
        index.write_clusters("cluster", {"s1": "1 fast"}, ["1 fast"])
        assert [index.row(id).get("cluster") for id in index.ids()] == [None, "1 fast", None]


def test_history_is_bounded_and_what_is_older_is_read_again(path):
    with Index.open(path) as reader, Index.open(path) as index:
        assert [hit.id for hit in reader.search(EYE[0], 1)] == ["s0"]  # its vectors stay in memory and in a cache
        index.remove(["s0"])
        for _ in range(MAX_COMMITS_IN_HISTORY // 2):
            index.add([{"id": "x"}], EYE[:1], "audio")
            index.remove(["x"])
        assert query(path, "SELECT count(*) FROM commits") == [(MAX_COMMITS_IN_HISTORY,)]
        assert query(path, "SELECT count(*) FROM removed") == [(MAX_COMMITS_IN_HISTORY // 2,)]
        assert sorted(hit.id for hit in reader.search(EYE[0], 3)) == ["s1", "s2"]
    verify(path)
