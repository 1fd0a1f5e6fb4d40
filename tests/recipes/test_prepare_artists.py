"""Listeners and their artists, as HetRec 2011 publishes them."""

from collections import Counter

import pytest


@pytest.fixture
def prepare(prepared):
    return lambda source, out, *options: prepared("artists", out, source, out, *options)


@pytest.fixture
def hetrec(tmp_path):
    folder = tmp_path / "hetrec"
    folder.mkdir()
    plays = [f"{user}\t{artist}\t{100 * artist}" for user in range(1, 11) for artist in range(user, user + 10)]
    (folder / "user_artists.dat").write_text("userID\tartistID\tweight\n" + "\n".join([*plays, "11\t1\t5"]))
    names = [f'{n}\tArt "{n}\thttp://x\thttp://y' for n in range(1, 20)]
    (folder / "artists.dat").write_text("id\tname\turl\tpictureURL\n" + "\n".join(names))
    (folder / "tags.dat").write_bytes(b"tagID\ttagValue\n1\tmetal\n2\tchan\xe7on\n")
    (folder / "user_taggedartists.dat").write_text("userID\tartistID\ttagID\tday\n1\t3\t1\t1\n2\t3\t1\t1\n2\t3\t2\t1\n")
    return folder


def test_targets_are_never_in_training_rows(prepare, hetrec, tmp_path):
    table = prepare(hetrec, tmp_path / "out")
    rows = [row for row in table if not row["id"].startswith("tags ")]
    assert Counter(row["split"] for row in rows) == {"train": 11, "dev": 1, "test": 10, "artists": 19}
    targets = {row["user"]: set(row["artist"]) for row in rows if row["split"] == "test"}
    assert all(len(artists) == 2 for artists in targets.values())
    [dev] = [row for row in rows if row["split"] == "dev"]
    for row in rows:
        if row["split"] == "train" and row["user"] in targets:
            hidden = targets[row["user"]] | (set(dev["artist"]) if row["user"] == dev["user"] else set())
            assert not hidden & set(row["heard"] + row["artist"]) and row["heard"] == row["artist"]
    third = next(row for row in rows if row["id"] == "artist 3")
    tags = {row["artist"]: row["tags"] for row in table if row not in rows}
    assert tags == {row["artist"]: row["tags"] for row in rows if row["split"] == "artists" and "tags" in row}
    assert all(row["split"] == "train" for row in table if row not in rows) and tags
    assert third["name"] == 'Art "3' and third["tags"][0] == "metal" and len(third["tags"]) == 2


def test_seed_decides_what_is_held_back(prepare, hetrec, tmp_path):
    def held_out(seed):
        rows = prepare(hetrec, tmp_path / "out", "--seed", seed)
        return [row["artist"] for row in rows if row["split"] == "test"]

    assert held_out("1") == held_out("1") != held_out("2")


@pytest.mark.parametrize("name", ["user_artists.dat", "tags.dat", "user_taggedartists.dat"])
def test_a_missing_file_is_reported_with_what_to_fetch(prepare, hetrec, tmp_path, capsys, name):
    (hetrec / name).unlink()
    with pytest.raises(SystemExit) as stop:
        prepare(hetrec, tmp_path / "out")
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.count("\n") == 1 and "hetrec2011" in message and name in message
