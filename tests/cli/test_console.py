"""Search results on terminals and in pipes, conditions and playlists."""

import json
import os
import re

import numpy as np
import pytest
from rich.cells import cell_len

from jointembed import Index
from jointembed.__main__ import main

ARTISTS = ("Odile Marchetti", "Copper Wren", "The Tin Lanterns", "Lowell Finch Quintet")
WORDS = ("waltz", "couples", "accordion", "quick", "strong", "wooden")


def rows(folder=False):
    table_rows = []
    for at in range(12):
        row = {"id": f"waltz-{at:03}-a96957", "title": f"Silver Corridor {at}", "genre": "waltz"}
        if folder:
            row |= {"id": f"Album {at % 3}/{at:02} Slow one.flac", "path": f"Album {at % 3}/{at:02} Slow one.flac"}
        row |= {"artist": ARTISTS[at % 4], "tempo": 90 + at, "mood": None if at % 2 else "calm"}
        table_rows.append(row | {"cluster": f"{at % 2 + 1} {ARTISTS[at % 2]}, {ARTISTS[3 - at % 2]}"})
    return table_rows


def make(path, listed, **about):
    rng = np.random.default_rng(0)
    clusters = {row["id"]: row["cluster"] for row in listed if "cluster" in row}
    listed = [{name: cell for name, cell in row.items() if name != "cluster"} for row in listed]
    with Index.create(path, 4, "cosine", **about) as index:
        vectors = rng.standard_normal((len(listed), 4)).astype(np.float32)
        index.add(listed, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), "audio")
        terms = rng.standard_normal((len(WORDS), 4)).astype(np.float32)
        index.set_vocabulary(WORDS, terms / np.linalg.norm(terms, axis=1, keepdims=True), "audio")
        if clusters:
            index.write_clusters("cluster", clusters, sorted(set(clusters.values())))
    return path


@pytest.fixture
def songs(tmp_path):
    return make(tmp_path / "songs.index", rows())


@pytest.fixture
def ask(capsys, monkeypatch):
    def run(*words, columns=None):
        """Run a command in a pipe, or in a terminal of so many columns."""
        for name in ("COLUMNS", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name, raising=False)
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
            monkeypatch.setenv("TTY_COMPATIBLE", "1")
            monkeypatch.setenv("NO_COLOR", "1")
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, re.sub(r"\x1b\[[0-9;]*m", "", out), err

    return run


def heading(out):
    return out.splitlines()[0].split()


@pytest.mark.parametrize("columns", [60, 80, 100, 140, 200])
@pytest.mark.parametrize("command", [("similar",), ("path",), ("search", "--mode", "text")])
def test_titles_and_nearest_words_are_shown_in_any_terminal(songs, ask, columns, command):
    name, *more = command
    items = {"similar": ["waltz-000-a96957"], "path": ["waltz-000-a96957", "waltz-005-a96957"], "search": ["Silver"]}
    code, out, _ = ask(name, songs, *items[name], *more, columns=columns)
    lines = out.splitlines()
    assert code == 0 and max(map(len, lines)) <= columns and not lines[0].endswith("…")
    assert {"score", "title", "words"} <= set(heading(out))
    assert all("Silver Corridor " in line and any(f" {word}, " in line for word in WORDS) for line in lines[2:12])
    everything = {"id", "genre", "artist", "tempo", "mood", "cluster"}
    left = everything - set(heading(out))
    note = " ".join(lines[lines.index("") :]) if "" in lines else ""
    assert set(re.findall(r"\w+", note.partition("not shown: ")[2].partition("(")[0])) == left


def test_the_least_informative_columns_are_hidden_first(songs, ask):
    headings = [
        set(heading(ask("similar", songs, "waltz-000-a96957", columns=columns)[1])) - {"score", "title", "words"}
        for columns in range(70, 200)
    ]
    for later, sooner in [("cluster", "tempo"), ("cluster", "artist"), ("genre", "mood"), ("genre", "tempo")]:
        assert not any(later in names and sooner not in names for names in headings), later
    assert any({"artist", "tempo"} <= names and "genre" not in names for names in headings)
    assert "genre" in headings[-1] and "cluster" in headings[-1]


def test_an_id_that_is_a_path_is_hidden_beside_a_title_and_else_keeps_its_end(tmp_path, ask):
    titled = make(tmp_path / "a.index", rows(folder=True))
    _, out, _ = ask("similar", titled, "Silver Corridor 0", columns=80)
    assert "id" not in heading(out) and "artist" in heading(out)
    bare = [{name: cell for name, cell in row.items() if name != "title"} for row in rows(folder=True)]
    long = [{**row, "id": "The same very long folder for all of them/" + row["id"]} for row in bare]
    _, out, _ = ask("similar", make(tmp_path / "b.index", long), long[0]["id"], columns=80)
    assert "id" in heading(out) and all("Slow one.flac" in line for line in out.splitlines()[2:12])


def test_an_item_without_a_title_is_shown_by_its_file(tmp_path, ask):
    listed = rows(folder=True)
    del listed[3]["title"]
    _, out, _ = ask("similar", make(tmp_path / "a.index", listed), "Silver Corridor 0", "-k", 11, columns=80)
    assert "03 Slow one.flac" in out


def test_ids_are_shown_where_titles_are_equal(tmp_path, ask):
    listed = [{**row, "title": "Untitled"} for row in rows()]
    _, out, _ = ask("similar", make(tmp_path / "a.index", listed), "waltz-000-a96957", columns=80)
    assert heading(out)[1] == "id" and "waltz-003-a96957" in out


def test_wide_characters_and_long_titles_do_not_wrap(tmp_path, ask):
    listed = [{**row, "title": "夜の歌" * (10 + at), "artist": "é" * 30} for at, row in enumerate(rows())]
    for columns in (30, 80, 119):
        _, out, _ = ask("similar", make(tmp_path / f"{columns}", listed), "waltz-000-a96957", columns=columns)
        assert max(map(cell_len, out.splitlines())) <= columns
        if columns > 30:
            assert all(any(word in line for word in WORDS) for line in out.splitlines()[2:12])


def test_a_pipe_gets_every_column_uncut(tmp_path, ask):
    long = "a very long comment " * 30
    listed = [{**row, "comment": f"{long}{at}"} for at, row in enumerate(rows())]
    code, out, _ = ask("similar", make(tmp_path / "a.index", listed), "waltz-000-a96957")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 12
    assert heading(out) == ["score", "id", "title", "genre", "artist", "tempo", "mood", "comment", "cluster", "words"]
    assert all(long in line for line in lines[2:]) and "…" not in out and "None" not in out
    assert all(any(f" {word}, " in line for word in WORDS) for line in lines[2:])


def test_table_of_columns_is_cut_in_a_terminal_and_not_in_a_pipe(tmp_path, ask):
    name = "a column whose name goes on and on " * 6
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"id": str(n), name: f"v{n % 3}"}) + "\n" for n in range(90))
    )
    code, out, _ = ask("dims", tmp_path)
    assert code == 0 and name.strip() in out
    code, out, _ = ask("dims", tmp_path, columns=80)
    assert code == 0 and max(map(len, out.splitlines())) <= 80


def test_columns_that_only_some_items_have_are_shown(tmp_path, ask):
    listed = rows()
    for row in listed[:11]:
        row["year"] = 1999
    _, out, _ = ask("similar", make(tmp_path / "a.index", listed), "waltz-000-a96957", "-k", 11, columns=200)
    assert "1999" in out and "year" in heading(out)


@pytest.mark.parametrize(
    "words",
    [
        ("similar", "waltz-000-a96957"),
        ("path", "waltz-000-a96957", "waltz-005-a96957"),
        ("search", "Silver", "--mode", "text"),
        ("neighbors", "out.parquet"),
        ("cluster", "--dry-run"),
        ("projector", "folder"),
    ],
)
def test_every_command_reports_a_condition_that_no_item_meets_in_the_same_words(songs, ask, words, monkeypatch):
    monkeypatch.chdir(songs.parent)
    before = sorted(os.listdir())
    code, out, err = ask(words[0], songs, *words[1:], "--where", "tempo > 500")
    assert (code, out) == (2, "")
    assert err == ("jointembed: error[E-USAGE]: where: no item meets the condition tempo > 500. Fix: loosen it\n")
    assert [name for name in sorted(os.listdir()) if name not in before and "index-" not in name] == []


def test_a_condition_that_leaves_fewer_results_is_reported(songs, ask):
    ends = ("waltz-000-a96957", "waltz-005-a96957")
    for words, count in ((("similar", ends[0]), 3), (("search", "Silver", "--mode", "text"), 3), (("path", *ends), 5)):
        code, out, err = ask(words[0], songs, *words[1:], "--where", "tempo > 98", "--json")
        assert code == 0 and len(json.loads(out)) == count
        assert err == f"only {count} of 10: no other item meets the condition\n"
    code, out, err = ask("path", songs, *ends, "--where", "tempo = 90", "--json")
    assert code == 0 and len(json.loads(out)) == 2 and err.startswith("only 2 of 10")
    assert ask("similar", songs, ends[0], "--where", "tempo > 91", "-k", 5)[2] == ""


def test_text_that_no_item_contains_gives_no_results(songs, ask):
    assert ask("search", songs, "Zeppelin", "--mode", "text", "--where", "tempo > 91") == (0, "no results\n", "")


def test_a_playlist_that_cannot_be_written_is_refused(songs, ask, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.m3u8").mkdir()
    places = {"a.txt": "a playlist is written as .m3u8", "file/a.m3u8": "cannot be written (Not a directory)"}
    places |= {"folder.m3u8": "cannot be written (Is a directory)"}
    for words in (["similar", songs, "x"], ["path", songs, "x", "y"], ["search", songs, "x", "--mode", "text"]):
        for place, message in places.items():
            code, out, err = ask(*words, "--m3u", tmp_path / place)
            assert (code, out) == (2, "") and message in err and err.count("\n") == 1
        code, _, err = ask(*words, "--root", tmp_path)
        assert code == 2 and "--root" in err and "--m3u" in err
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, _, err = ask("similar", songs, "x", "--m3u", tmp_path / "a.m3u8")
    assert code == 2 and "a.m3u8" in err and "Permission denied" in err


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_traits_of_clusters_are_shown_in_any_terminal(tmp_path, ask, columns):
    with Index.create(tmp_path / "two.index", 4, "cosine") as index:
        listed = [{"id": f"s{at}", "title": f"Song {at}", "genre": ["waltz", "reel"][at % 2]} for at in range(40)]
        index.add(listed, np.eye(4, dtype=np.float32)[[at % 2 for at in range(40)]], "audio")
        index.set_vocabulary(WORDS[:4], np.eye(4, dtype=np.float32), "audio")
    code, out, _ = ask("cluster", tmp_path / "two.index", "--k", 2, "--dry-run", columns=columns)
    lines = out.splitlines()
    assert code == 0 and max(map(len, lines)) <= columns
    assert all(" 100% (all: 50%)" in line for line in lines[4:6])
    assert ("nearest words" in lines[2]) == (columns == 140) != ("not shown: nearest words" in lines[-1])


def test_several_artists_are_listed_and_the_first_counts_for_one_per_artist(ask, tmp_path):
    artists = [["Odile", "Wren"], "Odile", ["Wren", "Odile"], "Lowell"]
    listed = [{"id": str(at), "title": f"T{at}", "path": f"{at}.flac", "artist": artists[at % 4]} for at in range(12)]
    songs = make(tmp_path / "a.index", listed)
    out = ask("similar", songs, "3", "-k", "12")[1]
    assert "Odile, Wren" in out and "Wren, Odile" in out and "[" not in out
    hits = json.loads(ask("similar", songs, "3", "-k", "12", "--one-per", "artist", "--json")[1])
    first = [artist[0] if isinstance(artist, list) else artist for artist in (hit["row"]["artist"] for hit in hits)]
    assert sorted(first) == ["Lowell", "Odile", "Wren"]
    among = json.loads(ask("similar", songs, "3", "-k", "12", "--where", "artist = 'Wren'", "--json")[1])
    assert len(among) == 6
    ask("similar", songs, "3", "-k", "12", "--m3u", tmp_path / "a.m3u8")
    assert "#EXTINF:-1,Odile, Wren - T0" in (tmp_path / "a.m3u8").read_text().splitlines()


@pytest.mark.parametrize("columns", [24, 40, 80])
def test_tables_and_the_list_of_recipes_never_break_a_word(tmp_path, ask, columns):
    names = [f"{word}_of_the_instrument" for word in WORDS]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"id": str(n), **dict.fromkeys(names, f"v{n % 3}")}) + "\n" for n in range(90))
    )
    for words in (["dims", tmp_path], ["recipes"]):
        whole, narrow = (ask(*words, columns=width)[1].split() for width in (None, columns))
        assert {word for word in narrow if not word.startswith("─")} <= set(whole)


def test_durations_are_minutes_in_a_table_and_numbers_in_json(tmp_path, ask):
    lengths = [2.5, 59.7, 245.2, 3725, 30, 31, 32, 33, 34, 35, None, 36]
    listed = [{**row, "seconds": seconds} for row, seconds in zip(rows(), lengths, strict=True)]
    index = make(tmp_path / "a.index", listed)
    _, out, _ = ask("similar", index, "waltz-005-a96957", "-k", 11)
    assert {"0:02.5", "1:00", "4:05", "1:02:05", "0:30"} <= set(out.split()) and "245" not in out
    _, out, _ = ask("similar", index, "waltz-005-a96957", "-k", 11, "--json")
    assert {hit["row"]["seconds"] for hit in json.loads(out) if "seconds" in hit["row"]} >= {2.5, 59.7, 245.2}
