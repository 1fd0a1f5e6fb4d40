import os
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from scan_stub import DIM, Decoder, Embedder, opened, state

from jointembed.__main__ import main
from jointembed.errors import DamagedError, UserError
from jointembed.index.cache import cache_path, write_checked
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import list_skips, scan


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An index with files, copies, missing ones, skips and a cache."""
    top = tmp_path_factory.mktemp("whole")
    root, place = top / "music", top / "songs.index"
    root.mkdir()
    for at in range(60):
        (root / f"{at}.wav").write_bytes(b"BAD" if at % 20 == 7 else b"song %d" % (at // 2))
    with opened(place) as index:
        scan(index, root, Decoder(), Embedder())
        for at in (4, 5, 6):
            (root / f"{at}.wav").unlink()
        scan(index, root, Decoder(), Embedder())
        index.similar("0.wav")
    return place


@pytest.fixture
def place(whole, tmp_path):
    for file in whole.parent.glob("songs.index*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "songs.index"


def answers(place):
    """All that a user can learn of an index."""
    with Index.open(place) as index:
        hits = [[(hit.id, hit.score) for hit in index.similar(id, 100)] for id in index.ids()]
        resolved = [index.resolve(f"{at}.wav") for at in range(60)]
        before = (index.field_info(), list_skips(index), len(index))
        with index.backend.read() as view:
            stats = view.db.execute(
                "SELECT path, size, mtime, inode, missing, hash FROM paths JOIN content ON number = content"
            )
            return state(place), hits, resolved, before, sorted(stats.fetchall()), index.search_text("wav song")


def test_a_whole_index_is_described(place, capsys):
    detected = verify(place)
    assert (detected.rows, detected.vectors, detected.files) == (30, {"audio": 30}, 57)
    assert (detected.missing, detected.skips, detected.model, detected.fingerprint) == (
        3,
        {"no-audio": 3},
        "model",
        "f1",
    )
    assert main(["verify", str(place)]) == 0
    printed = capsys.readouterr().out
    assert "30 rows, 30 vectors of audio" in printed and "57 files, 3 missing, 3 skipped (3 no-audio)" in printed


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        old = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([old ^ 1 << bit % 8]))


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found_or_changes_nothing(place, count):
    right, rng = answers(place), random.Random(count)
    with Index.open(place) as index:
        cached = cache_path(index.path, index.info, "audio", "f32")
    for path in (place, cached):
        content, detected = path.read_bytes(), 0
        for _ in range(count if path == place else count // 5):
            bit = rng.randrange(8 * len(content))
            flip(path, bit)
            try:
                removed = verify(place).removed
            except UserError as failure:
                detected += 1
                assert "Fix:" in str(failure) and "\n" not in str(failure)
            else:
                detected += removed == (path,)
                assert answers(place) == right, bit
            for old in place.parent.glob("songs.index-[ws][ah][lm]"):
                old.unlink()
            path.write_bytes(content)
            os.utime(path)
        assert detected > 0
    verify(place)


def change(place, sql):
    db = sqlite3.connect(place)
    try:
        db.execute(sql)
        db.commit()
    finally:
        db.close()


CHANGES = {
    "UPDATE vectors SET blob = zeroblob(32) WHERE row = 3": "table vectors",
    "UPDATE vectors SET row = 100 WHERE row = 3": "table vectors",
    "UPDATE rows SET id = 'x' WHERE number = 3": "table rows",
    "UPDATE rows SET content = 1 WHERE number = 3": "table rows",
    "UPDATE rows SET columns = '{}' WHERE number = 3": "table rows",
    "UPDATE paths SET missing = 1 WHERE path = CAST('9.wav' AS BLOB)": "table paths",
    "UPDATE content SET hash = 'x' WHERE number = 3": "table content",
    "UPDATE commits SET token = 'x'": "table commits",
    "DELETE FROM commits WHERE generation = 1": "list of commits",
    "DELETE FROM text_docsize WHERE id = 3": "full text",
    "UPDATE text_data SET block = zeroblob(9) WHERE id = 1": "full text",
    "UPDATE skips SET reason = 'x'": "table skips",
    "UPDATE meta SET value = replace(value, 'model', 'other') WHERE key = 'default'": "description",
    "DELETE FROM vectors WHERE row = 3": "row 3 has no vector",
    "DELETE FROM rows WHERE number = 3": "refers to nothing",
    "UPDATE sqlite_sequence SET seq = 1": "sqlite_sequence is behind",
}


@pytest.mark.parametrize("sql", CHANGES)
def test_what_another_program_changed_is_found(place, sql, capsys):
    change(place, sql)
    with pytest.raises(DamagedError, match=CHANGES[sql]) as failure:
        verify(place)
    assert failure.value.code == 5 and f"jointembed index MODEL SOURCE {place}" in str(failure.value)
    assert main(["verify", str(place)]) == 5
    assert capsys.readouterr().err.count("\n") == 1


def another_index(path):
    content = bytearray(path.read_bytes())
    content[:64] = content[64:128]
    path.write_bytes(content)


def test_a_cache_of_another_index_is_found_and_not_used(place, capsys):
    with Index.open(place) as index:
        before = index.similar("0.wav")
        cached = cache_path(index.path, index.info, "audio", "f32")
        another_index(cached)
        with Index.open(place) as again:
            assert again.similar("0.wav") == before
        another_index(cached)
    assert main(["verify", str(place)]) == 0 and not cached.exists()
    assert f"{cached}: removed, because this cache did not match the index" in capsys.readouterr().out
    with Index.open(place) as again:
        assert again.similar("0.wav") == before
    assert verify(place).removed == () and cached.exists()


def test_damaged_map_is_removed(place, monkeypatch):
    with Index.open(place) as index:
        path = cache_path(index.path, index.info, "audio", "umap2")
    write_checked(path, np.zeros((30, 2), "<f4").tobytes())
    assert verify(place).removed == () and path.exists()
    flip(path, 77)
    assert verify(place).removed == (path,)
    write_checked(path, b"1234")
    flip(path, 3)
    with monkeypatch.context() as patch:  # another process removes it just now
        patch.setattr(Path, "unlink", lambda path: os.remove(path) or os.remove(path))
        assert verify(place).removed == ()
    write_checked(path, b"1234")
    flip(path, 3)
    monkeypatch.setattr(Path, "unlink", lambda path: (_ for _ in ()).throw(PermissionError("no")))
    with pytest.raises(DamagedError, match=f"rm {path}"):
        verify(place)


def test_vectors_of_a_table_are_verified_too(tmp_path):
    place = tmp_path / "a.index"
    rows = [{"id": str(at), "_file": f"{at}.wav"} for at in range(DIM)]
    with Index.create(place, DIM, "euclidean") as index:
        index.add(rows, 5 * np.eye(DIM, dtype=np.float32), "audio")
        index.remove(["3"])
    assert (verify(place).rows, verify(place).files, verify(place).fingerprint) == (DIM - 1, 0, "")


def test_a_table_tells_which_rows_have_changed(tmp_path):
    rows = [{"id": str(at), "_digest": f"cell {at}", "genre": "waltz"} for at in range(4)]
    with Index.create(tmp_path / "a.index", DIM, "cosine") as index:
        assert index.unchanged(rows, "audio") == [False] * 4
        index.add(rows, np.eye(DIM, dtype=np.float32)[:4], "audio")
        rows[1]["_digest"] = "another"
        assert index.unchanged([*rows, {"id": "new", "_digest": "x"}, {"id": "0"}], "audio") == [
            *(True, False, True, True),
            *(False, False),
        ]
        assert index.unchanged(rows, "text") == [False] * 4
        vectors = index.vectors()[1].tobytes()
        index.update([{"id": "2", "genre": "polka", "tempo": 100}, {"id": "unknown"}])
        assert index.row("2") == {"id": "2", "genre": "polka", "tempo": 100} and len(index) == 4
        assert index.similar("0", 9, where="tempo = 100")[0].id == "2"
        assert index.vectors()[1].tobytes() == vectors and index.unchanged(rows[2:3], "audio") == [True]
    verify(tmp_path / "a.index")
